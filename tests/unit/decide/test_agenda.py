# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import WIDTH, agenda, in_rows
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import moment_of, zone_of

WORKING_WEEK = [
    {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
    {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
    {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
]
MONDAY = "00:00-08:00 2-10 off_peak   08:00-18:00 5-20 peak   18:00-24:00 2-10 off_peak"
CHANGES = {
    "Europe/Berlin": {"2026-03-29": ("02:00", "03:00"), "2026-10-25": ("03:00", "02:00")},
    "America/New_York": {"2026-03-08": ("02:00", "03:00"), "2026-11-01": ("02:00", "01:00")},
    "Asia/Kolkata": {},
    "Pacific/Chatham": {"2026-04-05": ("03:45", "02:45"), "2026-09-27": ("02:45", "03:45")},
    "Antarctica/Troll": {"2026-03-29": ("01:00", "03:00"), "2026-10-25": ("03:00", "01:00")},
    "Australia/Lord_Howe": {"2026-04-05": ("02:00", "01:30"), "2026-10-04": ("02:00", "02:30")},
}


def policy(*windows: dict[str, Any], zone: str = "Europe/Berlin") -> Policy:
    return parse_policy({"schedule": {"timezone": zone, "windows": list(windows)}})


def rows(held: Policy, since: str, days: int) -> list[str]:
    return list(in_rows(agenda(held, moment_of(since, zone_of(held.schedule.timezone)), days)))


def test_a_week_has_a_row_for_each_day() -> None:
    campaign = {"name": "campaign", "from": "2026-10-27 12:00", "until": "2026-10-28 18:30:15", "min_workers": 12}
    assert rows(policy(*WORKING_WEEK, campaign), "2026-10-24 10:00", 5) == [
        "Sat 2026-10-24  10:00-24:00 2-8 weekend",
        "Sun 2026-10-25  00:00-24:00 2-8 weekend",
        "                the clock goes back from 03:00 to 02:00",
        "Mon 2026-10-26  00:00-08:00 2-10 off_peak   08:00-18:00 5-20 peak   18:00-24:00 2-10 off_peak",
        "Tue 2026-10-27  00:00-08:00 2-10 off_peak   08:00-12:00 5-20 peak   12:00-24:00 12-20 campaign (once)",
        "Wed 2026-10-28  00:00-18:30:15 12-20 campaign (once)   18:30:15-24:00 2-10 off_peak",
    ]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (
            "2026-10-26 10:00",
            "2026-10-27 08:00",
            [
                "00:00-08:00 2-10 off_peak   08:00-10:00 5-20 peak   10:00-24:00 3-3 paused",
                "00:00-08:00 3-3 paused   08:00-18:00 5-20 peak   18:00-24:00 2-10 off_peak",
            ],
        ),
        (
            "2026-10-26 09:00",
            "2026-10-26 10:00",
            [
                "00:00-08:00 2-10 off_peak   08:00-09:00 5-20 peak   09:00-10:00 3-3 paused",
                "10:00-18:00 5-20 peak   18:00-24:00 2-10 off_peak",
                MONDAY,
            ],
        ),
        ("2026-10-20", None, ["00:00-24:00 3-3 paused", "00:00-24:00 3-3 paused"]),
        ("2026-10-20", "2026-10-25", [MONDAY, MONDAY]),
        ("2026-10-28", None, [MONDAY, MONDAY]),
    ],
)
def test_a_pause_takes_the_place_of_windows(since: str, until: str | None, found: list[str]) -> None:
    zone = zone_of("Europe/Berlin")
    pause = Pause(3, None if until is None else moment_of(until, zone))
    shown = agenda(policy(*WORKING_WEEK), moment_of("2026-10-26", zone), 2, pause, moment_of(since, zone))
    assert [row[16:] for row in in_rows(shown)] == found
    for day in shown.days:
        assert (day.pieces[0].since, day.pieces[-1].until) == (day.since, day.until)
        assert all(before.until == after.since for before, after in zip(day.pieces, day.pieces[1:]))


def test_what_does_not_fit_stands_below() -> None:
    short = [
        {"name": f"slot {hour}", "time": f"{hour:02}:00-{hour:02}:30", "min_workers": 3} for hour in range(0, 24, 3)
    ]
    found = rows(policy(*short), "2026-10-26", 1)
    assert len(found) > 1
    assert all(len(row) <= WIDTH for row in found)
    assert all(row.startswith(" " * 16) for row in found[1:])
    assert sum(row.count("slot ") for row in found) == 8
    assert sum(row.count("no window") for row in found) == 8


def test_times_that_come_twice_have_their_offset() -> None:
    late = {"name": "late", "from": "2026-10-25 02:30", "until": "2026-10-25T02:45:00+01:00", "max_workers": 4}
    assert rows(policy(late), "2026-10-25", 1) == [
        "Sun 2026-10-25  00:00-02:30+02:00 2-20 no window   02:30+02:00-02:45+01:00 2-4 late (once)",
        "                02:45+01:00-24:00 2-20 no window",
        "                the clock goes back from 03:00 to 02:00",
    ]


@pytest.mark.parametrize("zone", CHANGES)
def test_every_change_of_the_clock_is_told_on_its_day(zone: str) -> None:
    told, day = {}, ""
    for row in rows(policy(zone=zone), "2026-01-01", 365):
        if row.startswith(" "):
            told[day] = tuple(row.split(" from ")[1].split(" to "))
            assert ("forward" in row) == (told[day][0] < told[day][1])
        else:
            day = row.split()[1]
    assert told == CHANGES[zone]


@pytest.mark.parametrize(
    ("zone", "since", "days"),
    # Midnight is skipped, comes twice; a whole day is left out.
    [("Africa/Cairo", "2026-04-23", 3), ("America/Havana", "2026-10-31", 3), ("Pacific/Apia", "2011-12-29", 2)],
)
def test_days_follow_each_other_in_odd_zones(zone: str, since: str, days: int) -> None:
    shown = agenda(policy(*WORKING_WEEK, zone=zone), moment_of(since, zone_of(zone)), 3)
    assert len(shown.days) == days
    assert all(before.until == after.since for before, after in zip(shown.days, shown.days[1:]))
    labels = [row[:14] for row in in_rows(shown) if not row.startswith(" ")]
    assert labels == [f"{each.day:%a %Y-%m-%d}" for each in shown.days]


@given(
    st.sampled_from(list(CHANGES)),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.integers(1, 9),
)
def test_its_pieces_are_those_of_the_schedule(zone: str, since: datetime, days: int) -> None:
    held = policy(*WORKING_WEEK, zone=zone)
    start = moment_of(since, zone_of(zone))
    found = agenda(held, start, days).days
    assert len(found) == days
    assert found[0].since == start
    pieces = [piece for day in found for piece in day.pieces]
    for before, after in zip(pieces, pieces[1:]):
        assert before.until == after.since
    for piece in pieces:
        for at in (piece.since, piece.until - 1):
            window = held.schedule.in_force(at)
            assert (piece.floor, piece.ceiling) == held.limits.narrowed(window)
            assert piece.window == (window.name if window else None)
    for day in found:
        length = timedelta(hours=24) + sum((change.before - change.after for change in day.changes), timedelta())
        if day.since != start:
            assert day.until - day.since == length.total_seconds()
