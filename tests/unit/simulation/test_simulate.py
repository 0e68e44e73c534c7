# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery-autoscaler simulate as a user calls it, and the numbers it prints."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.simulation.comparison import (
    compare,
    table,
    verdict,
)
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Setting
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import by_policy, fixed
from ansible_collections.muejam.celery.plugins.module_utils.simulation.traces import read_trace
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

Simulate = Callable[..., subprocess.CompletedProcess[str]]
SETTING = Setting(floor=2, ceiling=20, slots=1, promise=30)
TEN_AT_ONCE = Workload("ten", ((0.0, 10.0),) * 10, 100)


@pytest.fixture
def simulate(autoscaler: Callable[..., subprocess.CompletedProcess[str]]) -> Simulate:
    return partial(autoscaler, "simulate")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "wait-30s.json"
    path.write_text('{"target": {"wait_time": "30s"}}', encoding="utf-8")
    return path


def test_the_numbers_are_those_of_the_run() -> None:
    two, five = compare(TEN_AT_ONCE, [fixed(2, SETTING), fixed(5, SETTING)], SETTING)
    assert two.as_json() == {
        "name": "fixed 2",
        "wait": {"p50": 20, "p95": 40, "p99": 40, "most": 40},
        "within_promise": 0.8,
        "promise_kept": False,
        "worker_seconds": 200,
        "cost_over_least": 200 / 220,
        "changes": 0,
    }
    assert (five.within, five.kept, five.outcome.worker_seconds) == (1, True, 500)


def test_the_table_marks_who_broke_the_promise() -> None:
    text = table(compare(TEN_AT_ONCE, [fixed(2, SETTING), fixed(5, SETTING)], SETTING)).splitlines()
    assert [line.endswith("promise broken") for line in text] == [False, True, False]
    assert "within 30 s" in text[0]
    assert "80.0 %" in text[1]


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ((5,), "fixed 5 keeps the promise"),
        ((5, 2), "fixed 5 keeps the promise .*none of the others keeps it"),
        ((2, 5, 6), "fixed 2 breaks the promise .* it takes 40 s; .* the others that keeps it, fixed 5, takes 2.50"),
    ],
)
def test_the_verdict_is_a_line(workers: tuple[int, ...], said: str) -> None:
    text = verdict(compare(TEN_AT_ONCE, [fixed(number, SETTING) for number in workers], SETTING))
    assert "\n" not in text
    assert re.search(said, text)


def test_windows_go_by_the_calendar_of_the_workload() -> None:
    policy = parse_policy({"schedule": {"windows": [{"name": "noon", "time": "12:00-13:00", "min_workers": 7}]}})
    quiet = Workload("quiet", ((0.0, 1.0),), 60, begin=12 * 3600)
    (result,) = compare(quiet, [by_policy("p", policy, SETTING)], SETTING, timeline=True)
    assert result.outcome.timeline[-1].workers == 7


def test_a_trace_is_read_in_any_order() -> None:
    lines = ['{"at": 30, "runtime": 2}', "", '{"at": 10.5, "runtime": 1, "task": "app.add"}']
    assert read_trace("t", lines) == Workload("t", ((10.5, 1.0), (30.0, 2.0)), 92.0, 0.0)


def test_a_trace_of_the_calendar_begins_with_its_first_task() -> None:
    lines = ['{"at": "2026-01-01T00:00:05Z", "runtime": 2}', '{"at": "2026-01-01T01:00:00+01:00", "runtime": 1}']
    assert read_trace("t", lines) == Workload("t", ((0.0, 1.0), (5.0, 2.0)), 67.0, 1_767_225_600.0)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"at": 1}', '{"at": 1, "runtime": -1}', '{"at": 1, "runtime": true}', '{"runtime": 1}', ""]
)
def test_a_bad_trace_is_named(line: str) -> None:
    with pytest.raises(OperationError, match="the trace t"):
        read_trace("t", [line])


def test_a_day_is_played_in_a_moment() -> None:
    busy = Workload("busy", tuple((n * 7200 / 50000, 0.7) for n in range(50000)), 7200)
    policy = parse_policy({"target": {"wait_time": 30}})
    begun = time.process_time()
    compare(busy, [by_policy("p", policy, SETTING)], SETTING, timeline=True)
    assert time.process_time() - begun < 3


def test_a_workload_is_played_against_rivals(simulate: Simulate, policy: Path) -> None:
    done = simulate("--policy", policy, "--workload", "burst", "--against", "fixed:20,celery:20,2,keda:50,rate")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("wait-30s", "fixed 20", "celery 20,2", "keda 50", "rate + backlog"):
        assert f"\n{name} " in done.stdout
    assert "600 tasks" in done.stdout


def test_programs_get_json(simulate: Simulate, policy: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(f'{{"at": {n}, "runtime": 2}}\n' for n in range(50)), encoding="utf-8")
    other = tmp_path / "steps.json"
    other.write_text('{"limits": {"min_workers": 3}}', encoding="utf-8")
    done = simulate(
        *("--policy", policy, "--policy", other, "--trace", trace, "--json", "--promise", "10s", "--concurrency", "2")
    )
    told = json.loads(done.stdout)
    assert (told["workload"], told["tasks"], told["promise"]) == ("trace.jsonl", 50, 10)
    assert [contender["name"] for contender in told["contenders"]] == ["wait-30s", "steps"]
    assert all(contender["wait"]["most"] <= 10 for contender in told["contenders"])


def test_it_is_drawn(simulate: Simulate, policy: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    done = simulate("--policy", policy, "--workload", "burst", "--against", "fixed:2", "--plot", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Drawn in {page} and {page.with_suffix('.png')}." in done.stdout
    assert "wait-30s" in page.read_text(encoding="utf-8")


def test_the_workloads_are_listed(simulate: Simulate) -> None:
    done = simulate("--workload", "list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        *("burst", "steady", "day", "crowds", "heavy-tail", "long-tasks", "on-off", "ramp")
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--workload", "burst", "--against", "hpa:3"], 2, "'hpa:3' is no rival"),
        (["--workload", "noon"], 2, "invalid choice"),
        (["--trace", "/nonexistent"], 2, "Could not read the trace"),
        (["--workload", "burst", "--interval", "0"], 2, "too short"),
        (["--workload", "burst", "--concurrency", "0"], 2, "not a number from 1"),
    ],
)
def test_what_makes_no_sense_is_said(
    simulate: Simulate, policy: Path, arguments: list[str], status: int, said: str
) -> None:
    done = simulate("--policy", policy, *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_that_is_not_sound_is_refused_with_its_faults(
    simulate: Simulate, policy: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"target": {"wait_time": "30s"}, "limits": {"min_workers": 9, "max_workers": 3}}', encoding="utf-8")
    done = simulate("--policy", policy, "--policy", bad, "--workload", "burst")
    assert done.returncode == 1
    assert "bad.json: limits.min_workers" in done.stderr


def test_a_policy_is_needed(simulate: Simulate) -> None:
    done = simulate("--workload", "burst")
    assert done.returncode == 2
    assert "no policy was given" in done.stderr
