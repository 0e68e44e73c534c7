# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `autoscaler` takes, and the configuration that it writes for the fleets of a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, OBSERVE
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import VARIABLES, placed
from ansible_collections.muejam.celery.plugins.module_utils.fleet import app_facts
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS

POLICY, SCHEDULE, NOBODY = "policy", "schedule", "none"
"""Who sets the number of workers of fleets with a policy, on a host: the autoscaler, their windows, the inventory."""

_BOUNDS = ("min_workers", "max_workers")

LEAST_WATCHDOG = 60.0
"""Seconds without a sign of life from the autoscaler's loop after which systemd restarts it."""


def problems(settings: Mapping[str, Any], platform: str = DEFAULT) -> Iterator[str]:
    """Every fault of the variables that are given: of an undefined one whoever knows of it tells."""
    for name, key in VARIABLES.items():
        if name in settings:
            yield from checks.of_value(key, settings[name], f"celery_autoscaler_{name}")
    if platform not in ON_HOSTS and str(settings.get("memory_max", "")).endswith("%"):
        yield "celery_autoscaler_memory_max: no share of a host in a cluster, write it as 256M"


def wanted(fleets: Sequence[Mapping[str, Any]], mode: str, state: str, autoscaling: str = POLICY) -> bool:
    """Whether the host is to have an autoscaler: for a fleet with a policy, or for any when it is only to observe.

    :param autoscaling: the variable C(celery_worker_autoscaling); with another value somebody else has the policies.
    """
    present = _present(fleets)
    if state == "absent":
        return False
    for_policies = autoscaling.lower() == POLICY and any(fleet["policy"] is not None for fleet in present)
    return bool(present) and (mode == OBSERVE or for_policies)


def scaled(fleets: Sequence[Mapping[str, Any]], mode: str, state: str, autoscaling: str = POLICY) -> list[str]:
    """The names of the fleets whose number of workers is the autoscaler's: the service's, or that of scheduled runs."""
    if state == "absent" or mode not in (ACT, OBSERVE) or autoscaling.lower() != POLICY:
        return []
    return [fleet["name"] for fleet in _present(fleets) if fleet["policy"] is not None]


def scheduled(fleets: Sequence[Mapping[str, Any]], autoscaling: str) -> dict[str, dict[str, Any]]:
    """The fleets whose number of workers is set by a time schedule alone, with its C(limits) and C(schedule).

    :param fleets: resolved ones, whose policies have no fault.
    """
    if autoscaling.lower() != SCHEDULE:
        return {}
    found = {}
    for fleet in _present(fleets):
        written = fleet["policy"] or {}
        if (written.get("schedule") or {}).get("windows"):
            limits = {key: number for key, number in (written.get("limits") or {}).items() if key in _BOUNDS}
            found[fleet["name"]] = {"limits": limits, "schedule": written["schedule"]}
    return found


def autoscaling_problems(autoscaling: object, platform: str = DEFAULT) -> list[str]:
    """Every fault of the variable C(celery_worker_autoscaling) on a host; for a cluster others look at it."""
    known = (POLICY, SCHEDULE, NOBODY)
    if platform not in ON_HOSTS or str(autoscaling).lower() in known:
        return []
    return [
        f"celery_worker_autoscaling: {autoscaling} is not known on a host, use {', '.join(known[:-1])} or {known[-1]}; "
        "keda and hpa are for celery_worker_platform: kubernetes"
    ]


def plan(
    fleets: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    apps: Mapping[str, Any] | None = None,
    autoscaling: str = POLICY,
) -> dict[str, Any]:
    """What the autoscaler of a host is to be, for resolved fleets: C(wanted), C(configuration), C(watchdog)."""
    return {
        "wanted": wanted(fleets, settings["mode"], settings["state"], autoscaling),
        "configuration": configuration(fleets, settings, apps),
        "watchdog": watchdog(settings),
    }


def configuration(
    fleets: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], apps: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The autoscaler's configuration. It holds secrets: the URLs of the brokers.

    :param apps: what is known of the app of each fleet, by the fleet's name.
    """
    return {
        **_part("", settings),
        "metrics": _part("metrics", settings),
        "fleets": [_entry(fleet, settings, (apps or {}).get(fleet["name"])) for fleet in _present(fleets)],
    }


def watchdog(settings: Mapping[str, Any]) -> int:
    """Seconds for the unit's watchdog: the autoscaler has to come round several times in it."""
    return watchdog_seconds(VARIABLES["interval"].plain(settings["interval"]))


def watchdog_seconds(interval: float) -> int:
    """Seconds in which a loop of this interval has to give a sign of life."""
    return int(max(LEAST_WATCHDOG, 3 * interval))


def _present(fleets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [fleet for fleet in fleets if fleet["state"] == "present"]


def _part(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: VARIABLES[variable].plain(settings[variable]) for key, variable in placed(name).items()}


def _entry(fleet: Mapping[str, Any], settings: Mapping[str, Any], facts: Mapping[str, Any] | None) -> dict[str, Any]:
    reading = app_facts.reading(fleet, facts)
    return {
        **{key: fleet[key] for key in ("name", "broker_url", "task_events")},
        **{key: reading[key] for key in ("transport_options", "ssl", "queues", "event_exchange")},
        "stuck": _part("fleets.stuck", settings),
        # Absent means observed only, and an empty policy is one: that of the defaults.
        **({} if fleet["policy"] is None else {"policy": fleet["policy"]}),
    }
