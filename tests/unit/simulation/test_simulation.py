# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator against sums that can be done by hand, and the claims that are made with it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, OBSERVED, RULE_METRICS
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import (
    PATIENCE,
    Setting,
    least_cost,
    simulate,
)
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import by_policy
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import KINDS, Workload

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmark" / "decision_quality.py"
TEN_AT_ONCE = Workload("ten", ((0.0, 10.0),) * 10, 100)


def workloads(seed: int) -> list[Workload]:
    return [kind.workload(seed) for kind in KINDS]


def test_a_fixed_fleet_does_all_tasks_in_their_order() -> None:
    outcome = simulate(TEN_AT_ONCE, lambda seen: 2, Setting(floor=2))
    assert outcome.waits == (0, 0, 10, 10, 20, 20, 30, 30, 40, 40)
    assert (outcome.worker_seconds, outcome.changes) == (200, 0)
    assert (outcome.wait(0.5), outcome.wait(0.95), outcome.wait(1)) == (20, 40, 40)


def test_a_worker_of_several_slots() -> None:
    assert simulate(TEN_AT_ONCE, lambda seen: 2, Setting(floor=2, slots=5)).waits == (0,) * 10


def test_new_workers_cost_from_the_order_and_work_from_the_end_of_their_start() -> None:
    outcome = simulate(TEN_AT_ONCE, lambda seen: 10, Setting(floor=2, start_seconds=7))
    assert outcome.waits == (0, 0, *(7,) * 8)
    assert outcome.worker_seconds == 1000


def test_a_stopped_worker_finishes_its_task() -> None:
    seen: list[Observation] = []

    def control(now: Observation) -> int:
        seen.append(now)
        return 1

    outcome = simulate(Workload("two", ((0.0, 20.0),) * 2, 40), control, Setting(floor=2))
    assert len(outcome.waits) == 2
    assert outcome.worker_seconds == 20 + 40
    assert [(o.workers, o.draining) for o in seen[:2]] == [(2, 0), (1, 1)]


def test_every_metric_that_is_observed_has_a_value() -> None:
    seen: list[Observation] = []

    def control(now: Observation) -> int:
        seen.append(now)
        return 2

    simulate(TEN_AT_ONCE, control, Setting(floor=2, poll_seconds=15))
    assert all(set(now.metrics) == set(OBSERVED) for now in seen)
    # At 15 s two of ten are done, two run, and six wait.
    assert (seen[1].value("queue_depth"), seen[1].value("backlog")) == (6, 8)


@pytest.mark.parametrize("metric", RULE_METRICS)
def test_a_policy_on_any_metric_is_decided_about(metric: str) -> None:
    threshold = 10 if METRICS[metric].in_percent else 1
    policy = parse_policy(
        {
            "limits": {"min_workers": 2, "cooldown_up": 0},
            "scale_up": {"any": [{"metric": metric, "above": threshold}], "add": {"workers": 1}},
            "scale_down": {"all": [{"metric": metric, "below": 0.5}]},
        }
    )
    load = Workload("twenty", tuple((0.1 * place, 2.0) for place in range(20)), 100)
    outcome = simulate(load, by_policy("p", policy, Setting()).controller())
    assert outcome.changes > 0


@pytest.mark.parametrize("workload", workloads(1), ids=lambda workload: workload.name)
def test_no_task_is_lost_whatever_the_fleet_does(workload: Workload) -> None:
    outcome = simulate(workload, lambda seen: 2 + int(seen.at / 5) % 15, Setting(start_seconds=12))
    assert len(outcome.waits) == len(workload.tasks)


def test_the_least_cost_is_the_floor_and_what_it_cannot_do_in_time() -> None:
    assert least_cost(TEN_AT_ONCE, Setting(promise=10, floor=2)) == 2 * 100 + 6 * 10
    assert least_cost(TEN_AT_ONCE, Setting(promise=100, floor=2)) == 2 * 100


def test_a_timeline_says_what_was_so_at_each_instant() -> None:
    outcome = simulate(TEN_AT_ONCE, lambda seen: 5, Setting(floor=5), sample_seconds=5)
    assert [(s.at, s.waiting, s.workers, s.oldest) for s in outcome.timeline[:4]] == [
        (0, 5, 5, 0),
        (5, 5, 5, 5),
        (10, 0, 5, 0),
        (15, 0, 5, 0),
    ]
    assert [sample.at for sample in outcome.timeline] == list(range(0, 100, 5))


def test_there_is_no_timeline_unless_one_is_asked_for() -> None:
    assert simulate(TEN_AT_ONCE, lambda seen: 5).timeline == ()


def test_a_fleet_without_workers_does_not_run_for_ever() -> None:
    outcome = simulate(TEN_AT_ONCE, lambda seen: 0, Setting(floor=0, poll_seconds=60))
    assert len(outcome.waits) == 10
    assert outcome.wait(1) == 100 + PATIENCE


def test_observations_are_of_the_calendar_where_the_workload_is() -> None:
    seen: list[float] = []

    def control(now: Observation) -> int:
        seen.append(now.at)
        return 2

    simulate(dataclasses.replace(TEN_AT_ONCE, begin=1_767_225_600.0), control, Setting(floor=2))
    assert seen[:2] == [1_767_225_600.0, 1_767_225_605.0]


def test_a_workload_is_the_same_at_every_run_and_another_with_another_seed() -> None:
    assert workloads(3) == workloads(3)
    assert [one.tasks for one in workloads(3)[1:]] != [one.tasks for one in workloads(4)[1:]]
    assert all(list(one.tasks) == sorted(one.tasks, key=lambda task: task[0]) for one in workloads(3))


def test_what_is_claimed_of_the_target_mode() -> None:
    command = [sys.executable, str(BENCHMARK), "--claims", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS") == 4
