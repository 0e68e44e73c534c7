# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that come once: how they are written, when they hold, and what is said of them."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import timetable
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.fidelity import of_engine
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow
from ansible_collections.muejam.celery.plugins.module_utils.decide.written import as_mapping

CAMPAIGN = {"name": "campaign", "from": "2026-12-01 08:00", "until": "2026-12-24 18:00", "min_workers": 10}
PEAK = {"name": "peak", "time": "08:00-18:00", "min_workers": 5}


def policy(*windows: dict[str, Any], zone: str = "Europe/Berlin") -> Policy:
    return parse_policy({"schedule": {"timezone": zone, "windows": list(windows)}})


def utc(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp()


def edges(since: object, until: object = "2030-01-01 00:00", zone: str = "Europe/Berlin") -> tuple[str, str]:
    """Return both edges in UTC."""
    (window,) = policy({"from": since, "until": until}, zone=zone).schedule.one_offs
    since, until = (
        f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%S}" for at in (window.since, window.until)
    )
    return since, until


def faults(*windows: dict[str, Any], zone: str = "Europe/Berlin") -> dict[str, str]:
    with pytest.raises(PolicyError) as refused:
        policy(*windows, zone=zone)
    return {fault.path: fault.message for fault in refused.value.faults}


def advice(*windows: dict[str, Any], at: str = "2026-11-01T00:00") -> dict[str, str]:
    return {each.path: each.message for each in advise(policy(*windows), utc(at))}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-12-01 08:00", "2026-12-01T07:00:00"),
        ("2026-12-01T08:00", "2026-12-01T07:00:00"),
        (" 2026-12-01 8:00:30 ", "2026-12-01T07:00:30"),
        ("2026-12-01", "2026-11-30T23:00:00"),
        ("2026-11-30 24:00", "2026-11-30T23:00:00"),
        ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00"),
        ("2026-12-01t08:00:00z", "2026-12-01T08:00:00"),
        ("2026-12-01T08:00:00-05:30", "2026-12-01T13:30:00"),
        ("2026-12-01T08:00+01:00", "2026-12-01T07:00:00"),
        ("2026-12-01 08:00:00+00:00", "2026-12-01T08:00:00"),
        ("2026-12-01 08:00:00.75 +01:00", "2026-12-01T07:00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        (datetime(2026, 12, 1, 8), "2026-12-01T07:00:00"),
        (datetime(2026, 12, 1, 8, 0, 0, 500), "2026-12-01T07:00:00"),
        (datetime(2026, 12, 1, 8, tzinfo=timezone.utc), "2026-12-01T08:00:00"),
        (date(2026, 12, 1), "2026-11-30T23:00:00"),
    ],
)
def test_dates_are_taken_as_they_are_meant(written: object, meant: str) -> None:
    assert edges(written)[0] == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-01 08:00", "2026-12-01T07:00:00"),
        ("2026-12-01 08:00:00", "2026-12-01T07:00:00"),
        ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00"),
        ("2026-12-01T08:00:00+02:00", "2026-12-01T06:00:00"),
        ("2026-12-01 08:00:00 +02:00", "2026-12-01T06:00:00"),
        ("2026-12-01", "2026-11-30T23:00:00"),
    ],
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_yaml_may_read_a_date_or_a_text(text: str, meant: str, quote: str) -> None:
    read = yaml.safe_load(f"from: {quote}{text}{quote}")
    assert edges(read["from"])[0] == meant


@pytest.mark.parametrize(
    "written",
    [
        "soon", "08:00", "2026-12-01 08", "2026-02-30 08:00", "2026-13-01", "2026-12-01 08:60", "2026-12-01 24:01",
        "2026-12-01 25:00", "2026-12-01T08:00:00+24:00", "2026-12-01T08:00:00+01:60", "1969-12-31 08:00",
        "9999-01-01 00:00", "26-12-01 08:00", 1796108400, True, 20261201, ["2026-12-01"], date(1, 1, 1),
        "٢٠٢٦-12-01 08:00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["from", "until"])
def test_what_is_no_date_is_refused_at_its_place(key: str, written: object) -> None:
    found = faults({**CAMPAIGN, key: written})
    assert list(found) == [f"schedule.windows[0].{key}"]


def test_the_end_of_the_calendar_is_no_stumbling_block() -> None:
    held = policy({"from": "1970-01-01T00:00:00Z", "until": "9998-12-31T00:00:00Z", "min_workers": 3}, PEAK)
    assert advise(held, utc("2026-11-01T00:00")) == []
    assert parse_policy(as_mapping(held)) == held


@pytest.mark.parametrize(
    ("window", "path", "words"),
    [
        ({**CAMPAIGN, "until": "2026-12-01 08:00"}, "until", "not after from, which is 2026-12-01T08:00:00+01:00"),
        ({**CAMPAIGN, "until": "2026-12-01T06:59:00Z"}, "until", "is 2026-12-01T07:59:00+01:00 on the clock of Europe"),
        ({**CAMPAIGN, "time": "08:00-18:00"}, "time", "stands beside from"),
        ({"until": CAMPAIGN["until"], "from": CAMPAIGN["from"], "days": ["mon"]}, "days", "stands beside from"),
        ({"from": "2026-12-01 08:00"}, "from", "stands alone: say by until when the window ends"),
        ({"until": "2026-12-01 08:00", "from": None}, "until", "stands alone: say by from when the window begins"),
        ({**CAMPAIGN, "min_workers": 21}, "min_workers", "a floor of 21 is above the ceiling of 20"),
        ({**CAMPAIGN, "till": 1}, "till", "known are name, time, days, from, until, min_workers, max_workers"),
        # The clock skips both; it shows the second one before the first one.
        ({"from": "2026-03-29 02:10", "until": "2026-03-29 02:50"}, "until", "2026-03-29T03:00:00+02:00"),
        ({"from": "2026-10-25 02:30", "until": "2026-10-25T02:20:00+02:00"}, "until", "not after from"),
    ],
)
def test_what_contradicts_itself_is_refused_at_its_place(window: dict[str, Any], path: str, words: str) -> None:
    found = faults(window)
    assert list(found) == [f"schedule.windows[0].{path}"]
    assert words in found[f"schedule.windows[0].{path}"]


def test_all_faults_are_told_and_none_is_made_up() -> None:
    windows = [{"until": "2026-12-01", "time": "8", "days": ["x"]}, {"from": "soon", "until": 3, "max_workers": 1}]
    assert set(faults(*windows)) == {
        "schedule.windows[0].until",
        "schedule.windows[0].time",
        "schedule.windows[0].days",
        "schedule.windows[1].from",
        "schedule.windows[1].until",
        "schedule.windows[1].max_workers",
    }
    # Whether one is before the other depends on the zone.
    mixed = {"from": "2026-12-01 08:00", "until": "2026-12-01T07:30:00Z"}
    assert set(faults(mixed, zone="Moon/Base")) == {"schedule.timezone"}


def test_a_window_that_comes_once_wins_by_its_place() -> None:
    def names(*windows: dict[str, Any]) -> list[str | None]:
        pieces = timetable(policy(*windows), utc("2026-12-01T06:00"), utc("2026-12-01T18:00"))
        return [piece["window"] for piece in pieces]

    assert names(PEAK, CAMPAIGN) == [None, "campaign"]
    assert names(CAMPAIGN, PEAK) == [None, "peak", "campaign"]


def test_its_end_is_the_first_instant_outside() -> None:
    schedule = policy(CAMPAIGN).schedule
    (window,) = schedule.one_offs
    assert [schedule.in_force(at) for at in (window.since - 1, window.since, window.until - 1, window.until)] == [
        None, window, window, None,
    ]  # fmt: skip


def test_it_is_written_as_it_reads() -> None:
    held = policy(CAMPAIGN, {"from": "2026-10-25T01:30:00Z", "until": "2026-10-25T01:45:10Z"})
    written = as_mapping(held)
    assert written["schedule"]["windows"] == [
        {
            "name": "campaign",
            "from": "2026-12-01T08:00:00+01:00",
            "until": "2026-12-24T18:00:00+01:00",
            "min_workers": 10,
            "max_workers": None,
        },
        {
            "name": "schedule.windows[1]",
            "from": "2026-10-25T02:30:00+01:00",
            "until": "2026-10-25T02:45:10+01:00",
            "min_workers": None,
            "max_workers": None,
        },
    ]
    assert parse_policy(json.loads(json.dumps(written))) == held


def test_an_offset_with_seconds_is_written_too() -> None:
    held = policy({"from": "1970-05-01 00:00", "until": "1970-05-02 00:00"}, zone="Africa/Monrovia")
    assert isinstance(held.schedule.windows[0], OneOffWindow)
    assert parse_policy(as_mapping(held)) == held


def test_the_engine_keeps_it_exactly() -> None:
    (last,) = [each for each in of_engine(policy(CAMPAIGN)) if each.rule == "schedule.windows[0]"]
    assert last.kept == "exact"
    assert "once, from 2026-12-01T08:00:00+01:00 until 2026-12-24T18:00:00+01:00" in last.how


def test_of_a_good_one_there_is_nothing_to_say() -> None:
    maintenance = {"name": "move", "from": "2026-12-05 01:00", "until": "2026-12-05 03:00", "max_workers": 2}
    assert advice(PEAK, CAMPAIGN, maintenance) == {}
    # It takes the floor of another window away.
    assert advice(PEAK, {"name": "feast", "from": "2026-12-25", "until": "2026-12-27"}) == {}


@pytest.mark.parametrize(
    ("windows", "at", "path", "words"),
    [
        ([CAMPAIGN], "2026-12-24T17:00", "schedule.windows[0].until", "over since 2026-12-24T18:00:00+01:00"),
        ([CAMPAIGN, {**PEAK, "time": "00:00-24:00"}], "2026-11-01T00:00", "schedule.windows[0]", "all the time (peak)"),
        (
            [CAMPAIGN, {"name": "all", "from": "2026-11-01", "until": "2027-01-01", "min_workers": 9}],
            "2026-11-01T00:00",
            "schedule.windows[0]",
            "campaign is never in force: later windows win over it all the time (all)",
        ),
        ([{**CAMPAIGN, "min_workers": None}], "2026-11-01T00:00", "schedule.windows[0]", "campaign changes nothing"),
        (
            [PEAK, {"name": "same", "from": "2026-12-01 09:00", "until": "2026-12-01 10:00", "min_workers": 5}],
            "2026-11-01T00:00",
            "schedule.windows[1]",
            "same changes nothing",
        ),
        ([{**CAMPAIGN, "max_workers": 30}], "2026-11-01T00:00", "schedule.windows[0].max_workers", "stays 20"),
    ],
)
def test_advice(windows: list[dict[str, Any]], at: str, path: str, words: str) -> None:
    assert words in advice(*windows, at=at)[path]


def test_a_window_to_come_counts_among_the_bounds_and_one_that_is_over_does_not() -> None:
    fixed = {"name": "fixed", "min_workers": 5, "max_workers": 5}
    assert "limits" not in advice(fixed, CAMPAIGN)
    assert "limits" in advice(fixed, CAMPAIGN, at="2027-01-01T00:00")


def test_a_weekly_window_is_no_less_in_force_for_one_that_comes_once() -> None:
    assert advice({**PEAK, "days": ["tue"]}, {**CAMPAIGN, "until": "2026-12-02"}) == {}
