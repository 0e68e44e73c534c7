# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as a mapping again, with every default filled in: what parse_policy takes, and a person reads."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition, Policy, Rule, StepRules
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import (
    DAYS,
    OneOffWindow,
    WeeklyWindow,
)


def as_mapping(policy: Policy) -> dict[str, Any]:
    """Return what C(policy) says, key by key. Reading it again gives the same policy."""
    limits = {
        key: _duration(value) if key.startswith("cooldown") else value
        for key, value in dataclasses.asdict(policy.limits).items()
    }
    rules: dict[str, Any]
    if isinstance(policy.rules, StepRules):
        rules = {
            "scale_up": _rule(policy.rules.up, "any", "add"),
            "scale_down": _rule(policy.rules.down, "all", "remove"),
        }
    else:
        rules = {"target": {"wait_time": _duration(policy.rules.wait_time)}}
    zone = policy.schedule.timezone
    windows = [_window(window, zone) for window in policy.schedule.windows]
    return {"limits": limits, **rules, "schedule": {"timezone": zone, "windows": windows}}


def _rule(rule: Rule, joined: str, step: str) -> dict[str, Any]:
    size = {"workers": rule.step.workers, "percent": _number(rule.step.percent), "choose": rule.step.choose.value}
    return {
        joined: [_condition(condition) for condition in rule.conditions],
        step: {key: value for key, value in size.items() if value is not None},
    }


def _condition(condition: Condition) -> dict[str, Any]:
    shown = _duration if METRICS[condition.metric].unit is Unit.SECONDS else _number
    return {
        "metric": condition.metric,
        condition.comparison.value: shown(condition.threshold),
        "for": _duration(condition.hold),
    }


def _window(window: WeeklyWindow | OneOffWindow, zone: str) -> dict[str, Any]:
    return {
        "name": window.name,
        **_times(window, zone),
        "min_workers": window.min_workers,
        "max_workers": window.max_workers,
    }


def _times(window: WeeklyWindow | OneOffWindow, zone: str) -> dict[str, Any]:
    if isinstance(window, OneOffWindow):
        return {"from": written(window.since, zone_of(zone)), "until": written(window.until, zone_of(zone))}
    return {
        "days": [name for number, name in enumerate(DAYS) if number in window.days],
        "time": f"{_clock(window.start)}-{_clock(window.end)}",
    }


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _duration(seconds: float) -> str | float:
    # Parts of a second have no notation of their own.
    return format_duration(seconds) if seconds == int(seconds) else seconds


def _number(value: float | None) -> float | None:
    return int(value) if value is not None and value == int(value) else value
