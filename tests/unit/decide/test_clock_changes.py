# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows over every change of the clock, held against a wall clock that is read minute by minute."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import timetable
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import Schedule

# The changes of 2026: the instant, and by how many minutes the wall clock jumps.
CHANGES = {
    "Europe/Berlin": (("2026-03-29T01:00", 60), ("2026-10-25T01:00", -60)),
    "America/New_York": (("2026-03-08T07:00", 60), ("2026-11-01T06:00", -60)),
    "Pacific/Chatham": (("2026-09-26T14:00", 60), ("2026-04-04T14:00", -60)),
    "Antarctica/Troll": (("2026-03-29T01:00", 120), ("2026-10-25T01:00", -120)),
    "Australia/Lord_Howe": (("2026-10-03T15:30", 30), ("2026-04-04T15:00", -30)),
}
EVERY_CHANGE = [(zone, moment, jump) for zone, changes in CHANGES.items() for moment, jump in changes]


def instant(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp())


def wall(at: float, zone: str) -> datetime:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize(("zone", "moment", "jump"), EVERY_CHANGE)
def test_the_clock_changes_when_this_file_says_so(zone: str, moment: str, jump: int) -> None:
    at = instant(moment)
    assert wall(at, zone) - wall(at - 60, zone) == timedelta(minutes=1 + jump)


@cache
def minutes_around(zone: str, moment: str) -> tuple[list[int], list[datetime]]:
    """Return the minutes of nine days around a change, and the latest that the wall clock has shown by then."""
    middle = instant(moment)
    at = list(range(middle - 4 * 86400, middle + 5 * 86400, 60))
    return at, list(accumulate((wall(each, zone) for each in at), max))


def first_shown(zone: str, moment: str, shown: datetime) -> int:
    """Return when the wall clock first shows a time or is past it: this is all that the rules of edges say."""
    at, latest = minutes_around(zone, moment)
    return at[bisect_left(latest, shown)]


def expected(zone: str, moment: str, at: int, start: int, end: int) -> bool:
    midnight = wall(at, zone).replace(hour=0, minute=0, second=0)
    spans = end - start if end > start else end - start + 1440
    for days in (-1, 0, 1):
        begins = midnight + timedelta(days=days, minutes=start)
        edges = first_shown(zone, moment, begins), first_shown(zone, moment, begins + timedelta(minutes=spans))
        if edges[0] <= at < edges[1]:
            return True
    return False


def schedule(zone: str, start: int, end: int) -> Schedule:
    time = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    return parse_policy({"schedule": {"timezone": zone, "windows": [{"time": time, "min_workers": 3}]}}).schedule


@given(
    change=st.sampled_from(EVERY_CHANGE),
    start=st.one_of(st.integers(0, 240), st.integers(0, 1439)),
    length=st.one_of(st.integers(1, 240), st.integers(1, 1439)),
    after=st.one_of(st.integers(-200, 200), st.integers(-1400, 1400)),
)
def test_a_window_over_a_change_of_the_clock(change: tuple[str, str, int], start: int, length: int, after: int) -> None:
    zone, moment, _jump = change
    end = (start + length) % 1440
    at = instant(moment) + after * 60
    assert (schedule(zone, start, end).in_force(at) is not None) == expected(zone, moment, at, start, end)


@given(
    change=st.sampled_from([*EVERY_CHANGE, ("Asia/Kolkata", "2026-03-29T01:00", 0)]),
    edges=st.lists(st.integers(-300, 300), min_size=2, max_size=2, unique=True).map(sorted),
    after=st.integers(-400, 400),
)
def test_a_window_that_comes_once_over_a_change_of_the_clock(
    change: tuple[str, str, int], edges: list[int], after: int
) -> None:
    zone, moment, _jump = change
    # The hour around the change, as the wall clock would show it if nobody had changed it.
    walls = [wall(instant(moment) - 86400, zone) + timedelta(days=1, minutes=minutes) for minutes in edges]
    begin, end = (first_shown(zone, moment, each) for each in walls)
    window = {"from": f"{walls[0]:%Y-%m-%d %H:%M}", "until": f"{walls[1]:%Y-%m-%dT%H:%M:%S}", "min_workers": 3}
    raw = {"schedule": {"timezone": zone, "windows": [window]}}
    if begin >= end:
        with pytest.raises(PolicyError):
            parse_policy(raw)
        return
    plan = parse_policy(raw).schedule
    for at in (instant(moment) + after * 60, begin - 1, begin, end - 1, end):
        assert (plan.in_force(at) is not None) == (begin <= at < end)


@pytest.mark.parametrize(("zone", "moment", "jump"), EVERY_CHANGE)
def test_a_window_of_the_whole_day_has_no_hole(zone: str, moment: str, jump: int) -> None:
    plan = parse_policy({"schedule": {"timezone": zone, "windows": [{"min_workers": 3}]}}).schedule
    begin = instant(moment) - 86400
    assert len(list(plan.timeline(begin, begin + 2 * 86400))) == 1


@pytest.mark.parametrize(("zone", "moment", "jump"), EVERY_CHANGE)
def test_a_night_is_shorter_or_longer_by_the_change(zone: str, moment: str, jump: int) -> None:
    plan = schedule(zone, 22 * 60, 6 * 60)
    begin = instant(moment) - 20 * 3600
    night = [end - since for since, end, window in plan.timeline(begin, begin + 86400 + 8 * 3600) if window]
    assert 8 * 3600 - jump * 60 in night


@pytest.mark.parametrize(("zone", "moment", "jump"), EVERY_CHANGE)
def test_a_timetable_is_written_with_the_offset_of_each_moment(zone: str, moment: str, jump: int) -> None:
    policy = parse_policy({"schedule": {"timezone": zone, "windows": [{"time": "12:00-13:00", "min_workers": 3}]}})
    begin = instant(moment) - 2 * 86400
    pieces = timetable(policy, begin, begin + 4 * 86400)
    noons = [piece["from"] for piece in pieces if piece["window"]]
    assert all("T12:00:00" in noon for noon in noons)
    offsets = [datetime.fromisoformat(noon).utcoffset() or timedelta() for noon in noons]
    assert offsets[-1] - offsets[0] == timedelta(minutes=jump)
    assert [piece["to"] for piece in pieces[:-1]] == [piece["from"] for piece in pieces[1:]]
