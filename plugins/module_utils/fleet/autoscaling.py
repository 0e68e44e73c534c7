# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler of a host is to be told about its fleets: its configuration, made from resolved fleets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    ACT,
    MODES,
    OBSERVE,
    QUEUES,
    SOCKET,
    STATE_FILE,
    STATUS_FILE,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.fleet import app_facts

STATES = ("present", "absent")

INTERVAL = (1.0, 3600.0)
"""Seconds between two looks, shortest and longest. A look costs the broker and the host something."""

LEAST_WATCHDOG = 60.0
"""Seconds without a sign of life from the autoscaler's loop after which systemd restarts it."""


def problems(settings: Mapping[str, Any], prefix: str = "celery_autoscaler_") -> list[str]:
    """Every fault of the role's own variables, given by their names without C(prefix)."""
    return [f"{prefix}{fault}" for fault in _problems(settings)]


def wanted(fleets: Sequence[Mapping[str, Any]], mode: str, state: str) -> bool:
    """Whether the host is to have an autoscaler: for a fleet with a policy, or for any when it is only to observe."""
    present = _present(fleets)
    if state == "absent":
        return False
    return bool(present) and (mode == OBSERVE or any(fleet["policy"] is not None for fleet in present))


def scaled(fleets: Sequence[Mapping[str, Any]], mode: str, state: str) -> list[str]:
    """The names of the fleets whose number of workers is the autoscaler's: the service's, or that of scheduled runs."""
    if state == "absent" or mode not in (ACT, OBSERVE):
        return []
    return [fleet["name"] for fleet in _present(fleets) if fleet["policy"] is not None]


def configuration(
    fleets: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], apps: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The autoscaler's configuration. It holds secrets: the URLs of the brokers.

    :param apps: what is known of the app of each fleet, by the fleet's name.
    """
    return {
        "mode": settings["mode"],
        "interval": settings["interval"],
        "state": STATE_FILE,
        "status": STATUS_FILE,
        "scaler": SOCKET,
        "metrics": {
            "address": settings["metrics_address"],
            "port": checks.whole_number(settings["metrics_port"]),
        },
        "fleets": [_entry(fleet, settings, (apps or {}).get(fleet["name"])) for fleet in _present(fleets)],
    }


def without(configured: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A configuration in which the fleets named are not scaled any more, but only observed."""
    if configured.get("mode") != ACT:
        return dict(configured)
    fleets = configured.get("fleets") or []
    return {
        **configured,
        "fleets": [
            {key: value for key, value in fleet.items() if key != "policy"} if fleet.get("name") in names else fleet
            for fleet in fleets
        ],
    }


def watchdog(settings: Mapping[str, Any]) -> int:
    """Seconds for the unit's watchdog: the autoscaler has to come round several times in it."""
    return int(max(LEAST_WATCHDOG, 3 * parse_duration(settings["interval"])))


def _present(fleets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [fleet for fleet in fleets if fleet["state"] == "present"]


def _entry(fleet: Mapping[str, Any], settings: Mapping[str, Any], facts: Mapping[str, Any] | None) -> dict[str, Any]:
    reading = app_facts.reading(fleet, facts)
    entry = {
        "name": fleet["name"],
        "broker_url": fleet["broker_url"],
        "transport_options": reading["transport_options"],
        "ssl": reading["ssl"],
        "queues": reading["queues"] or list(QUEUES),
        "task_events": fleet["task_events"],
        "stuck": {"after": settings["stuck_after"], "restart": checks.boolean(settings["restart_stuck"])},
    }
    # Absent means observed only, and an empty policy is one: that of the defaults.
    return entry if fleet["policy"] is None else {**entry, "policy": fleet["policy"]}


def _problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the settings that are given: what is undefined is told by who knows of it."""
    checks = {
        "state": lambda value: _choice(value, STATES),
        "mode": lambda value: _choice(value, MODES),
        "interval": lambda value: _duration(value, *INTERVAL),
        "metrics_address": _address,
        "metrics_port": _port,
        "stuck_after": lambda value: _duration(value, 1.0, 1e9),
        "restart_stuck": _truth,
    }
    for name, check in checks.items():
        fault = check(settings[name]) if name in settings else None
        if fault:
            yield f"{name}: {fault}"


def _choice(value: object, choices: Sequence[str]) -> str | None:
    return None if value in choices else f"{_shown(value)} is not known, use one of {', '.join(choices)}"


def _duration(value: object, least: float, most: float) -> str | None:
    if not isinstance(value, (str, int, float)):
        return f"is {checks.kind_of(value)}, not a duration such as 90, 90s, 2m or 1h30m"
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        return str(error)
    return None if least <= seconds <= most else f"{value} is out of range, use {least:g} to {most:g} seconds"


def _port(value: object) -> str | None:
    port = checks.whole_number(value)
    return None if port is not None and 1 <= port <= 65535 else f"{_shown(value)} is no port, use 1 to 65535"


def _address(value: object) -> str | None:
    if isinstance(value, str) and value and not any(letter.isspace() for letter in value):
        return None
    return f"{_shown(value)} is no address to listen on, use 127.0.0.1, or 0.0.0.0 for all"


def _truth(value: object) -> str | None:
    return None if checks.boolean(value) is not None else f"{_shown(value)} is neither true nor false"


def _shown(value: object) -> str:
    return (
        repr(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else checks.kind_of(value)
    )
