# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is resolved: its own values over the defaults, and what follows from other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import names
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS, POOLS, PREFORK
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS

Fleet = dict[str, Any]

PREFETCH_MULTIPLIER = 4
"""Celery's own: how many messages a worker fetches ahead for each of its processes."""

WATCHDOG = 60
"""Seconds without a sign of life from the worker's own loop after which it is restarted."""


def unsuitable_keys(pool: object) -> frozenset[str]:
    """Keys that Celery ignores with this pool; none for a pool that is not known."""
    return frozenset(name for name, key in KEYS.items() if pool in POOLS and pool not in key.pools)


def resolve(
    fleets: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any] | None = None, platform: str = DEFAULT
) -> list[Fleet]:
    """Every fleet with all of its keys, and with its `platform`.

    A value is the fleet's own, else that of the given defaults, else the built-in one. A key set to null falls back to
    the built-in default. What a fleet inherits but its own pool, its own command or its platform cannot use is left
    out, so that defaults can serve different fleets. Values of a wrong kind are kept as they are: `problems.find`
    reports them.
    """
    return [_resolve_one(fleet, defaults or {}, platform) for fleet in fleets]


def inherited(fleet: Mapping[str, Any], defaults: Mapping[str, Any], platform: str = DEFAULT) -> dict[str, Any]:
    """What `fleet` takes from `defaults`: keys that it does not set and that suit its pool, command and platform."""
    taken = {
        key: defaults[key]
        for key, known in KEYS.items()
        if key in defaults and key not in fleet and known.inherits and platform in known.platforms
    }
    pool = fleet.get("pool") or taken.get("pool") or PREFORK
    unsuitable = set(unsuitable_keys(pool))
    if fleet.get("command"):
        unsuitable |= {"app", *(key for key, known in KEYS.items() if known.builds_command)}
        if not fleet.get("notify"):
            unsuitable.add("watchdog")
    elif fleet.get("app"):
        unsuitable.add("command")
    if fleet.get("autoscale"):
        unsuitable.add("concurrency")
    elif fleet.get("concurrency"):
        unsuitable.add("autoscale")
    return {key: value for key, value in taken.items() if key not in unsuitable}


def _resolve_one(own: Mapping[str, Any], defaults: Mapping[str, Any], platform: str) -> Fleet:
    given = {**inherited(own, defaults, platform), **own}
    fleet: Fleet = {"platform": platform}
    for name, key in KEYS.items():
        base, top, value = defaults.get(name), own.get(name), given.get(name)
        if key.adds and isinstance(base, Mapping) and isinstance(top, Mapping):
            value = key.added(base, top)
        fleet[name] = key.plain(key.default if value is None else value)
    if fleet["group"] is None:
        fleet["group"] = fleet["user"]
    if fleet["working_directory"] is None and platform in ON_HOSTS:
        fleet["working_directory"] = names.state_directory(fleet["name"])
    if fleet["virtualenv"] is None and fleet["packages"]:
        fleet["virtualenv"] = names.virtualenv(fleet["name"])
    if fleet["notify"] is None:
        fleet["notify"] = not fleet["command"]
    if fleet["watchdog"] is None:
        fleet["watchdog"] = WATCHDOG if fleet["notify"] else 0
    return fleet
