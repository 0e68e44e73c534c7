# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exercises of docs/training.md, done as a reader does them: a quarter of an hour for real, on the demo's host.

A host that somebody kept of the demo is replaced, as by C(make demo).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from muejam_bed.exercises import Exercise, Step, exercises
from muejam_bed.shell import CHECKOUT, BedError, wait_until

pytestmark = pytest.mark.training

FIRST, *MIDDLE, LAST = exercises()
# The reader has nothing of what tests set.
NOT_THE_READERS = ("ANSIBLE_", "ARGS", "MAKE", "MFLAGS", "PYTHON")
# What make would look after is there: this test runs in it.
PRELUDE = 'make() { command make --old-file=venv --old-file=image "$@"; }\n'
A_COMMAND = 600.0
AGAIN = 240.0


@pytest.fixture(scope="module")
def shell() -> Iterator[str]:
    """What the reader has typed into the shell before an exercise, on a demo that was kept."""
    demo, *others = FIRST.steps
    try:
        printed = done(PRELUDE, demo)
        [address] = re.findall(r"^The page .*: (http://\S+)$", printed, re.M)
        with urlopen(address, timeout=10) as page:
            assert "demo" in page.read().decode()
        yield PRELUDE + "".join(step.commands for step in others)
    finally:
        if "MUEJAM_KEEP_HOSTS" not in os.environ:
            for step in LAST.steps:
                done(PRELUDE, step)


@pytest.mark.parametrize("exercise", MIDDLE, ids=lambda exercise: exercise.title)
def test_an_exercise_goes_as_it_is_written(exercise: Exercise, shell: str) -> None:
    for step in exercise.steps:
        done(shell, step)


def done(before: str, step: Step) -> str:
    """Run the commands of a step as they stand in the page, and return what they printed.

    Raises BedError with it where it is something else than the page says.
    """
    printed = ""

    def as_written() -> bool:
        nonlocal printed
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(NOT_THE_READERS)}
        ran = subprocess.run(
            ["bash", "-c", before + step.commands],
            cwd=CHECKOUT,
            env={**environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=A_COMMAND,
            check=False,
        )
        printed = ran.stdout
        return step.printed_by(printed) if step.prints is not None else ran.returncode == 0

    def difference() -> str:
        return f"{step.commands}\nprinted\n{printed}\nand not\n{step.prints}"

    if step.again:
        wait_until(as_written, AGAIN, difference, every=2)
    elif not as_written():
        raise BedError(difference())
    return printed
