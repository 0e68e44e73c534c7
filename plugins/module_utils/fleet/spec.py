# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet can say: its keys, their kinds and defaults, and how a fleet is resolved over the defaults."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import plain_values
from ansible_collections.muejam.celery.plugins.module_utils.brokers.transport_options import prepared
from ansible_collections.muejam.celery.plugins.module_utils.fleet import names, policies

Fleet = dict[str, Any]

PREFORK = "prefork"
POOLS = ("prefork", "gevent", "solo", "threads")
STATES = ("present", "absent")
PRIORITY_ORDERS = ("high_first", "low_first")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

REDIS_VISIBILITY_TIMEOUT = 3600
"""Seconds after which kombu's Redis transport delivers an unacknowledged message again, unless told otherwise."""


@dataclass(frozen=True)
class Key:
    """One key of a fleet: the kind of its value, its default, and the smallest number it takes."""

    kind: str
    default: object = None
    minimum: float | None = None
    inherits: bool = True
    builds_command: bool = False
    """Whether the key only shapes the `celery worker` command line, and so means nothing beside `command`."""


KEYS: dict[str, Key] = {
    "name": Key("text", inherits=False),
    "state": Key("choice", "present", inherits=False),
    "workers": Key("integer", 1, minimum=0),
    "policy": Key("policy"),
    "app": Key("text"),
    "command": Key("texts"),
    "working_directory": Key("path"),
    "virtualenv": Key("path"),
    "packages": Key("texts"),
    "python": Key("text"),
    "user": Key("text", "celery"),
    "group": Key("text"),
    "environment": Key("mapping"),
    "environment_files": Key("texts"),
    "broker_url": Key("text"),
    "result_backend": Key("text"),
    "broker_transport_options": Key("transport"),
    "broker_use_ssl": Key("tls"),
    "queues": Key("texts"),
    "pool": Key("choice", PREFORK, builds_command=True),
    "concurrency": Key("integer", minimum=1, builds_command=True),
    "autoscale": Key("mapping", builds_command=True),
    "prefetch_multiplier": Key("integer", minimum=0),
    "max_tasks_per_child": Key("integer", minimum=1, builds_command=True),
    "max_memory_per_child": Key("integer", minimum=1, builds_command=True),
    "soft_time_limit": Key("seconds", minimum=0),
    "time_limit": Key("seconds", minimum=0),
    "drain_timeout": Key("seconds", 300, minimum=0),
    "start_timeout": Key("seconds", 120, minimum=0),
    "visibility_timeout": Key("seconds", minimum=0),
    "acks_late": Key("boolean", builds_command=True),
    "task_events": Key("boolean", False, builds_command=True),
    "log_level": Key("choice", "INFO", builds_command=True),
    "extra_args": Key("texts", builds_command=True),
    "celery_settings": Key("mapping", builds_command=True),
    "queue_max_priority": Key("integer", minimum=1, builds_command=True),
    "priority_order": Key("choice"),
    "notify": Key("boolean"),
    "watchdog": Key("seconds"),
    "memory_max": Key("text"),
    "allow_memory_overcommit": Key("boolean", False),
    "cpu_quota": Key("text"),
    "read_write_paths": Key("texts"),
    "unit_options": Key("mapping"),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "state": STATES,
    "pool": POOLS,
    "log_level": LOG_LEVELS,
    "priority_order": PRIORITY_ORDERS,
}

MERGED = ("environment", "broker_transport_options", "celery_settings", "unit_options")
"""Mappings whose entries add to those of the defaults; every other key replaces its default."""

PREFETCH_MULTIPLIER = 4
"""Celery's own: how many messages a worker fetches ahead for each of its processes."""

WATCHDOG = 60
"""Seconds without a sign of life from the worker's own loop after which systemd restarts it."""

_PLAIN: dict[str, Callable[[object], object]] = {
    "integer": plain_values.whole_number,
    "seconds": plain_values.number,
    "boolean": plain_values.boolean,
    "policy": policies.plain,
}

_UNSUITABLE: dict[str, frozenset[str]] = {
    "prefork": frozenset(),
    "gevent": frozenset({"autoscale", "max_tasks_per_child", "max_memory_per_child", "soft_time_limit"}),
    "threads": frozenset(
        {"autoscale", "max_tasks_per_child", "max_memory_per_child", "soft_time_limit", "time_limit"},
    ),
    "solo": frozenset(
        {"autoscale", "concurrency", "max_tasks_per_child", "max_memory_per_child", "soft_time_limit", "time_limit"},
    ),
}


def unsuitable_keys(pool: object) -> frozenset[str]:
    """Keys that Celery ignores with this pool; none for a pool that is not known."""
    return _UNSUITABLE.get(pool, frozenset()) if isinstance(pool, str) else frozenset()


def resolve(fleets: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any] | None = None) -> list[Fleet]:
    """Every fleet with all of its keys: its own values, else the given defaults, else the built-in ones.

    A key set to null falls back to the built-in default. What a fleet inherits but its own pool (or its own
    command) cannot use is left out, so that defaults can serve fleets of different pools. Values of a wrong kind
    are kept as they are: `problems.find` reports them.
    """
    return [_resolve_one(fleet, defaults or {}) for fleet in fleets]


def inherited(fleet: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What `fleet` takes from `defaults`: keys that it does not set and that suit its pool or command."""
    taken = {key: value for key, value in defaults.items() if key not in fleet and KEYS.get(key, Key("")).inherits}
    pool = fleet.get("pool") or taken.get("pool") or PREFORK
    unsuitable = set(unsuitable_keys(pool))
    if fleet.get("command"):
        unsuitable |= {key for key, known in KEYS.items() if known.builds_command and key != "pool"}
        unsuitable.add("app")
        if not fleet.get("notify"):
            unsuitable.add("watchdog")
    elif fleet.get("app"):
        unsuitable.add("command")
    if fleet.get("autoscale"):
        unsuitable.add("concurrency")
    elif fleet.get("concurrency"):
        unsuitable.add("autoscale")
    return {key: value for key, value in taken.items() if key not in unsuitable}


def _resolve_one(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> Fleet:
    given = {**inherited(own, defaults), **own}
    for key in MERGED:
        base, top = defaults.get(key), own.get(key)
        if isinstance(base, Mapping) and isinstance(top, Mapping):
            given[key] = {**base, **top}
    fleet: Fleet = {}
    for key, known in KEYS.items():
        value = given.get(key)
        fleet[key] = _normalise(known, known.default if value is None else value)
    return _derive(fleet)


def _normalise(known: Key, value: object) -> object:
    if value is None:
        return {"mapping": {}, "transport": {}, "texts": []}.get(known.kind)
    plain = _PLAIN.get(known.kind)
    if plain is not None:
        found = plain(value)
        return value if found is None else found
    if known.kind == "transport" and isinstance(value, Mapping):
        with contextlib.suppress(ValueError):
            return prepared(value)
    if known.kind in ("mapping", "transport") and isinstance(value, Mapping):
        return dict(value)
    if known.kind == "texts" and isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return list(value)
    return value


def _derive(fleet: Fleet) -> Fleet:
    if isinstance(fleet["log_level"], str):
        fleet["log_level"] = fleet["log_level"].upper()
    if isinstance(fleet["autoscale"], Mapping):
        fleet["autoscale"] = {key: _normalise(Key("integer"), value) for key, value in fleet["autoscale"].items()}
    if fleet["group"] is None:
        fleet["group"] = fleet["user"]
    if fleet["working_directory"] is None:
        fleet["working_directory"] = names.state_directory(fleet["name"])
    if fleet["virtualenv"] is None and fleet["packages"]:
        fleet["virtualenv"] = names.virtualenv(fleet["name"])
    if fleet["notify"] is None:
        fleet["notify"] = not fleet["command"]
    if fleet["watchdog"] is None:
        fleet["watchdog"] = WATCHDOG if fleet["notify"] else 0
    return fleet
