# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run of all stages: what is told, when, and how it ends. In place of make stands a small script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import stages

from muejam_bed.shell import CHECKOUT, wait_until

MAKE = """#!/bin/sh
echo "words of $2"
case "$2" in
  bad) exit 3 ;;
  bad-later) until [ -e "$PLACE/endless" ]; do sleep 0.05; done; exit 3 ;;
  meets-*) # two that can only end when both run at once
    touch "$PLACE/$2"
    until [ -e "$PLACE/meets-a" ] && [ -e "$PLACE/meets-b" ]; do sleep 0.05; done ;;
  speaks) for number in $(seq 30); do echo "line $number"; done; exit 3 ;;
  tells) # ends when its failure was told
    printf '%s\n' "FAILED test_one" "def test_one():" "E   assert 1 == 2" "E   a" "E   b" "E   c" >"$MUEJAM_FAILURES"
    printf '%s\n' "FAILED test_two" "E   no" >>"$MUEJAM_FAILURES"
    printf '%s\n' "FAILED test_play" "E   PLAY" "E   ok: [h]" "E   fatal: [h]: no" "E   RECAP" >>"$MUEJAM_FAILURES"
    until grep -q test_one "$PLACE/output"; do sleep 0.05; done; exit 1 ;;
  turns-*) # the first two meet, and write when they end
    touch "$PLACE/$2"
    until [ -e "$PLACE/turns-a" ] && [ -e "$PLACE/turns-b" ]; do sleep 0.05; done
    if [ "$2" = turns-c ]; then cat "$PLACE/ended"; else echo "ended: $2" >>"$PLACE/ended"; fi ;;
  yields) nice; chrt --pid $$ ;;
  host) echo "$MUEJAM_RUN" >"$PLACE/host" ;;
  endless) echo "$MUEJAM_RUN" >"$PLACE/host"; touch "$PLACE/endless"; sleep 600 ;;
  deaf) trap '' INT; touch "$PLACE/deaf"; sleep 600 ;;
esac
"""
# An engine with the host that a stage above has started, if one has.
DOCKER = """#!/bin/sh
case "$*" in
  *".run=$(cat "$PLACE/host" 2>/dev/null) "*) echo left-over ;;
  inspect*) [ -e "$PLACE/host" ] ;;
  rm*) rm "$PLACE/host" ;;
esac
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs the stages, with a make of the test's own."""
    for name, text in (("make", MAKE), ("docker", DOCKER)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MAKE", str(tmp_path / "make"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MUEJAM_KEEP_HOSTS", raising=False)
    monkeypatch.delenv("LANES", raising=False)
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("MUEJAM_RUN_LOGS", str(tmp_path / "logs"))
    return [sys.executable, str(CHECKOUT / "tests/bed/stages.py")]


def run(command: list[str], *stages: str) -> tuple[int, list[str]]:
    """Run the stages; their output also lies in a file that they can read."""
    path = Path(os.environ["PLACE"], "output")
    with path.open("wb") as output:
        done = subprocess.run([*command, *stages], stdout=output, stderr=output, timeout=60, check=False)
    return done.returncode, path.read_text(encoding="utf-8").splitlines()


def test_lanes_run_side_by_side_and_the_last_words_are_those_of_the_last_stage(command: list[str]) -> None:
    code, lines = run(command, "first", "--", "meets-a", "more", "--", "meets-b")
    assert code == 0
    assert lines[-1] == "words of meets-b"
    assert [line for line in lines if line.startswith("words")].count("words of meets-b") == 1
    assert {"words of first", "words of meets-a", "words of more"} < set(lines)


def test_a_fault_at_the_beginning_ends_the_run(command: list[str]) -> None:
    code, lines = run(command, "bad", "--", "other")
    assert code == 1
    assert "words of bad" in lines
    assert "words of other" not in lines
    assert lines[-1] == "    words of bad", "it is told again, at the end"


def test_a_fault_in_a_lane_is_told_at_once_and_the_rest_goes_on(command: list[str]) -> None:
    code, lines = run(command, "--", "tells", "more", "--", "last")
    assert code == 1
    assert any("FAILED test_one" in line for line in lines)
    assert "words of more" in lines
    assert lines[-1] == "words of last"
    assert any("make tells" in line for line in lines)


def test_why_stages_failed_stands_just_before_the_last_words(command: list[str]) -> None:
    code, lines = run(command, "--", "tells", "speaks", "--", "last")
    assert code == 1
    assert lines[-1] == "words of last"
    told = "\n".join(lines[-22:])
    assert "tells FAILED" in told
    assert "    FAILED test_one\n    E   assert 1 == 2\n    E   a\n    FAILED test_two\n    E   no\n" in told
    assert "    FAILED test_play\n    E   fatal: [h]: no\n" in told
    assert "RECAP" not in told
    assert "def test_one" not in told
    assert "speaks FAILED" in told
    assert "    line 30\nwords of last" in told
    assert "    line 1\n" not in told


def test_the_output_of_each_stage_is_kept(command: list[str], tmp_path: Path) -> None:
    run(command, "--", "good", "--", "last")
    assert (tmp_path / "logs" / "good.log").read_text(encoding="utf-8") == "words of good\n"


def test_what_a_stage_used_is_told(command: list[str]) -> None:
    _code, lines = run(command, "--", "good", "--", "last")
    (told,) = [line for line in lines if "good: passed" in line]
    assert re.search(r" \d+ s, \d+ s of a core$", told)


def test_a_third_lane_begins_when_one_of_two_has_ended(command: list[str]) -> None:
    code, lines = run(command, "--", "turns-a", "--", "turns-b", "--", "turns-c")
    assert code == 0
    assert any(line.startswith("ended: turns-") for line in lines)


def test_what_runs_beside_begins_at_once_and_yields(command: list[str]) -> None:
    code, lines = run(command, "--beside", "meets-a", "meets-b", "--", "last")
    assert code == 0
    assert {"words of meets-a", "words of meets-b"} < set(lines)
    assert lines[-1] == "words of last"
    code, lines = run(command, "--beside", "yields", "first", "--", "last")
    assert code == 0
    assert lines[lines.index("words of yields") + 1] == "19"
    assert any("SCHED_IDLE" in line for line in lines)


def test_a_fault_at_the_beginning_stops_what_runs_beside(command: list[str]) -> None:
    code, lines = run(command, "--beside", "endless", "bad-later", "--", "last")
    assert code == 1
    assert any("endless: was stopped" in line for line in lines)
    assert any("bad-later: FAILED" in line for line in lines)
    assert lines[-1] != "==> stopped"


def test_what_is_left_of_a_run_is_removed(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for others in ((), ("bad",)):
        _code, lines = run(command, "--", "host", *others, "--", "last")
        assert "==> removing left-over" in lines
        assert lines[-1] == "words of last"
        assert not (tmp_path / "host").exists()
    monkeypatch.setenv("MUEJAM_KEEP_HOSTS", "1")
    run(command, "--", "host", "--", "last")
    assert (tmp_path / "host").exists()


def test_what_another_run_started_is_left_alone(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "host").write_text("another-run", encoding="utf-8")
    run(command, "--", "good", "--", "last")
    assert (tmp_path / "host").exists()


def test_a_run_that_is_stopped_stops_its_stages_and_removes_their_hosts(command: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([*command, "--", "endless", "--", "last"], stdout=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "endless").exists, 120)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "endless: was stopped" in output
    assert not (tmp_path / "host").exists()


@pytest.mark.usefixtures("command")
def test_a_stage_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(stages, "LOGS", tmp_path)
    stopping, deaf = threading.Event(), stages.Stage("deaf")
    threading.Thread(target=lambda: wait_until((tmp_path / "deaf").exists, 60) and stopping.set()).start()
    assert deaf.run(stopping) is False
    assert deaf.outcome == "was stopped"
