# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that come once in the languages of systemd, cron, Kubernetes and KEDA.

What systemd makes of a text is asked of systemd itself, and of a crontab's fields of Celery's own crontab.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st
from random_windows import WEEKLY

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import (
    ManifestOptions,
    bounds_in_force,
    entries_fidelity,
    translate,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import (
    calendar_dates,
    on_calendar_of_a_date,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS, Window

NOW = datetime(2026, 11, 2, tzinfo=timezone.utc).timestamp()  # a Monday
A_MINUTE, A_DAY = 60, 86400
HORIZON = 90  # days
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
]
PEAK = {"name": "peak", "time": "08:00-18:00", "days": ["mon", "tue", "wed", "thu", "fri"], "min_workers": 5}
CAMPAIGN = {"name": "campaign", "from": "2026-12-01 08:00", "until": "2026-12-24 18:00", "min_workers": 10}
NEEDS_SYSTEMD = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")


def policy(*windows: dict[str, Any], zone: str = "Europe/Berlin") -> Policy:
    return parse_policy({"schedule": {"timezone": zone, "windows": list(windows)}})


def at_utc(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp()


def bounds(entry: dict[str, Any]) -> tuple[int, int]:
    return entry["min_workers"], entry["max_workers"]


# OnCalendar= as far as it is written here: days of the week, a date with ranges, a time, a zone.
_CALENDAR = re.compile(r"(?:([\w.,]+) )?([\d*.]+)-([\d*.]+)-([\d*.]+) (\d\d):(\d\d):(\d\d) (\S+)")


def numbers(text: str) -> range:
    if text == "*":
        return range(10000)
    first, _to, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def days_of_systemd(text: str | None) -> set[int]:
    found: set[int] = set(range(7)) if text is None else set()
    for part in text.split(",") if text else ():
        first, _to, last = part.lower().partition("..")
        found.update(range(DAYS.index(first), DAYS.index(last or first) + 1))
    return found


def occurrences_of_systemd(text: str, first: date, days: int) -> Iterator[float]:
    found = _CALENDAR.fullmatch(text)
    assert found, text
    week, year, month, day, hour, minute, second, zone = found.groups()
    for number in range(days):
        on = first + timedelta(days=number)
        if (
            on.weekday() in days_of_systemd(week)
            and on.year in numbers(year)
            and on.month in numbers(month)
            and on.day in numbers(day)
        ):
            yield instant(on, int(hour) * 60 + int(minute), ZoneInfo(zone)) + int(second)


def occurrences_of_cron(entry: dict[str, Any], zone: str, first: date, days: int) -> Iterator[float]:
    minute, hour, day, month, week = entry["schedule"].split()
    fields = crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=week)
    for number in range(days):
        on = first + timedelta(days=number)
        in_calendar = on.day in fields.day_of_month and on.month in fields.month_of_year
        if in_calendar and on.isoweekday() % 7 in fields.day_of_week and entry.get("year", on.year) == on.year:
            for clock in ((h, m) for h in fields.hour for m in fields.minute):
                yield instant(on, clock[0] * 60 + clock[1], ZoneInfo(zone))


def hold(told: dict[float, tuple[int, int]], at: float) -> tuple[int, int] | None:
    """Return the bounds that were set last, or None before the first edge."""
    last = max((each for each in told if each <= at), default=None)
    return None if last is None else told[last]


def told_by(occurrences: Iterator[tuple[float, tuple[int, int]]]) -> dict[float, tuple[int, int]]:
    """Return the bounds that are set, by instant; of two at one instant nobody knows which comes last."""
    found: dict[float, tuple[int, int]] = {}
    for at, held in occurrences:
        assert found.setdefault(at, held) == held
    return found


def check_systemd(held: Policy, at: float, instants: list[float]) -> None:
    first = datetime.fromtimestamp(at, timezone.utc).date() - timedelta(days=2)
    told = told_by(
        (each, bounds(entry))
        for entry in entries(held, at)["systemd"]
        for each in occurrences_of_systemd(entry["on_calendar"], first, HORIZON + 4)
        if each > at
    )
    for each in (*told, *instants):
        truth = held.limits.narrowed(held.schedule.in_force(each))
        assert hold(told, each) in (None, truth)


MOMENTS = st.integers(-3 * 24 * 4, 60 * 24 * 4).map(lambda quarters: NOW + quarters * 15 * A_MINUTE)
ONE_OFFS = st.builds(
    lambda since, length, floor, room: {
        "from": f"{datetime.fromtimestamp(since, timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "until": f"{datetime.fromtimestamp(since + length * 60, timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "min_workers": floor,
        "max_workers": floor + room,
    },
    MOMENTS,
    st.one_of(st.integers(1, 60 * 24), st.integers(1, 20 * 24 * 60)),
    st.integers(2, 6),
    st.integers(0, 6),
)


@given(
    st.lists(st.one_of(WEEKLY, ONE_OFFS), min_size=1, max_size=5),
    st.sampled_from(["UTC", "Asia/Kolkata"]),
    st.lists(st.integers(0, HORIZON * A_DAY), max_size=30),
)
def test_dated_edges_for_systemd_hold_what_the_engine_holds(
    windows: list[dict[str, Any]], zone: str, after: list[int]
) -> None:
    check_systemd(policy(*windows, zone=zone), NOW, [NOW + seconds for seconds in after])


@given(
    st.lists(ONE_OFFS, min_size=1, max_size=3),
    st.sampled_from(ZONES),
    st.sampled_from(["2026-03-08", "2026-03-28", "2026-04-03", "2026-09-25", "2026-10-03", "2026-10-24", "2026-10-31"]),
    st.lists(st.integers(0, HORIZON * A_DAY), max_size=10),
)
def test_edges_that_come_once_hold_over_changes_of_the_clock(
    windows: list[dict[str, Any]], zone: str, day: str, after: list[int]
) -> None:
    begin = at_utc(day)

    def moved(written: str) -> str:
        """Return the same time as far from that day, which is near a change, as it was from now."""
        at = datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp() - NOW + begin
        return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"

    near = [{**each, "from": moved(each["from"]), "until": moved(each["until"])} for each in windows]
    check_systemd(policy(*near, zone=zone), begin, [begin + seconds for seconds in after])


@given(st.lists(st.one_of(WEEKLY, ONE_OFFS), min_size=1, max_size=4), st.lists(st.integers(0, 60 * A_DAY), max_size=30))
def test_edges_for_cron_hold_what_the_engine_holds_without_the_windows_that_are_dropped(
    windows: list[dict[str, Any]], after: list[int]
) -> None:
    held = policy(*windows, zone="UTC")
    kept = {each["rule"]: each["kept"] for each in entries_fidelity(held, NOW)["cron"]}
    assert set(kept) == {f"schedule.windows[{place}]" for place in range(len(windows))}
    left = [each for place, each in enumerate(windows) if kept[f"schedule.windows[{place}]"] != "dropped"]
    truth = policy(*left, zone="UTC") if left else parse_policy({})
    first = datetime.fromtimestamp(NOW, timezone.utc).date() - timedelta(days=1)
    for language in ("cron", "kubernetes"):
        told = told_by(
            (each, bounds(entry))
            for entry in entries(held, NOW)[language]
            for each in occurrences_of_cron(entry, "UTC", first, HORIZON)
            if each > NOW
        )
        for each in (*told, *(NOW + seconds for seconds in after)):
            assert hold(told, each) in (None, truth.limits.narrowed(truth.schedule.in_force(each)))


def test_a_campaign_as_systemd_takes_it() -> None:
    found = entries(policy(PEAK, CAMPAIGN), NOW)["systemd"]
    assert [(each["on_calendar"], *bounds(each)) for each in found] == [
        ("Mon..Fri 2026-01..11-* 08:00:00 Europe/Berlin", 5, 20),
        ("Mon..Fri 2026-01..11-* 18:00:00 Europe/Berlin", 2, 20),
        ("2026-12-01 08:00:00 Europe/Berlin", 10, 20),
        ("2026-12-24 18:00:00 Europe/Berlin", 2, 20),
        ("Mon..Fri 2026-12-25..31 08:00:00 Europe/Berlin", 5, 20),
        ("Mon..Fri 2027..2199-*-* 08:00:00 Europe/Berlin", 5, 20),
        ("Mon..Fri 2026-12-25..31 18:00:00 Europe/Berlin", 2, 20),
        ("Mon..Fri 2027..2199-*-* 18:00:00 Europe/Berlin", 2, 20),
    ]


def test_entries_of_a_window_that_is_over_are_gone() -> None:
    plain = entries(policy(PEAK), NOW)
    assert entries(policy(PEAK, CAMPAIGN), at_utc("2026-12-24T17:00")) == plain
    (weekly, once) = entries_fidelity(policy(PEAK, CAMPAIGN), at_utc("2026-12-24T17:00"))["cron"]
    assert weekly["kept"] == "exact"
    assert (once["kept"], "has been over since 2026-12-24T18:00:00+01:00" in once["how"]) == ("exact", True)


def test_the_edge_that_is_past_is_gone_while_the_window_runs() -> None:
    found = entries(policy(CAMPAIGN), at_utc("2026-12-02T00:00"))
    assert [each["on_calendar"] for each in found["systemd"]] == ["2026-12-24 18:00:00 Europe/Berlin"]
    assert found["cron"] == [{"schedule": "0 18 24 12 *", "min_workers": 2, "max_workers": 20, "year": 2026}]


def test_the_calendar_of_systemd_ends_and_it_is_said() -> None:
    held = policy(PEAK, {**CAMPAIGN, "until": "9998-12-30"})
    found = entries(held, NOW)["systemd"]
    assert found[-1]["on_calendar"] == "2026-12-01 08:00:00 Europe/Berlin"
    (_weekly, said) = entries_fidelity(held, NOW)["systemd"]
    assert (said["kept"], "ends with 2199" in said["how"]) == ("approximated", True)
    late = policy(PEAK, {**CAMPAIGN, "from": "2500-01-01", "until": "2500-02-01"})
    assert [each["on_calendar"] for each in entries(late, NOW)["systemd"]] == [
        "Mon..Fri 2026..2199-*-* 08:00:00 Europe/Berlin",
        "Mon..Fri 2026..2199-*-* 18:00:00 Europe/Berlin",
    ]


def test_entries_do_not_change_from_day_to_day() -> None:
    held = policy(PEAK, CAMPAIGN)
    assert entries(held, NOW) == entries(held, NOW + 20 * A_DAY)


def test_a_crontab_has_no_year_and_says_so() -> None:
    held = policy(CAMPAIGN)
    assert entries(held, NOW)["kubernetes"][0] == {
        "schedule": "0 8 1 12 *",
        "time_zone": "Europe/Berlin",
        "min_workers": 10,
        "max_workers": 20,
        "year": 2026,
    }
    found = entries_fidelity(held, NOW)
    assert found["systemd"][0]["kept"] == "exact"
    assert found["cron"][0]["kept"] == found["kubernetes"][0]["kept"] == "approximated"
    assert "take it out after 2026-12-24T18:00:00+01:00, or it comes again each year" in found["cron"][0]["how"]


@pytest.mark.parametrize(
    ("windows", "why"),
    [
        ((PEAK, CAMPAIGN), "the weekly edge at 08:00 falls into it and would end it"),
        # At the very instant: nobody knows which comes last.
        (
            (PEAK, {**CAMPAIGN, "until": "2026-12-01 17:00"}),
            "the weekly edge at 08:00 falls into it and would end it",
        ),
        (({**CAMPAIGN, "until": "2027-12-01 08:00"},), "2027-12-01T08:00:00+01:00 is more than a year away"),
        ((CAMPAIGN, {"name": "none", "time": "12:00-13:00", "max_workers": 20}), "the weekly edge at"),
        (({"name": "always", "min_workers": 3}, CAMPAIGN), "the weekly edge at 00:00 falls into it"),
    ],
)
def test_what_cron_cannot_keep_is_dropped_and_said(windows: tuple[dict[str, Any], ...], why: str) -> None:
    held = policy(*windows)
    place = windows.index(next(each for each in windows if each["name"] == "campaign"))
    for autoscaler in ("hpa", "schedule"):
        found = translate(held, autoscaler, ManifestOptions(), NOW)
        (kept,) = [each for each in found.fidelity if each["rule"] == f"schedule.windows[{place}]"]
        assert kept["kept"] == "dropped"
        assert why in kept["how"]
        assert "timers of systemd keep it" in kept["how"]
    assert not [each for each in entries(held, NOW)["cron"] if "year" in each]


def test_a_maintenance_between_weekly_edges_is_kept_by_cron_jobs() -> None:
    move = {"name": "move", "from": "2026-12-05 01:00:30", "until": "2026-12-05 03:00", "max_workers": 2}
    found = translate(policy(PEAK, move), "hpa", ManifestOptions(workload="web"), NOW)
    jobs = {each["metadata"]["name"]: each for each in found.manifests if each["kind"] == "CronJob"}
    begin, end = jobs["web-20261205-010030"], jobs["web-20261205-030000"]
    assert (begin["spec"]["schedule"], end["spec"]["schedule"]) == ("0 1 5 12 *", "0 3 5 12 *")
    assert begin["metadata"]["annotations"] == {"muejam.celery/only-in": "2026"}
    patched = begin["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    assert patched == '--patch={"spec": {"minReplicas": 2, "maxReplicas": 2}}'
    assert len(jobs) == 4
    (kept,) = [each for each in found.fidelity if each["rule"] == "schedule.windows[1]"]
    assert kept["kept"] == "approximated"
    assert "the seconds of 2026-12-05 01:00:30 are left out" in kept["how"]


def test_a_repeated_hour_is_said() -> None:
    night = {"name": "night", "from": "2027-10-31 02:10", "until": "2027-10-31T02:20:00+01:00", "max_workers": 2}
    held = policy(night)
    found = entries_fidelity(held, at_utc("2027-10-01T00:00"))
    assert found["systemd"][0]["kept"] == "exact"
    how = found["cron"][0]["how"]
    assert "2027-10-31 02:10 comes twice and counts both times, the first is meant" in how
    assert "2027-10-31 02:20 comes twice and counts both times, the second is meant" in how
    assert [each["on_calendar"] for each in entries(held, at_utc("2027-10-01T00:00"))["systemd"]] == [
        "2027-10-31 00:10:00 UTC",
        "2027-10-31 01:20:00 UTC",
    ]


def keda(held: Policy, at: float, **options: Any) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the ScaledObject's spec, and what is said of windows."""
    found = translate(
        held, "keda", ManifestOptions(**{"broker_url": "redis://redis", "windows": "triggers", **options}), at
    )
    said = [each for each in found.fidelity if each["rule"].startswith("schedule.windows")]
    return found.manifests[-1]["spec"], said


def test_keda_raises_the_floor_once() -> None:
    spec, said = keda(policy(PEAK, CAMPAIGN), NOW)
    crons = {each["name"]: each["metadata"] for each in spec["triggers"] if each["type"] == "cron"}
    assert crons["once_0"] == {
        "timezone": "Europe/Berlin",
        "start": "0 8 1 12 *",
        "end": "0 18 24 12 *",
        "desiredReplicas": "10",
    }
    assert "(once_0 > 1 ? 500.0 : 0.0)" in spec["advanced"]["scalingModifiers"]["formula"]
    assert said[1]["kept"] == "approximated"
    assert "a higher floor of another window wins over it" in said[1]["how"]


@pytest.mark.parametrize(
    ("window", "at", "kept", "words"),
    [
        ({"max_workers": 4, "min_workers": None}, NOW, "dropped", "the ceiling of 4 is dropped"),
        ({"min_workers": None}, NOW, "dropped", "only raise floors"),
        ({"until": "2027-12-24"}, NOW, "dropped", "more than a year away"),
        ({"until": "2027-11-24"}, at_utc("2027-01-01T00:00"), "approximated", "take it out after 2027-11-24"),
        ({"until": "2027-12-24"}, at_utc("2027-01-01T00:00"), "dropped", "more than a year away"),
        ({}, at_utc("2027-01-01T00:00"), "exact", "has been over"),
        ({"max_workers": 12}, NOW, "approximated", "the ceiling of 12 is dropped"),
    ],
)
def test_what_keda_keeps(window: dict[str, Any], at: float, kept: str, words: str) -> None:
    spec, (said,) = keda(policy({**CAMPAIGN, **window}), at)
    assert said["kept"] == kept
    assert words in said["how"]
    assert any(each["type"] == "cron" for each in spec["triggers"]) == (kept == "approximated")


def test_a_window_that_comes_once_is_set_by_cron_jobs_for_keda_too() -> None:
    found = translate(policy(PEAK, CAMPAIGN), "keda", ManifestOptions(broker_url="redis://redis"), NOW)
    said = {each["rule"]: each for each in found.fidelity}
    spec = next(each["spec"] for each in found.manifests if each["kind"] == "ScaledObject")
    crons = {each["name"] for each in spec["triggers"] if each["type"] == "cron"}
    # The weekly edges fall into it: CronJobs cannot do it, and a trigger raises its floor at least.
    assert said["schedule.windows[1]"]["kept"] == "approximated"
    assert "a cron trigger" in said["schedule.windows[1]"]["how"]
    assert crons == {"window_0", "once_0"}

    alone = translate(policy(CAMPAIGN), "keda", ManifestOptions(broker_url="redis://redis"), NOW)
    spec = next(each["spec"] for each in alone.manifests if each["kind"] == "ScaledObject")
    assert not [each for each in spec["triggers"] if each["type"] == "cron"]
    assert "minReplicaCount 10" in alone.fidelity[-1]["how"]
    assert len([each for each in alone.manifests if each["kind"] == "CronJob"]) == 2


def test_bounds_of_a_window_that_nobody_would_end_are_not_set() -> None:
    options = ManifestOptions(broker_url="redis://redis", in_force=True)
    within = at_utc("2026-12-10T12:00")
    hpa = translate(policy(CAMPAIGN), "hpa", options, within).manifests[0]["spec"]
    assert hpa["minReplicas"] == 10
    both = translate(policy(PEAK, CAMPAIGN), "hpa", options, within).manifests[0]["spec"]
    assert both["minReplicas"] < 10


@dataclass(frozen=True)
class EachTenth(Window):
    """A kind of window that no translation knows: all along the tenth day of each month."""

    def occurrences(self, first: date, last: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.day == 10:
                yield instant(day, 0, zone), instant(day + timedelta(days=1), 0, zone)


@pytest.mark.parametrize("windows", [(), (PEAK,), (PEAK, CAMPAIGN), (CAMPAIGN,)])
@pytest.mark.parametrize("first", [True, False])
def test_bounds_of_a_kind_of_window_that_is_not_known_are_never_set(
    windows: tuple[dict[str, Any], ...], first: bool
) -> None:
    without = policy(*windows)
    known = without.schedule.windows
    each_tenth = EachTenth("each tenth", min_workers=15)
    every = (each_tenth, *known) if first else (*known, each_tenth)
    with_it = replace(without, schedule=replace(without.schedule, windows=every))
    # The day before, while it holds, and one on which the campaign would begin or end in it.
    for moment in ("2026-11-09T12:00", "2026-11-10T12:00", "2026-12-10T12:00", "2026-12-24T12:00"):
        at = at_utc(moment)
        assert bounds_in_force(with_it, at) == bounds_in_force(without, at)
        for language in ("cron", "kubernetes", "systemd"):
            assert entries(with_it, at)[language] == entries(without, at)[language]
        options = ManifestOptions(broker_url="redis://redis", in_force=True)
        for autoscaler in ("keda", "hpa", "schedule"):
            made, wanted = (translate(each, autoscaler, options, at).manifests for each in (with_it, without))
            assert made == wanted


def test_bounds_of_a_kind_that_is_not_known_are_none_of_an_edge_that_comes_once() -> None:
    begins_in_it = {"name": "campaign", "from": "2026-12-10 08:00", "until": "2026-12-12 18:00", "min_workers": 10}
    without = policy(begins_in_it)
    every = (*without.schedule.windows, EachTenth("each tenth", min_workers=15))
    with_it = replace(without, schedule=replace(without.schedule, windows=every))
    assert entries(with_it, NOW) == entries(without, NOW)
    assert [bounds(entry)[0] for entry in entries(with_it, NOW)["kubernetes"]] == [10, 2]


def test_a_bare_scaled_object_has_no_windows() -> None:
    _spec, (said,) = keda(policy(CAMPAIGN), NOW, lists="bare")
    assert said["kept"] == "dropped"


@given(
    st.one_of(st.none(), st.dates(date(2026, 1, 1), date(2030, 12, 31))),
    st.one_of(st.none(), st.dates(date(2026, 1, 1), date(2030, 12, 31))),
    st.dates(date(2025, 12, 1), date(2031, 2, 1)),
)
def test_dates_of_systemd_are_those_between_two_days(first: date | None, last: date | None, probe: date) -> None:
    today = date(2026, 1, 1)
    parts = list(calendar_dates(first, last, today))
    matching = [
        text
        for text, _since, _until in parts
        if all(n in numbers(field) for n, field in zip((probe.year, probe.month, probe.day), text.split("-")))
    ]
    since = first or (today if last else date.min)
    assert len(matching) == (since <= probe <= (last or date.max))
    assert len(parts) <= 5


def asked_of_systemd(text: str, since: float, count: int) -> list[float]:
    """Return when C(text) comes next after an instant, as systemd reckons."""
    base = f"{datetime.fromtimestamp(since, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={base}", text],
        check=False,
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout)
    return [at_utc(each) for each in shown]


# Around both changes of a year, in the gap, in the hour that comes twice, and away from them.
_ODD_HOURS = {
    "Europe/Berlin": ("2026-03-29T00:30", "2026-10-24T23:30"),
    "America/New_York": ("2026-03-08T06:30", "2026-11-01T04:30"),
    "Asia/Kolkata": ("2026-03-29T00:30", "2026-10-25T00:30"),
    "Pacific/Chatham": ("2026-09-26T13:30", "2026-04-04T12:30"),
    "Antarctica/Troll": ("2026-03-29T00:30", "2026-10-24T22:30"),
    "Australia/Lord_Howe": ("2026-10-03T15:00", "2026-04-04T14:15"),
}


@NEEDS_SYSTEMD
@pytest.mark.parametrize("zone", ZONES)
def test_systemd_reads_a_date_as_it_is_meant(zone: str) -> None:
    for begin in map(at_utc, _ODD_HOURS[zone]):
        for quarter in range(0, 20, 2):
            at = begin + quarter * 15 * A_MINUTE
            assert asked_of_systemd(on_calendar_of_a_date(at, zone), begin - A_DAY, 2) == [at]


@NEEDS_SYSTEMD
def test_systemd_reads_the_entries_of_a_campaign_as_they_are_meant() -> None:
    first = datetime.fromtimestamp(NOW, timezone.utc).date()
    for entry in entries(policy(PEAK, CAMPAIGN), NOW)["systemd"]:
        mine = [each for each in occurrences_of_systemd(entry["on_calendar"], first, 200) if each > NOW]
        count = max(len(mine), 1)
        assert asked_of_systemd(entry["on_calendar"], NOW, count)[: len(mine)] == mine[:count]


@NEEDS_SYSTEMD
def test_systemd_leaves_an_edge_in_a_skipped_hour_out_which_has_an_entry_of_its_own() -> None:
    early = {"name": "early", "time": "02:30-05:00", "min_workers": 3}
    held, before = policy(early), at_utc("2026-03-28T12:00")
    text, _end, *own = (entry["on_calendar"] for entry in entries(held, before)["systemd"])
    assert asked_of_systemd(text, before, 1) == [at_utc("2026-03-30T00:30")]
    assert own == [f"{day} 01:00:00 UTC" for day in ("2026-03-29", "2027-03-28", "2028-03-26")]
    (said,) = entries_fidelity(held, before)["systemd"]
    assert said["kept"] == "exact"
    assert "on 2026-03-29 02:30 does not come, and an entry of its own sets them" in said["how"]
    # In the hour that comes twice it takes the first, as windows do.
    before = at_utc("2026-10-24T12:00")
    assert asked_of_systemd(text, before, 2) == [at_utc("2026-10-25T00:30"), at_utc("2026-10-26T01:30")]
