# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of tests that run at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from muejam_bed import ports

BED = Path(ports.__file__).parents[1]
ASK = "import sys, random; random.seed(int(sys.argv[1])); from muejam_bed.ports import free_port; print(free_port())"


def test_two_processes_are_not_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process draws the same numbers while this one holds the first of them."""
    seed = str(os.getpid())
    own_draw = ports.random.Random(int(seed))
    monkeypatch.setattr(ports.random, "randrange", own_draw.randrange)
    first = ports.free_port()
    done = subprocess.run(
        [sys.executable, "-c", ASK, seed],
        env={**os.environ, "PYTHONPATH": str(BED)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) != first


def test_a_port_is_free_again_when_its_process_ended() -> None:
    """Nothing is left behind that would have to be cleaned up."""
    seed = str(os.getpid() + 1_000_000)
    environment = {**os.environ, "PYTHONPATH": str(BED)}
    runs = [
        subprocess.run([sys.executable, "-c", ASK, seed], env=environment, capture_output=True, text=True, check=True)
        for _run in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
