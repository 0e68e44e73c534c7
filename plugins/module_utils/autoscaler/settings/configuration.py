# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler is told: which fleets it looks at, by which policies, and what it may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import defaults
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import (
    VARIABLES,
    default,
    placed,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import EVENT_EXCHANGE
from ansible_collections.muejam.celery.plugins.module_utils.checks import Key
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS, PLATFORMS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place


@dataclass(frozen=True)
class StuckRule:
    """A worker is stuck that idles while tasks wait, for C(after) seconds; C(restart) says whether to restart it."""

    after: float = default("stuck_after")
    restart: bool = default("restart_stuck")


@dataclass(frozen=True)
class WatchedFleet:
    """One fleet. Without a policy it is only looked at; one that names no queues has Celery's own default."""

    name: str
    broker_url: str = field(repr=False)
    transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ssl: bool | Mapping[str, Any] | None = field(default=None, repr=False)
    queues: tuple[str, ...] = ("celery",)
    task_events: bool = False
    event_exchange: str = EVENT_EXCHANGE
    policy: Policy | None = None
    stuck: StuckRule = StuckRule()


@dataclass(frozen=True)
class MetricsAddress:
    """Where metrics are served."""

    address: str = default("metrics_address")
    port: int = default("metrics_port")


@dataclass(frozen=True)
class Configuration:
    """Everything that C(celery-autoscaler run) is told. A file that names no mode lets it only advise.

    :ivar platform: what runs the workers, and C(place) where, for one that is not this host.
    :ivar state: the file that keeps what is remembered, and C(scaler) the socket of what acts; of a host's service.
    """

    platform: str = DEFAULT
    place: Place = field(default_factory=Place)
    mode: str = defaults.ADVISE
    interval: float = default("interval")
    state: str = defaults.STATE_FILE
    status: str = defaults.STATUS_FILE
    scaler: str = defaults.SOCKET
    metrics: MetricsAddress | None = MetricsAddress()
    fleets: tuple[WatchedFleet, ...] = ()

    def fleet(self, name: str) -> WatchedFleet | None:
        """Return the fleet of that name, None where it is not watched."""
        return next((fleet for fleet in self.fleets if fleet.name == name), None)


def load_configuration(path: str) -> Configuration:
    """Read the configuration file C(path), JSON or YAML.

    :raises OperationError: with every fault at once, each with its path.
    """
    return read_configuration(load_document(path, "the configuration"), path)


def read_configuration(raw: object, origin: str) -> Configuration:
    """Return the configuration that C(raw) describes.

    :raises OperationError: with every fault at once.
    """
    no_dictionary = f"the document: must be a dictionary, is {checks.shown(raw)}"
    faults = list(_faults(raw)) if isinstance(raw, Mapping) else [no_dictionary]
    if faults:
        raise OperationError(
            f"use the configuration {origin}",
            "; ".join(faults),
            "Correct these; what ran before goes on unchanged.",
            faults=[dict(zip(("path", "message"), fault.split(": ", 1))) for fault in faults],
        )
    values = _plain(_TOP, raw)
    values["fleets"] = tuple(_fleet(fleet) for fleet in values.get("fleets", ()))
    metrics = values.get("metrics", True)
    address = _plain(_METRICS, metrics) if isinstance(metrics, Mapping) else {}
    values["place"] = Place(**_plain(_PLACE, values.get("place", {})))
    values["metrics"] = None if metrics is False else MetricsAddress(**address)
    return Configuration(**values)


def _part(name: str) -> dict[str, Key]:
    return {key: VARIABLES[variable] for key, variable in placed(name).items()}


_STUCK = _part("fleets.stuck")
_METRICS = _part("metrics")
_PLACE: Mapping[str, Key] = dict.fromkeys(("kubeconfig", "context", "namespace"), Key(checks.TEXT))
_FLEET: Mapping[str, Key] = {
    "name": KEYS["name"],
    "broker_url": replace(KEYS["broker_url"], required="the URL of its broker"),
    "transport_options": KEYS["broker_transport_options"],
    "ssl": KEYS["broker_use_ssl"],
    "queues": KEYS["queues"],
    "task_events": KEYS["task_events"],
    "event_exchange": Key(checks.TEXT),
    "policy": KEYS["policy"],
    "stuck": Key(checks.MAPPING, keys=_STUCK),
}
_TOP: Mapping[str, Key] = {
    **_part(""),
    "platform": Key(checks.TEXT, choices=PLATFORMS),
    "place": Key(checks.MAPPING, keys=_PLACE),
    **dict.fromkeys(("state", "status", "scaler"), Key(checks.TEXT)),
    "metrics": Key(checks.BOOLEAN_OR_MAPPING, keys=_METRICS),
    "fleets": Key(checks.MAPPINGS, keys=_FLEET),
}


def _faults(raw: Mapping[Any, Any]) -> Iterator[str]:
    yield from checks.of_mapping(_TOP, raw, "")
    platform = raw.get("platform", DEFAULT)
    if raw.get("place") and platform in ON_HOSTS:
        yield f"place: is not for the platform {platform}: name another one in platform, or leave it out"
    names = [fleet.get("name") for fleet in checks.mappings(raw.get("fleets")) or ()]
    for name in sorted({name for name in names if isinstance(name, str) and names.count(name) > 1}):
        yield f"fleets: {name!r} is there twice"


def _plain(keys: Mapping[str, Key], raw: Any) -> dict[str, Any]:
    return {name: key.plain(raw[name]) for name, key in keys.items() if raw.get(name) is not None}


def _fleet(raw: Mapping[str, Any]) -> WatchedFleet:
    values = _plain(_FLEET, raw)
    if "policy" in values:
        values["policy"] = parse_policy(values["policy"])
    values["queues"] = tuple(dict.fromkeys(values.get("queues") or WatchedFleet.queues))
    values["stuck"] = StuckRule(**_plain(_STUCK, values.get("stuck", {})))
    return WatchedFleet(**values)
