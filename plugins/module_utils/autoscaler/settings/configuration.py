# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler is told: which fleets it looks at, by which policies, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import defaults
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document
from ansible_collections.muejam.celery.plugins.module_utils.brokers import transport_options
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import is_fleet_name

SHORTEST_INTERVAL = 0.5
LONGEST_INTERVAL = 3600.0


@dataclass(frozen=True)
class StuckRule:
    """A worker is stuck that idles while tasks wait, for C(after) seconds; C(restart) says whether to restart it."""

    after: float = 300.0
    restart: bool = False


@dataclass(frozen=True)
class WatchedFleet:
    """One fleet. Without a policy it is only looked at."""

    name: str
    broker_url: str = field(repr=False)
    transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ssl: bool | Mapping[str, Any] | None = field(default=None, repr=False)
    queues: tuple[str, ...] = defaults.QUEUES
    task_events: bool = False
    policy: Policy | None = None
    stuck: StuckRule = StuckRule()


@dataclass(frozen=True)
class MetricsAddress:
    """Where metrics are served."""

    address: str = "127.0.0.1"
    port: int = 9541


@dataclass(frozen=True)
class Configuration:
    """Everything that C(celery-autoscaler run) is told."""

    mode: str = defaults.ADVISE
    interval: float = 5.0
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
    reader = _Reader()
    found = reader.configuration(raw)
    if reader.faults:
        raise OperationError(
            f"use the configuration {origin}",
            "; ".join(f"{path or 'it'}: {fault}" for path, fault in reader.faults),
            "Correct these; what ran before goes on unchanged.",
            faults=[{"path": path, "message": fault} for path, fault in reader.faults],
        )
    return found


class _Reader:
    """Collects faults while it reads; what it returns after a fault is never used."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []

    def fault(self, path: str, message: str) -> None:
        self.faults.append((path, message))

    def mapping(self, raw: object, path: str, known: Sequence[str]) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            self.fault(path, "is not a mapping")
            return {}
        for key in raw:
            if key not in known:
                self.fault(f"{path}.{key}".lstrip("."), f"is not known here; known are {', '.join(known)}")
        return {key: value for key, value in raw.items() if key in known and value is not None}

    def configuration(self, raw: object) -> Configuration:
        given = self.mapping(raw, "", ("mode", "interval", "state", "status", "scaler", "metrics", "fleets"))
        plain = Configuration()
        mode = given.get("mode", plain.mode)
        if mode not in defaults.MODES:
            self.fault("mode", f"is {mode!r}; known are {', '.join(defaults.MODES)}")
        interval = self.duration(given.get("interval", plain.interval), "interval")
        if not SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
            self.fault("interval", f"is {interval:g}s: between {SHORTEST_INTERVAL:g}s and {LONGEST_INTERVAL:g}s")
        listed = given.get("fleets", ())
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            self.fault("fleets", "is not a list")
            listed = ()
        fleets = tuple(self.fleet(item, f"fleets[{place}]") for place, item in enumerate(listed))
        names = [fleet.name for fleet in fleets]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.fault("fleets", f"{name!r} is there twice")
        return Configuration(
            mode=mode,
            interval=interval,
            state=self.text(given.get("state", plain.state), "state"),
            status=self.text(given.get("status", plain.status), "status"),
            scaler=self.text(given.get("scaler", plain.scaler), "scaler"),
            metrics=self.metrics(given["metrics"]) if "metrics" in given else plain.metrics,
            fleets=fleets,
        )

    def metrics(self, raw: object) -> MetricsAddress | None:
        if raw is False:
            return None
        given = self.mapping(raw, "metrics", ("address", "port"))
        port = given.get("port", MetricsAddress.port)
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            self.fault("metrics.port", f"is {port!r}, not a port")
        return MetricsAddress(self.text(given.get("address", MetricsAddress.address), "metrics.address"), port)

    def fleet(self, raw: object, path: str) -> WatchedFleet:
        known = ("name", "broker_url", "transport_options", "ssl", "queues", "task_events", "policy", "stuck")
        given = self.mapping(raw, path, known)
        name = given.get("name")
        if not isinstance(name, str) or not is_fleet_name(name):
            self.fault(f"{path}.name", f"is {name!r}, which is no name of a fleet")
        if "broker_url" not in given:
            self.fault(f"{path}.broker_url", "is missing")
        queues = given.get("queues") or defaults.QUEUES
        if not isinstance(queues, Sequence) or isinstance(queues, str) or not all(isinstance(q, str) for q in queues):
            self.fault(f"{path}.queues", "is not a list of names")
            queues = ()
        return WatchedFleet(
            name=str(name),
            broker_url=self.broker_url(given.get("broker_url", ""), f"{path}.broker_url"),
            transport_options=self.transport_options(given.get("transport_options", {}), f"{path}.transport_options"),
            ssl=self.checked(given, path, "ssl", None, lambda v: isinstance(v, (bool, Mapping))),
            queues=tuple(dict.fromkeys(queues)),
            task_events=self.checked(given, path, "task_events", False, lambda v: isinstance(v, bool)),
            policy=self.policy(given["policy"], f"{path}.policy") if "policy" in given else None,
            stuck=self.stuck(given.get("stuck", {}), f"{path}.stuck"),
        )

    def stuck(self, raw: object, path: str) -> StuckRule:
        given = self.mapping(raw, path, ("after", "restart"))
        after = self.duration(given.get("after", StuckRule.after), f"{path}.after")
        restart = self.checked(given, path, "restart", False, lambda v: isinstance(v, bool))
        return StuckRule(after, restart)

    def checked(self, given: Mapping[str, Any], path: str, key: str, plain: Any, sound: Callable[[Any], bool]) -> Any:
        value = given.get(key, plain)
        if key in given and not sound(value):
            self.fault(f"{path}.{key}", "is a value of the wrong kind")
            return plain
        return value

    def policy(self, raw: object, path: str) -> Policy | None:
        try:
            return parse_policy(raw)
        except PolicyError as error:
            for fault in error.faults:
                self.fault(f"{path}.{fault.path}", fault.message)
            return None

    def duration(self, raw: object, path: str) -> float:
        try:
            return parse_duration(raw)
        except ValueError as error:
            self.fault(path, str(error))
            return 0.0

    def broker_url(self, raw: object, path: str) -> str:
        url = self.text(raw, path)
        fault = fault_of(url) if url else None
        if fault:
            self.fault(path, str(fault))
        return url

    def transport_options(self, raw: object, path: str) -> Mapping[str, Any]:
        if not isinstance(raw, Mapping):
            self.fault(path, "is a value of the wrong kind")
            return {}
        for fault in transport_options.faults(raw):
            self.fault(*f"{path}{fault}".split(": ", 1))
        return raw

    def text(self, raw: object, path: str) -> str:
        if not isinstance(raw, str):
            self.fault(path, "is not a text")
            return ""
        return raw
