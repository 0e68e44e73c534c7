# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others read the entries of schedules as the engine means them, for every hour of two years in zones of all kinds.

systemd is asked itself, where it is. What the cron library of Kubernetes says was recorded, and is asked again where
that is wanted. How cron of a host reads a crontab is told by cronsim.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from datetime import time as dt_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_windows import WEEKLY

import record_kubernetes_cron
import witnessed
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.crontab_times import crontab_times
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import odd_edges
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.yearly import without_dropped
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS

AN_HOUR, A_DAY = 3600, 86400
NEEDS_SYSTEMD = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
NEEDS_GO = pytest.mark.skipif("MUEJAM_WITNESS_GO" not in os.environ, reason="asks only where MUEJAM_WITNESS_GO is set")
EVERYWHERE = [(name, zone) for name in witnessed.SCHEDULES for zone in witnessed.ZONES]
ODDEST = ("Pacific/Chatham", "Australia/Lord_Howe")
"""Zones whose clocks are changed by half an hour, or at a quarter to three: what is asked in each run."""

Bounds = tuple[int, int]


def seldom(name: str, *zones: str) -> Any:
    """A case that takes seconds, of which each run asks the oddest alone, and the soak all."""
    marks = [pytest.mark.soak] if name == "night" and not {*zones} & {*ODDEST} else []
    return pytest.param(name, *zones, marks=marks)


def bounds(entry: Mapping[str, Any]) -> Bounds:
    return entry["min_workers"], entry["max_workers"]


def steps(told: Mapping[float, Bounds]) -> tuple[list[float], list[Bounds]]:
    """The instants in their order, and which bounds hold from each on."""
    at = sorted(told)
    return at, [told[each] for each in at]


def hold(found: tuple[list[float], list[Bounds]], at: float) -> Bounds | None:
    place = bisect_right(found[0], at)
    return found[1][place - 1] if place else None


def differing_hours(policy: Policy, told: Mapping[float, Bounds]) -> list[float]:
    """The hours of both years in which something else holds than the engine says, after the first week."""
    engine, others = steps(dict(witnessed.engine(policy))), steps(told)
    begin = int(witnessed.START + 8 * A_DAY)
    return [at for at in range(begin, int(witnessed.END), AN_HOUR) if hold(engine, at) != hold(others, at)]


def asked_of_systemd(text: str, since: float, count: int) -> list[float] | None:
    """When it comes next after an instant; None where systemd does not know."""
    base = f"{datetime.fromtimestamp(since, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={base}", text],
        check=False,
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    if "Resource deadlock avoided" in done.stderr:
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout)
    return [datetime.fromisoformat(each).replace(tzinfo=timezone.utc).timestamp() for each in shown]


def of_systemd(text: str, zone: str) -> list[float]:
    """When systemd comes in both years."""
    found = asked_of_systemd(text, witnessed.START, 740)
    if found is None:
        # 252 gives up on 02:45 in Pacific/Chatham, from where the clock skips, and knows it again when it is later. So
        # does a timer, which reckons anew whenever it comes. What comes each day is asked for between such days.
        skips = list(_skips(zone))
        found = []
        for since, until in zip([witnessed.START, *skips], [*skips, witnessed.END]):
            days = int((until - since) // A_DAY)
            found += asked_of_systemd(text, since, days) or asked_of_systemd(text, since, days - 1) or []
    return [at for at in found if at < witnessed.END]


def _skips(zone: str) -> Iterator[float]:
    """Yield the first quarters of hours after the clock was set ahead."""
    at, quarter = witnessed.START, 900
    while at < witnessed.END:
        before, after = (datetime.fromtimestamp(each, ZoneInfo(zone)).utcoffset() for each in (at - quarter, at))
        if before is not None and after is not None and before < after:
            yield at
        at += quarter


@NEEDS_SYSTEMD
@pytest.mark.parametrize(("name", "zone"), [seldom(name, zone) for name, zone in EVERYWHERE])
def test_systemd(name: str, zone: str) -> None:
    policy = witnessed.policy(name, zone)
    told: dict[float, Bounds] = {}
    for entry in entries(policy, witnessed.START)["systemd"]:
        for at in of_systemd(entry["on_calendar"], zone):
            # Of two entries at one instant nobody knows which comes last.
            assert told.setdefault(at, bounds(entry)) == bounds(entry), datetime.fromtimestamp(at, ZoneInfo(zone))
    assert differing_hours(policy, told) == []
    # To the second, and for what looks at the clock itself a time at each edge is all that it needs.
    assert [at for at, _bounds in witnessed.engine(policy)[1:] if at not in told] == []


CAMPAIGNS = st.builds(
    lambda start, length, floor: (start * 900.0, (start + length) * 900.0, floor),
    st.integers(-4 * 48, 4 * 200),
    st.integers(1, 4 * 100),
    st.integers(2, 9),
)
DAYS_NEAR_CHANGES = ("2026-03-06", "2026-03-27", "2026-04-03", "2026-09-25", "2026-10-02", "2026-10-23", "2026-10-30")


def as_systemd_reads(text: str, first: date, days: int) -> Iterator[float]:
    """When an entry comes, as systemd does: it leaves out what the clock skips, and of two times it takes the first."""
    parts = text.split()
    zone, clock, dates = ZoneInfo(parts[-1]), parts[-2], parts[-3]
    week = _days_of(parts[0]) if len(parts) == 4 else set(range(7))
    years, months, dates_of_month = (_numbers(each) for each in dates.split("-"))
    for number in range(days):
        on = first + timedelta(days=number)
        if on.weekday() in week and on.year in years and on.month in months and on.day in dates_of_month:
            wall = datetime.combine(on, dt_time.fromisoformat(clock))
            at = wall.replace(tzinfo=zone).timestamp()
            if datetime.fromtimestamp(at, zone).replace(tzinfo=None) == wall:
                yield at


def _numbers(text: str) -> range:
    first, _to, last = text.partition("..")
    return range(10000) if text == "*" else range(int(first), int(last or first) + 1)


def _days_of(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _to, last = part.partition("..")
        found.update(range(DAYS.index(first), DAYS.index(last or first) + 1))
    return found


@given(
    st.lists(WEEKLY, max_size=3),
    st.lists(CAMPAIGNS, max_size=2),
    st.sampled_from(witnessed.ZONES),
    st.sampled_from(DAYS_NEAR_CHANGES),
    st.lists(st.integers(0, 14 * A_DAY), max_size=20),
)
def test_what_the_entries_set_is_what_the_engine_says(
    windows: list[dict[str, Any]], campaigns: list[tuple[float, float, int]], zone: str, day: str, after: list[int]
) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()

    def written(seconds: float) -> str:
        return f"{datetime.fromtimestamp(begin + seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"

    once = [{"from": written(each[0]), "until": written(each[1]), "min_workers": each[2]} for each in campaigns]
    policy = parse_policy({"schedule": {"timezone": zone, "windows": [*windows, *once]}})
    first = datetime.fromtimestamp(begin, timezone.utc).date() - timedelta(days=2)
    told: dict[float, Bounds] = {}
    for entry in entries(policy, begin)["systemd"]:
        for at in as_systemd_reads(entry["on_calendar"], first, 20):
            if at > begin:
                assert told.setdefault(at, bounds(entry)) == bounds(entry)
    found = steps(told)
    instants = {*told, *(begin + seconds for seconds in after)}
    edges = [since for since, _until, _window in policy.schedule.timeline(begin, begin + 14 * A_DAY)]
    for at in sorted({*instants, *edges}):
        wanted = policy.limits.narrowed(policy.schedule.in_force(at))
        assert hold(found, at) in (None, wanted)
    # Whoever looks at the clock is woken at each edge.
    changes = [at for at in edges[1:] if _bounds_at(policy, at - 1) != _bounds_at(policy, at)]
    assert [at for at in changes if at not in told] == []


def _bounds_at(policy: Policy, at: float) -> Bounds:
    return policy.limits.narrowed(policy.schedule.in_force(at))


def recorded() -> dict[str, dict[str, dict[str, list[int]]]]:
    found: dict[str, dict[str, dict[str, list[int]]]] = json.loads(record_kubernetes_cron.RECORD.read_text())
    return found


@pytest.mark.parametrize(("name", "zone"), EVERYWHERE)
def test_kubernetes(name: str, zone: str) -> None:
    policy = without_dropped(witnessed.policy(name, zone), witnessed.START)
    told: dict[float, Bounds] = {}
    for entry in entries(policy, witnessed.START)["kubernetes"]:
        odd = recorded()[zone][entry["schedule"]]
        instants = {*witnessed.meant(entry["schedule"], zone), *odd["extra"]} - {*odd["missing"]}
        told.update((at, bounds(entry)) for at in sorted(instants))
    differing = differing_hours(policy, told)
    # What differs is what the fidelity report says: on days on which the clock is changed at an edge.
    told_of = {edge.wall.date() for edge in odd_edges(policy, witnessed.START, witnessed.END)}
    # What is left out on such a day differs until the next edge, which may come on the next day.
    days = {datetime.fromtimestamp(at, ZoneInfo(zone)).date() for at in differing}
    assert days <= told_of | {day + timedelta(days=1) for day in told_of}
    if name != "night":
        assert differing == []


@NEEDS_GO
def test_the_record_is_what_the_library_says() -> None:
    assert record_kubernetes_cron.record() == recorded()


def of_cron(line: str, zone: str) -> Iterator[float]:
    """When cron of a host in a zone comes, as Debian's does."""
    cronsim = pytest.importorskip("cronsim")
    begin = datetime.fromtimestamp(witnessed.START, ZoneInfo(zone)) - timedelta(seconds=1)
    for at in cronsim.CronSim(line, begin):
        if at.timestamp() >= witnessed.END:
            return
        yield at.timestamp()


@pytest.mark.parametrize("host", ["UTC", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    ("name", "zone"), [seldom(*each) for each in EVERYWHERE if each == ("brief", "Europe/Berlin") or "night" in each]
)
def test_a_crontab_comes_at_every_edge_whatever_the_zone_of_its_host(name: str, zone: str, host: str) -> None:
    policy = witnessed.policy(name, zone)

    def wall(at: float) -> datetime:
        return datetime.fromtimestamp(at, ZoneInfo(host)).replace(tzinfo=None)

    times = {at for line in crontab_times(policy, witnessed.START, wall) for at in of_cron(line, host)}
    late = [at for at, _bounds in witnessed.engine(policy)[1:] if at not in times]
    # In an hour that comes twice on the host's clock cron takes the first one; the full hour makes up for it.
    assert all(_comes_twice(at, host) for at in late)
    assert all(any(at < each <= at + AN_HOUR for each in times) for at in late)


def _comes_twice(at: float, zone: str) -> bool:
    shown = datetime.fromtimestamp(at, ZoneInfo(zone))
    return shown.utcoffset() != shown.replace(fold=1 - shown.fold).utcoffset()
