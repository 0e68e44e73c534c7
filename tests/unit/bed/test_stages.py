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
from pathlib import Path

import pytest

from muejam_bed.shell import CHECKOUT, wait_until

MAKE = """#!/bin/sh
echo "words of $2"
case "$2" in
  bad) exit 3 ;;
  meets-*) # two that can only end when both run at once
    touch "$PLACE/$2"
    until [ -e "$PLACE/meets-a" ] && [ -e "$PLACE/meets-b" ]; do sleep 0.05; done ;;
  tells) # ends when its failure was told
    echo "FAILED test_one" >"$MUEJAM_FAILURES"
    until grep -q test_one "$PLACE/output"; do sleep 0.05; done; exit 1 ;;
  endless) touch "$PLACE/endless"; sleep 600 ;;
esac
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs the stages, with a make of the test's own."""
    make = tmp_path / "make"
    make.write_text(MAKE, encoding="utf-8")
    make.chmod(0o755)
    monkeypatch.setenv("MAKE", str(make))
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


def test_a_fault_in_a_lane_is_told_at_once_and_the_rest_goes_on(command: list[str]) -> None:
    code, lines = run(command, "--", "tells", "more", "--", "last")
    assert code == 1
    assert any("FAILED test_one" in line for line in lines)
    assert "words of more" in lines
    assert lines[-1] == "words of last"
    assert any("make tells" in line for line in lines)


def test_the_output_of_each_stage_is_kept(command: list[str], tmp_path: Path) -> None:
    run(command, "--", "good", "--", "last")
    assert (tmp_path / "logs" / "good.log").read_text(encoding="utf-8") == "words of good\n"


def test_what_a_stage_used_is_told(command: list[str]) -> None:
    _code, lines = run(command, "--", "good", "--", "last")
    (told,) = [line for line in lines if "good: passed" in line]
    assert re.search(r" \d+ s, \d+ s of a core$", told)


def test_a_run_that_is_stopped_stops_its_stages(command: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([*command, "--", "endless", "--", "last"], stdout=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "endless").exists, 120)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 1
