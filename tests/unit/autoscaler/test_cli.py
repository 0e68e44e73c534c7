# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery-autoscaler as a user calls it, and where that matters as a program with files and a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "bin" / "celery-autoscaler"
Autoscaler = Callable[..., subprocess.CompletedProcess[str]]


def program(*arguments: str | Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yml"
    path.write_text("limits: {min_workers: 2, max_workers: 20}\n", encoding="utf-8")
    return path


def line(at: object, **rest: Any) -> str:
    return json.dumps({"at": at, **rest})


def test_a_sound_policy_passes(policy: Path) -> None:
    done = program("check", "--policy", policy)
    assert (done.returncode, done.stderr) == (0, "")


def test_advice_is_no_fault(autoscaler: Autoscaler, policy: Path) -> None:
    policy.write_text("limits: {cooldown_down: 0}\n", encoding="utf-8")
    done = autoscaler("check", "--policy", policy)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problem found" in done.stdout
    assert "advice: limits.cooldown_down: 0s lets every look" in done.stdout


def test_every_fault_is_listed(autoscaler: Autoscaler, policy: Path) -> None:
    policy.write_text("limits: {min_workers: 9, max_workers: 8, extra: 1}\n", encoding="utf-8")
    done = autoscaler("check", "--policy", policy)
    assert done.returncode == 1
    assert "limits.min_workers: a floor of 9" in done.stderr
    assert "limits.extra: is not known" in done.stderr


@pytest.mark.parametrize("content", ["limits: [", None])
def test_a_file_that_cannot_be_read_is_an_error_without_a_traceback(
    autoscaler: Autoscaler, policy: Path, content: str | None
) -> None:
    if content is None:
        policy.unlink()
    else:
        policy.write_text(content, encoding="utf-8")
    done = autoscaler("check", "--policy", policy)
    assert done.returncode == 2
    assert "Could not read the policy" in done.stderr
    assert "Traceback" not in done.stderr


def test_replay_answers_every_line(autoscaler: Autoscaler, policy: Path, tmp_path: Path) -> None:
    recording = tmp_path / "observations.jsonl"
    moments = ["2026-03-04T12:00:00Z", "2026-03-04T12:00:30+00:00", "2026-03-04T12:01:00Z"]
    lines = [line(at, workers=4, metrics={"queue_depth": 500}) for at in moments]
    recording.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = autoscaler("replay", "--policy", policy, "--observations", recording)
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert [(a["at"], a["action"], a["from"], a["to"]) for a in answers] == [
        (moments[0], "hold", 4, 4),
        (moments[1], "hold", 4, 4),
        (moments[2], "up", 4, 6),
    ]
    assert all(a["reasons"] for a in answers)


def test_the_fleet_follows_only_where_a_line_has_no_workers(policy: Path) -> None:
    busy = {"queue_depth": 0, "wait_time": 60}
    lines = [
        line(0, workers=4, metrics=busy),
        line(60, metrics=busy),
        line(120, workers=None, metrics=busy),
        line(180, metrics=busy),
    ]
    done = program("replay", "--policy", policy, "--observations", "-", stdin="\n".join(lines))
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert [(a["from"], a["to"]) for a in answers] == [(4, 6), (6, 9), (None, None), (9, 14)]


def test_a_line_is_answered_before_the_next_is_read(policy: Path) -> None:
    command = [sys.executable, str(PROGRAM), "replay", "--policy", str(policy), "--observations", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        for at in range(3):
            program.stdin.write(line(at, workers=2, metrics={"queue_depth": 0}) + "\n")
            program.stdin.flush()
            assert json.loads(program.stdout.readline())["at"] == at
        program.stdin.close()
        assert program.wait(timeout=30) == 0


@pytest.mark.parametrize(
    "bad",
    ['{"at": "noon", "workers": 1}', '{"at": 1, "workers": 2.5}', '{"at": 1, "metrics": {"cpu": "x"}}'],
)
def test_a_bad_line_is_named(policy: Path, bad: str) -> None:
    done = program("replay", "--policy", policy, "--observations", "-", stdin=line(0, workers=2) + "\n" + bad)
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_journal_is_replayed_as_it_is(policy: Path) -> None:
    told = line(0, fleet="web", workers=4, metrics={"queue_depth": 0, "wait_time": 60})
    journal = [
        "Started celery-autoscaler.service - Sizes the fleets of Celery workers.",
        "-- Boot 0d1c2b --",
        line(0, event="started", mode="act"),
        told,
        f"Nov 28 12:00:05 app1 celery-autoscaler[812]: {line(5, fleet='web', workers=6, metrics={'queue_depth': 0})}",
        "Traceback (most recent call last):",
        '  KeyError: {"x"}',
        "[2026-11-28 12:00:06,000: WARNING] something",
        '{"level": "info", "msg": "of another program"}',
        "celery-autoscaler.service: Deactivated successfully.",
        "",
    ]
    done = program("replay", "--policy", policy, "--observations", "-", "--fleet", "web", stdin="\n".join(journal))
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert [(a["at"], a["action"], a["from"], a["to"]) for a in answers] == [(0, "up", 4, 6), (5, "hold", 6, 6)]
    assert (done.returncode, done.stderr) == (0, "8 lines are no observations and were passed over.\n")


@pytest.mark.parametrize("from_stdin", [True, False])
def test_a_byte_that_is_no_utf_8_ends_no_replay(policy: Path, tmp_path: Path, from_stdin: bool) -> None:
    recording = tmp_path / "journal"
    recording.write_bytes(b"\xe9\xff of another program\n" + line(0, workers=4).encode() + b"\n")
    with recording.open() as file:
        done = subprocess.run(
            [sys.executable, PROGRAM, "replay", "--policy", policy, "--observations", "-" if from_stdin else recording],
            stdin=file,
            capture_output=True,
            check=False,
            timeout=60,
            env={"PYTHONIOENCODING": "utf-8:strict"},
        )
    assert (done.returncode, done.stderr) == (0, b"1 line is no observation and was passed over.\n")
    assert json.loads(done.stdout)["from"] == 4


def test_a_recording_without_an_observation_is_said_to_be_one(policy: Path) -> None:
    done = program("replay", "--policy", policy, "--observations", "-", "--fleet", "web", stdin="-- No entries --\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "1 line is no observation and was passed over.",
        "No observation of fleet web was found in -: nothing was decided.",
    ]


def test_a_full_disk_is_told_of(policy: Path) -> None:
    command = [sys.executable, str(PROGRAM), "check", "--policy", str(policy)]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env={})
    assert done.returncode == 2
    assert "Could not write the answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_the_terminal_cannot_show_is_spelled_out(policy: Path) -> None:
    policy.write_text('{"schedule": {"windows": [{"name": "Gr\u00f6\u00dfe", "min_workers": 2}]}}', encoding="utf-8")
    done = program("check", "--policy", policy, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Gr\\xf6\\xdfe" in done.stdout


def test_what_is_merged_in_stands_once(autoscaler: Autoscaler, policy: Path) -> None:
    policy.write_text("limits: &a {min_workers: 3}\nschedule: {windows: [{<<: *a, max_workers: 9}]}\n")
    assert autoscaler("check", "--policy", policy).returncode == 0


TWINS = [
    ("limits: {max_workers: x, max_workers: 5}\nfoo: 1", ["limits.max_workers", "foo"]),
    ('{"limits": {"max_workers": "x", "max_workers": 5}, "foo": 1}', ["limits.max_workers", "foo"]),
    ("limits: {min_workers: 3}\nlimits: {}\nlimits: {}", ["limits"]),
    ('{"limits": {"min_workers": 3}, "limits": {}, "limits": {}}', ["limits"]),
    ("scale_up: {any: [{metric: cpu, above: 70, above: x}]}", ["scale_up.any[0].above"] * 2),
    ('{"scale_up": {"any": [{"metric": "cpu", "above": 70, "above": "x"}]}}', ["scale_up.any[0].above"] * 2),
    ("limits: &a {min_workers: 2, min_workers: 3}\nschedule: {windows: [{<<: *a}]}", ["limits.min_workers"]),
]


@pytest.mark.parametrize(("text", "places"), TWINS)
def test_a_key_that_stands_twice_is_a_fault_with_its_place_and_hides_no_other(
    autoscaler: Autoscaler, policy: Path, text: str, places: list[str]
) -> None:
    policy.write_text(text)
    done = autoscaler("check", "--policy", policy)
    told = [complaint.removeprefix(f"{policy}: ") for complaint in done.stderr.splitlines()]
    assert done.returncode == 1
    assert told[0] == f"{places[0]}: stands there twice: keep one of the two"
    assert [complaint.partition(": ")[0] for complaint in told] == places
