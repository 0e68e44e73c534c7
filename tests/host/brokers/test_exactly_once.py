# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing lost and nothing twice, while the fleet grows and shrinks under load.

MUEJAM_EXACTLY_ONCE_RUNS says how many times in a row each broker goes through it, with thousands of tasks
(make soak). Without it once, with a few hundred.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from muejam_bed.shell import wait_until

if TYPE_CHECKING:
    from conftest import Brokered
    from load import Load

RUNS = int(os.environ.get("MUEJAM_EXACTLY_ONCE_RUNS", "0"))
TASKS = 2000 if RUNS else 400
CYCLES = 5 if RUNS else 2
SMALL, LARGE = 2, 8
LEFT_BEFORE_A_STEP = 100

pytestmark = pytest.mark.exactly_once


def scale_out_and_in(load: Load) -> None:
    """Scale the fleet to and fro. A share of the tasks is sent before each step, so that each is under load."""
    steps = [LARGE, SMALL] * CYCLES
    for workers in steps:
        load.send(TASKS // len(steps), 0.05, 2)
        load.scale(workers)
        wait_until(lambda: load.left() <= LEFT_BEFORE_A_STEP, 300, load.evidence)


@pytest.mark.parametrize("run", range(RUNS or 1))
def test_every_task_runs_exactly_once(brokered: Brokered, run: int) -> None:
    loads = [brokered.load(fleet) for fleet in ("early", "late")]
    with ThreadPoolExecutor(len(loads)) as both:
        list(both.map(scale_out_and_in, loads))
    for load in loads:
        wait_until(lambda load=load: load.left() <= 0, 300, load.evidence)
        # What still runs or is yet to be redelivered shows up, at the latest, when the workers go.
        load.scale(0)
        runs = Counter(run["id"] for run in load.runs())
        lost, twice = set(load.sent) - set(runs), {task: times for task, times in runs.items() if times > 1}
        assert (len(load.sent), lost, twice, set(runs) - set(load.sent)) == (TASKS, set(), {}, set()), load.fleet
        assert brokered.waiting(load.fleet) == 0
        load.scale(SMALL)
