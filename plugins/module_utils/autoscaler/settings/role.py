# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `autoscaler` takes, and the configuration that it writes for the fleets of a host."""

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
from ansible_collections.muejam.celery.plugins.module_utils.checks import BOOLEAN, INTEGER, TEXT, Key, Kind
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.fleet import app_facts

LEAST_WATCHDOG = 60.0
"""Seconds without a sign of life from the autoscaler's loop after which systemd restarts it."""


def _seconds(value: object) -> float | None:
    try:
        return parse_duration(value)
    except ValueError:
        return None


def _address(value: str) -> str | None:
    if any(letter.isspace() for letter in value):
        return f"{value!r} is no address to listen on, use 127.0.0.1, or 0.0.0.0 for all"
    return None


DURATION = Kind("a duration such as 90, 90s, 2m or 1h30m", "str", _seconds)

VARIABLES: Mapping[str, Key] = {
    "state": Key(TEXT, choices=("present", "absent")),
    "mode": Key(TEXT, choices=MODES),
    # A look costs the broker and the host something.
    "interval": Key(DURATION, minimum=1, maximum=3600),
    "metrics_address": Key(TEXT, check=_address),
    "metrics_port": Key(INTEGER, minimum=1, maximum=65535),
    "stuck_after": Key(DURATION, minimum=1),
    "restart_stuck": Key(BOOLEAN),
}
"""The role's variables by their names without C(celery_autoscaler_), but for those that only its tasks read."""


def problems(settings: Mapping[str, Any], prefix: str = "celery_autoscaler_") -> Iterator[str]:
    """Every fault of the variables that are given: of an undefined one whoever knows of it tells."""
    for name, key in VARIABLES.items():
        if name in settings:
            yield from checks.of_value(key, settings[name], f"{prefix}{name}")


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
            "port": VARIABLES["metrics_port"].plain(settings["metrics_port"]),
        },
        "fleets": [_entry(fleet, settings, (apps or {}).get(fleet["name"])) for fleet in _present(fleets)],
    }


def watchdog(settings: Mapping[str, Any]) -> int:
    """Seconds for the unit's watchdog: the autoscaler has to come round several times in it."""
    return int(max(LEAST_WATCHDOG, 3 * parse_duration(settings["interval"])))


def _present(fleets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [fleet for fleet in fleets if fleet["state"] == "present"]


def _entry(fleet: Mapping[str, Any], settings: Mapping[str, Any], facts: Mapping[str, Any] | None) -> dict[str, Any]:
    reading = app_facts.reading(fleet, facts)
    restart = VARIABLES["restart_stuck"].plain(settings["restart_stuck"])
    entry = {
        "name": fleet["name"],
        "broker_url": fleet["broker_url"],
        "transport_options": reading["transport_options"],
        "ssl": reading["ssl"],
        "queues": reading["queues"] or list(QUEUES),
        "task_events": fleet["task_events"],
        "event_exchange": reading["event_exchange"],
        "stuck": {
            "after": settings["stuck_after"],
            "restart": restart,
        },
    }
    # Absent means observed only, and an empty policy is one: that of the defaults.
    return entry if fleet["policy"] is None else {**entry, "policy": fleet["policy"]}
