# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job of an edge that comes late, and is tried for as long as it may, is over before the next edge comes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import (
    DEPLOYMENT,
    TRIED_FOR,
    cron_jobs,
)

AT = datetime(2026, 1, 15, 12, tzinfo=timezone.utc).timestamp()
SOONEST = 10
"""Seconds. A CronJob that may begin no later than that might never be begun at all, as Kubernetes says."""


def deadlines(*windows: dict[str, Any], zone: str = "UTC", at: float = AT) -> dict[str, tuple[int, int]]:
    """Return how late the job of each line of cron may begin, and how long it is tried, in seconds."""
    many = [{"name": f"w{number}", "min_workers": 3 + number, **each} for number, each in enumerate(windows)]
    policy = parse_policy({"limits": {"min_workers": 2}, "schedule": {"timezone": zone, "windows": many}})
    made = cron_jobs(policy, at, DEPLOYMENT, "celery-worker-web", "celery-worker-web", "shop", "kubectl:1")
    return {
        each["spec"]["schedule"]: (
            each["spec"]["startingDeadlineSeconds"],
            each["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"],
        )
        for each in made
        if each["kind"] == "CronJob"
    }


@pytest.mark.parametrize("minutes", [1, 2, 5, 59, 60, 61, 119, 120, 121, 600])
def test_both_deadlines_end_before_the_next_edge(minutes: int) -> None:
    ends = f"{8 + minutes // 60:02}:{minutes % 60:02}"
    found = deadlines({"time": f"08:00-{ends}"})
    lasts = {"0 8 * * *": 60 * minutes, f"{minutes % 60} {8 + minutes // 60} * * *": 86400 - 60 * minutes}
    assert found.keys() == lasts.keys()
    for line, (late, tried) in found.items():
        assert late + tried < lasts[line]
        assert late + tried >= lasts[line] - 5, "no longer than it must be, an outage is not made up for"
        assert late > SOONEST
        assert min(TRIED_FOR, lasts[line] // 3) <= tried <= TRIED_FOR


def test_the_shortest_time_to_the_next_edge_counts() -> None:
    found = deadlines({"time": "08:00-18:00", "days": ["mon", "fri"]}, {"time": "08:30-09:00", "days": ["fri"]})
    assert sum(found["0 8 * * 1,5"]) < 1800
    assert sum(found["30 8 * * 5"]) < 1800
    assert sum(found["0 9 * * 5"]) < 9 * 3600
    assert sum(found["0 18 * * 1,5"]) < (2 * 24 + 14) * 3600


def test_a_window_that_comes_once_is_the_next_edge_of_a_weekly_one() -> None:
    campaign = {"from": "2026-02-03 10:00", "until": "2026-02-03 15:00"}
    found = deadlines({"time": "08:00-18:00"}, campaign)
    assert sum(found["0 8 * * *"]) < 2 * 3600, "it must not undo the beginning of the campaign"
    assert sum(found["0 10 3 2 *"]) < 5 * 3600
    assert sum(found["0 15 3 2 *"]) < 3 * 3600
    assert 13 * 3600 < sum(found["0 18 * * *"]) < 14 * 3600
    over = deadlines({"time": "08:00-18:00"}, campaign, at=AT + 30 * 86400)
    assert 9 * 3600 < sum(over["0 8 * * *"]) < 10 * 3600


@pytest.mark.parametrize(
    ("zone", "line", "hours"),
    [
        ("UTC", "0 1 * * *", 3.0),
        # On the last Sunday of March it goes from 2 to 3.
        ("Europe/Berlin", "0 1 * * *", 2.0),
        ("Australia/Lord_Howe", "0 1 * * *", 2.5),
        ("Asia/Tokyo", "0 1 * * *", 3.0),
    ],
)
def test_a_clock_that_is_put_forward_makes_a_time_short(zone: str, line: str, hours: float) -> None:
    found = deadlines({"time": "01:00-04:00"}, zone=zone)
    assert hours * 3600 - 5 <= sum(found[line]) < hours * 3600


def test_a_job_that_comes_twice_on_the_day_on_which_the_clock_is_put_back() -> None:
    # The second time half past two is half an hour before three, not ninety minutes.
    found = deadlines({"time": "02:30-03:00"}, zone="Europe/Berlin")
    assert sum(found["30 2 * * *"]) < 1800


def test_bounds_that_hold_all_the_week_have_a_job_that_may_be_as_late_as_that() -> None:
    [(late, tried)] = deadlines({"time": "00:00-24:00"}).values()
    assert tried == TRIED_FOR
    assert 6 * 86400 < late + tried < 7 * 86400
