# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedules and the zones that witnesses are asked about, and what the engine says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
)
START = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
END = datetime(2028, 1, 1, tzinfo=timezone.utc).timestamp()

_NIGHT = ("01:30", "02:00", "02:15", "02:30", "02:45", "03:00", "03:30", "03:45", "04:00", "05:00")
SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "brief": [
        {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
        {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
        {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
    ],
    # Every time at which one of the zones changes its clock, and some beside it.
    "night": [
        {"name": f"from_{since}", "time": f"{since}-{until}", "min_workers": 3 + place}
        for place, (since, until) in enumerate(zip(_NIGHT, _NIGHT[1:]))
    ],
    "campaign": [
        {"name": "office", "days": ["mon", "tue", "wed", "thu", "fri"], "time": "08:00-18:00", "min_workers": 5},
        {"name": "campaign", "from": "2026-09-12 06:00", "until": "2026-11-15 23:00", "min_workers": 8},
    ],
}


def policy(schedule: str, zone: str) -> Policy:
    """The policy with a schedule in a zone."""
    return parse_policy({"schedule": {"timezone": zone, "windows": SCHEDULES[schedule]}})


# Several witnesses are asked about each policy, and the engine has to look at two years of it.
@lru_cache
def engine(held: Policy) -> Sequence[tuple[float, tuple[int, int]]]:
    """When which bounds begin to hold, by the engine; the first one has held before."""
    found: list[tuple[float, tuple[int, int]]] = []
    for since, _until, window in held.schedule.timeline(START, END):
        bounds = held.limits.narrowed(window)
        if not found or found[-1][1] != bounds:
            found.append((since, bounds))
    return tuple(found)


def meant(line: str, zone: str) -> Iterator[float]:
    """When five fields mean to come: at the first time that the clock shows it, or the first instant after a gap."""
    minute, hour, day, month, week = line.split()
    fields = crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=week)
    on = date(2025, 12, 31)
    while on <= date(2028, 1, 1):
        in_calendar = on.day in fields.day_of_month and on.month in fields.month_of_year
        if in_calendar and on.isoweekday() % 7 in fields.day_of_week:
            for clock in ((h, m) for h in fields.hour for m in fields.minute):
                at = instant(on, clock[0] * 60 + clock[1], ZoneInfo(zone))
                if START < at <= END:
                    yield at
        on += timedelta(days=1)
