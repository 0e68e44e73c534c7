# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which window is in force, in zones whose clocks change in every odd way there is."""

from __future__ import annotations

from datetime import date, datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import Schedule

ZONES = ["Europe/Berlin", "America/New_York", "Pacific/Chatham", "Antarctica/Troll", "Australia/Lord_Howe", "UTC"]


def schedule(*windows: dict[str, object], zone: str = "UTC") -> Schedule:
    return parse_policy({"schedule": {"timezone": zone, "windows": list(windows)}}).schedule


def name_at(plan: Schedule, moment: str) -> str | None:
    window = plan.in_force(datetime.fromisoformat(moment).timestamp())
    return window.name if window else None


WORKING_WEEK = (
    {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
    {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
    {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
)


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("2026-03-04T07:59:59+00:00", "off_peak"),
        ("2026-03-04T08:00:00+00:00", "peak"),
        ("2026-03-04T17:59:59+00:00", "peak"),
        ("2026-03-04T18:00:00+00:00", "off_peak"),
        ("2026-03-05T00:30:00+00:00", "off_peak"),
        ("2026-03-07T12:00:00+00:00", "weekend"),
        ("2026-03-07T00:00:00+00:00", "weekend"),
        ("2026-03-09T00:00:00+00:00", "off_peak"),
    ],
)
def test_a_working_week(moment: str, name: str) -> None:
    assert name_at(schedule(*WORKING_WEEK), moment) == name


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    plan = schedule({"name": "friday_night", "time": "22:00-04:00", "days": ["fri"], "min_workers": 3})
    assert name_at(plan, "2026-03-06T23:00:00+00:00") == "friday_night"
    assert name_at(plan, "2026-03-07T03:59:59+00:00") == "friday_night"
    assert name_at(plan, "2026-03-07T04:00:00+00:00") is None
    assert name_at(plan, "2026-03-06T03:00:00+00:00") is None


def test_an_edge_in_a_skipped_hour_happens_right_after_the_gap() -> None:
    plan = schedule({"name": "early", "time": "02:30-05:00", "min_workers": 3}, zone="Europe/Berlin")
    assert name_at(plan, "2026-03-29T00:59:59+00:00") is None
    assert name_at(plan, "2026-03-29T01:00:00+00:00") == "early"


def test_a_window_inside_a_skipped_hour_does_not_happen() -> None:
    plan = schedule({"name": "gone", "time": "02:10-02:50", "min_workers": 3}, zone="Europe/Berlin")
    day = datetime(2026, 3, 29, tzinfo=timezone.utc).timestamp()
    assert [window for _from, _to, window in plan.timeline(day, day + 86400)] == [None]


def test_an_edge_in_a_repeated_hour_happens_at_its_first_occurrence() -> None:
    plan = schedule({"name": "late", "time": "02:30-05:00", "min_workers": 3}, zone="Europe/Berlin")
    assert name_at(plan, "2026-10-25T00:29:59+00:00") is None
    assert name_at(plan, "2026-10-25T00:30:00+00:00") == "late"
    assert name_at(plan, "2026-10-25T01:10:00+00:00") == "late"


@pytest.mark.parametrize(
    ("zone", "day", "clock", "utc"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "02:30", "2026-03-29T01:00:00"),
        ("Europe/Berlin", date(2026, 10, 25), "02:30", "2026-10-25T00:30:00"),
        ("America/New_York", date(2026, 3, 8), "02:00", "2026-03-08T07:00:00"),
        ("America/New_York", date(2026, 11, 1), "01:30", "2026-11-01T05:30:00"),
        ("Pacific/Chatham", date(2026, 9, 27), "03:00", "2026-09-26T14:00:00"),
        ("Pacific/Chatham", date(2026, 4, 5), "03:00", "2026-04-04T13:15:00"),
        ("Antarctica/Troll", date(2026, 3, 29), "02:00", "2026-03-29T01:00:00"),
        ("Antarctica/Troll", date(2026, 10, 25), "02:00", "2026-10-25T00:00:00"),
        ("Australia/Lord_Howe", date(2026, 10, 4), "02:15", "2026-10-03T15:30:00"),
        ("Australia/Lord_Howe", date(2026, 4, 5), "01:45", "2026-04-04T14:45:00"),
    ],
)
def test_instants_around_clock_changes(zone: str, day: date, clock: str, utc: str) -> None:
    hours, minutes = map(int, clock.split(":"))
    expected = datetime.fromisoformat(utc).replace(tzinfo=timezone.utc).timestamp()
    assert instant(day, hours * 60 + minutes, ZoneInfo(zone)) == expected


@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 1439),
    length=st.integers(1, 1439),
    moment=st.integers(1767225600, 1767225600 + 366 * 86400),
)
def test_in_force_agrees_with_the_wall_clock_away_from_changes(zone: str, start: int, length: int, moment: int) -> None:
    end = (start + length) % 1440
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    plan = schedule({"name": "w", "time": text, "min_workers": 3}, zone=zone)
    tz = ZoneInfo(zone)
    local = datetime.fromtimestamp(moment, tz)
    steady = {datetime.fromtimestamp(moment + hours * 3600, tz).utcoffset() for hours in range(-30, 31, 3)}
    minute = local.hour * 60 + local.minute
    inside = start <= minute < end if start < end else minute >= start or minute < end
    if len(steady) == 1:
        assert (plan.in_force(moment) is not None) == inside


@given(
    zone=st.sampled_from(ZONES),
    begin=st.one_of(st.integers(1767225600, 1767225600 + 366 * 86400), st.integers(1782400000, 1783000000)),
)
def test_a_timeline_is_whole_and_tells_what_in_force_tells(zone: str, begin: int) -> None:
    once = {"from": "2026-06-30 21:15", "until": "2026-07-02T03:00:30Z", "min_workers": 9}
    plan = schedule(*WORKING_WEEK, once, {"name": "fri", "days": ["fri"], "max_workers": 7}, zone=zone)
    pieces = list(plan.timeline(begin, begin + 7 * 86400))
    assert pieces[0][0] == begin
    assert pieces[-1][1] == begin + 7 * 86400
    for (_begin, end, held), (start, _end, following) in zip(pieces, pieces[1:]):
        assert end == start
        assert held != following
    for start, end, window in pieces:
        assert plan.in_force(start) == window
        assert plan.in_force(end - 1) == window
