# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets and beats of one app that would each send what is scheduled, on one host or on several."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import SCHEMES, kind_of
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    celery_names,
    celery_words,
    command,
    policies,
    spec,
)
from ansible_collections.muejam.celery.plugins.module_utils.redaction import place_of

_SHOWN = 5
"""Senders of one app that a message names; a group of hosts may have hundreds."""


class App(NamedTuple):
    """What tells the app of a fleet from others.

    :ivar broker: of each address its host and its database (or virtual host).
    """

    app: str
    broker: list[tuple[str, str]]
    virtualenv: str | None

    def is_of(self, other: App) -> bool:
        """Whether both are the same. A command may not tell the virtualenv."""
        same = self.virtualenv == other.virtualenv or None in (self.virtualenv, other.virtualenv)
        return same and self.app == other.app and self.broker == other.broker

    @property
    def stays_on_its_host(self) -> bool:
        """Whether its broker is reached at a loopback address, so that another host has another broker there."""
        return any(_is_loopback(host) for host, _database in self.broker)


def of_fleets(fleets: Sequence[tuple[str, spec.Fleet]]) -> list[str]:
    """Each fleet that sends what another one of the same app sends as well."""
    found = []
    senders: list[tuple[str, App]] = []
    for path, fleet in fleets:
        place, app = place_of_beat(fleet), app_of(fleet)
        if not place or app is None:
            continue
        other = next((before for before, one in senders if app.is_of(one)), None)
        if other:
            found.append(
                f"{path}.{place}: --beat, and {other} has it for the same app: "
                "everything scheduled would be sent by both, keep one"
            )
        senders.append((path, app))
    return found


def senders(fleets: Sequence[spec.Fleet], own_beats: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """What of one host sends what is scheduled: its C(what) for people, and its C(app). Nothing of it is secret.

    :param fleets: the resolved ones of the host, without faults. One that comes to no worker sends nothing.
    :param own_beats: the resolved beats that run there.
    """
    found = [
        (f"fleet {fleet['name']}, {place}", app_of(fleet))
        for fleet in fleets
        if fleet["state"] == "present" and (place := place_of_beat(fleet)) and policies.most_workers(fleet)
    ]
    found += [(f"beat of fleet {beat['name']}", app_of(beat["of"])) for beat in own_beats]
    return [{"what": what, "app": list(app)} for what, app in found if app]


def of_hosts(by_host: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Each app whose schedule more than one host would send.

    :param by_host: what C(senders) found, by the names of hosts.
    """
    apps: list[tuple[App, list[tuple[str, str]]]] = []
    for host, what, app in _all(by_host):
        same = next((those for one, those in apps if app.is_of(one)), None)
        if same is None or app.stays_on_its_host:
            apps.append((app, [(host, what)]))
        else:
            same.append((host, what))
    return [
        f"{app.app}: {_listed(those)} would each send everything that is scheduled: keep one. Take the others out of "
        "celery_beats, or --beat out of their fleets (or give these workers: 0)"
        for app, those in apps
        if len({host for host, _what in those}) > 1
    ]


def _all(by_host: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, str, App]]:
    for host, those in by_host.items():
        for one in those:
            # What went by way of Ansible's variables has lists in place of tuples.
            app, broker, virtualenv = one["app"]
            yield host, one["what"], App(app, [tuple(each) for each in broker], virtualenv)


def _listed(those: Sequence[tuple[str, str]]) -> str:
    shown = [f"{host} ({what})" for host, what in those[:_SHOWN]]
    more = len(those) - len(shown)
    return f"{', '.join(shown)} and {more} more" if more else " and ".join([", ".join(shown[:-1]), shown[-1]])


def app_of(fleet: spec.Fleet) -> App | None:
    """The app of a resolved fleet, none where its command does not tell it or the fleet is not whole."""
    line = _line(fleet)
    if line is None or not fleet["broker_url"]:
        return None
    app = next((word.value for word in line.main if word.flag and word.flag.name == "--app"), None)
    virtualenv = line.program.rpartition("/bin/")[0] or None
    return App(app, _broker(fleet["broker_url"]), virtualenv) if app else None


def place_of_beat(fleet: spec.Fleet) -> str:
    """Where a resolved fleet says that its worker is to send what is scheduled, such as `extra_args`; else empty."""
    line = _line(fleet)
    if line is None:
        return ""
    if any(word.flag and word.flag.name == "--beat" for word in line.words):
        return "command" if fleet["command"] else "extra_args"
    if str(fleet["environment"].get("CELERY_WORKER_BEAT", "")).lower() not in celery_names.OFF:
        return "environment.CELERY_WORKER_BEAT"
    return ""


def _line(fleet: spec.Fleet) -> celery_words.CommandLine | None:
    return celery_words.celery_in(command.argv(fleet)) if fleet["app"] or fleet["command"] else None


def _broker(url: str) -> list[tuple[str, str]]:
    """Host and database (or virtual host) of each address, with what is left out filled in."""
    found, kind = [], kind_of(url)
    for one in place_of(url).split(";"):
        scheme, _sign, rest = one.partition("://")
        host, _slash, path = rest.partition("/")
        port = SCHEMES[scheme].port if scheme in SCHEMES else None
        host = (host or "localhost").lower().removesuffix(f":{port}")
        found.append((host, unquote(path) or (kind.database if kind else "")))
    return found


def _is_loopback(host: str) -> bool:
    name = re.sub(r":\d+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
