# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Prometheus finds the autoscalers of an inventory, and which of them it cannot reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS


@dataclass(frozen=True)
class Autoscaler:
    """The autoscaler of one host of the inventory, as its variables describe it.

    :ivar reached_at: the name or address by which Ansible reaches its host.
    :ivar listens: the address that it listens on.
    :ivar port: TCP port that it listens on.
    :ivar address: where Prometheus is to look instead, at a reverse proxy for instance; empty is at the host itself.
    :ivar address_port: the port there; 0 is C(port).
    """

    host: str
    reached_at: str
    platform: str = DEFAULT
    listens: str = "127.0.0.1"
    port: int = 9541
    address: str = ""
    address_port: int = 0
    scheme: str = "http"
    path: str = "/metrics"


@dataclass
class Found:
    """What there is to scrape.

    :ivar targets: as Prometheus reads them from a file.
    :ivar problems: what is to be changed before.
    :ivar notes: what somebody has to see to, such as a firewall.
    """

    targets: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(autoscalers: Iterable[Autoscaler], here: str, others: Sequence[str] = ()) -> Found:
    """Return what a Prometheus on the host C(here) of the inventory is to scrape.

    :param others: further targets, host and port each.
    """
    found = Found()
    for one in autoscalers:
        _add(one, here, found)
    found.targets += [{"targets": [other], "labels": {}} for other in others]
    return found


def _add(one: Autoscaler, here: str, found: Found) -> None:
    if not one.address and one.platform not in ON_HOSTS:
        found.notes.append(
            f"{one.host}: its autoscaler runs in a cluster, and is not scraped from here. Have a Prometheus in the "
            "cluster do it (this role with celery_worker_platform: kubernetes), or set "
            "celery_monitoring_target_address to where it can be reached."
        )
        return
    address = one.address or _address(one, here)
    if address is None:
        found.problems.append(
            f"{one.host}: its autoscaler listens on {one.listens} alone, where the Prometheus of {here} cannot "
            "reach it. Set celery_autoscaler_metrics_address to an address of a private network, or to 0.0.0.0, "
            f"deploy, and let only {here} in at TCP port {one.port}; or put a reverse proxy before it and name that in "
            "celery_monitoring_target_address, celery_monitoring_target_port and celery_monitoring_target_scheme."
        )
        return
    port = (one.address_port or one.port) if one.address else one.port
    if one.host != here:
        found.notes.append(f"{one.host}: {here} has to be let in at TCP port {port} of {address}, and nobody else.")
    labels = {"instance": one.host}
    if one.scheme != "http":
        labels["__scheme__"] = one.scheme
    if one.path != "/metrics":
        labels["__metrics_path__"] = one.path
    found.targets.append({"targets": [_joined(address, port)], "labels": labels})


def _address(one: Autoscaler, here: str) -> str | None:
    """Where to find it on its own host; C(None) when that cannot be from C(here)."""
    listens = _number(one.listens)
    everywhere = one.listens == "" or (listens is not None and listens.is_unspecified)
    inside = one.listens == "localhost" or (listens is not None and listens.is_loopback)
    if one.host == here:
        return "127.0.0.1" if everywhere else one.listens
    if inside:
        return None
    return one.reached_at if everywhere else one.listens


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
