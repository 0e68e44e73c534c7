# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exercises of docs/training.md, done as a reader does them: a quarter of an hour for real, on the demo's host.

A host that somebody kept of the demo is replaced, as by C(make demo).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from muejam_bed.exercises import AS_A_READER, Exercise, do, exercises

pytestmark = pytest.mark.training

FIRST, *MIDDLE, LAST = exercises()


@pytest.fixture(scope="module")
def shell() -> Iterator[str]:
    """What the reader has typed into the shell before an exercise, on a demo that was kept."""
    demo, *others = FIRST.steps
    try:
        printed = do(AS_A_READER, demo)
        [address] = re.findall(r"^The page .*: (http://\S+)$", printed, re.M)
        with urlopen(address, timeout=10) as page:
            assert "demo" in page.read().decode()
        yield AS_A_READER + "".join(step.commands for step in others)
    finally:
        if "MUEJAM_KEEP_HOSTS" not in os.environ:
            for step in LAST.steps:
                do(AS_A_READER, step)


@pytest.mark.parametrize("exercise", MIDDLE, ids=lambda exercise: exercise.title)
def test_an_exercise_goes_as_it_is_written(exercise: Exercise, shell: str) -> None:
    for step in exercise.steps:
        do(shell, step)
