# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA can ask a broker for: the triggers of a ScaledObject, and the login that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.muejam.celery.plugins.module_utils.addresses import Address

LOGIN_KEYS = {
    "username": "broker-username",
    "password": "broker-password",
    "sentinelUsername": "broker-sentinel-username",
    "sentinelPassword": "broker-sentinel-password",
    "ca": "broker-ca",
    "cert": "broker-certificate",
    "key": "broker-key",
    "tls": "broker-tls",
}
"""Keys of the Secret that KEDA reads, by the parameter that KEDA takes them as."""


class NotForKeda(ValueError):
    """KEDA cannot read such a broker; the text says why and what to do."""


@dataclass(frozen=True)
class Backlog:
    """The queues that are to be counted, and where.

    :ivar list_length: messages for which there is to be a worker.
    :ivar whole: whether all lists of a queue and the unacknowledged messages count, and not one list alone.
    :ivar tls: whether TLS is spoken, and C(verified) whether the broker's certificate is checked.
    :ivar certificates: in PEM, by KEDA's names: C(ca), who the broker's is checked by; C(cert) and C(key), KEDA's own.
    :ivar authentication: name of the TriggerAuthentication that holds the login.
    """

    broker_url: str
    queues: Sequence[str]
    list_length: int
    whole: bool
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = False
    verified: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)
    management_url: str | None = None
    authentication: str = ""


@dataclass(frozen=True)
class Triggers:
    """What KEDA asks.

    :ivar triggers: as a ScaledObject has them.
    :ivar parameters: what of the login they take, by KEDA's name, with the key of the Secret that KEDA reads.
    :ivar secret: what that Secret has to have, by its keys.
    :ivar unseen: what of the backlog they do not count, in words.
    :ivar foreign: what of others they count as well, and what to do about it, in words.
    """

    triggers: list[dict[str, Any]]
    parameters: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    foreign: str = ""
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)


def login(values: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
    """Return parameters and content of the Secret for what KEDA takes, by its names; what is empty is left out."""
    there = {name: value for name, value in values.items() if value}
    return {name: LOGIN_KEYS[name] for name in there}, {LOGIN_KEYS[name]: value for name, value in there.items()}


def host_and_port(address: Address, port: int) -> str:
    """Return host and port of one address of a URL, C(port) where it names none."""
    parts = urlsplit(f"//{address.place}")
    host = parts.hostname or "localhost"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or port}"


def database(address: Address, default: str) -> str:
    """Return the database or virtual host that an address names."""
    return unquote(address.place.partition("?")[0].partition("/")[2]) or default


def trigger(kind: str, metadata: Mapping[str, str], name: str, authentication: str) -> dict[str, Any]:
    """Return one trigger; C(name) and C(authentication) may be empty."""
    found: dict[str, Any] = {"type": kind, "metadata": dict(metadata)}
    if name:
        found["name"] = name
    if authentication:
        found["authenticationRef"] = {"name": authentication}
    return found
