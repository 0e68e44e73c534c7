# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rivals against what was measured of the real ones, and against sums that can be done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Outcome, Setting
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import (
    Contender,
    by_rate_and_backlog,
    celery_autoscale,
    fixed,
    keda,
    rivals,
)
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

SETTING = Setting(floor=2, ceiling=20, slots=1, promise=30)
BURST = Workload("burst", ((10.0, 1.0),) * 600, 600)


def look(at: float, workers: int, **metrics: float) -> Observation:
    return Observation(
        at, workers, {"queue_depth": 0.0, "running": 0.0, "processed_total": 0.0, "runtime_total": 0.0, **metrics}
    )


def sizes(outcome: Outcome) -> list[float]:
    """The numbers of workers, each as often in a row as it came."""
    found: list[float] = []
    for sample in outcome.timeline:
        if not found or found[-1] != sample.workers:
            found.append(sample.workers)
    return found


def test_a_fixed_fleet_is_there_from_the_beginning() -> None:
    outcome = fixed(20, SETTING).play(BURST, 1)
    assert sizes(outcome) == [20]
    assert outcome.changes == 0
    assert outcome.wait(1) == 29


def test_keda_goes_the_way_that_was_measured() -> None:
    # The real one on such a burst: 2, 6, 11 in 20 s, then down when the default window of 300 s is over.
    outcome = keda(50, replace(SETTING, start_seconds=2)).play(BURST, 1)
    assert sizes(outcome)[:3] == [2, 6, 11]
    at_eleven = [sample.at for sample in outcome.timeline if sample.workers == 11]
    assert at_eleven[-1] - at_eleven[0] >= 285
    assert sizes(outcome)[-1] == 2
    assert 50 <= outcome.wait(1) <= 70


@pytest.mark.parametrize(("queue", "pods"), [(500, 10), (549, 10), (551, 12), (451, 10)])
def test_keda_leaves_the_pods_within_the_tolerance(queue: float, pods: int) -> None:
    assert keda(50, SETTING).controller()(look(0, 10, queue_depth=queue)) == pods


def test_keda_shrinks_to_the_most_of_the_window() -> None:
    control = keda(50, SETTING).controller()
    wanted = [control(look(at, 10, queue_depth=100 if at else 500)) for at in range(0, 331, 15)]
    assert wanted[19] == 10
    assert wanted[-1] == 2


@pytest.mark.parametrize("newest", [True, False])
def test_celery_grows_at_once_and_shrinks_after_its_keepalive(newest: bool) -> None:
    outcome = celery_autoscale(20, 2, SETTING, newest).play(BURST, 1)
    assert sizes(outcome) == [2, 20, 2]
    assert outcome.wait(1) == 29
    # 20 until 30 s after the last growth, and 2 for the rest.
    assert 20 * 30 + 2 * 569 <= outcome.worker_seconds <= 20 * 33 + 2 * 570


def test_a_trickle_keeps_celery_from_shrinking_from_5_7_on() -> None:
    trickle = Workload("trickle", BURST.tasks + tuple((30.0 + 10 * n, 1.0) for n in range(57)), 600)

    def last(newest: bool) -> float:
        return sizes(celery_autoscale(20, 2, SETTING, newest).play(trickle, 1))[-1]

    assert (last(True), last(False)) == (20, 2)


def test_processes_of_one_worker_cost_a_share_of_it() -> None:
    four = celery_autoscale(20, 8, replace(SETTING, slots=4)).play(BURST, 1)
    one = celery_autoscale(20, 8, SETTING).play(BURST, 1)
    assert four.worker_seconds == one.worker_seconds / 4
    assert sizes(four)[:2] == [2, 5]


def test_rate_and_backlog_is_littles_law_and_the_backlog_within_the_promise() -> None:
    control = by_rate_and_backlog(SETTING).controller()
    control(look(0, 2))
    # 6 tasks a second of 1.5 s are 9 workers; 60 that wait are 3 more for 30 s.
    seen = look(60, 2, queue_depth=60, processed_total=300, runtime_total=450)
    assert control(seen) == 12
    control = by_rate_and_backlog(replace(SETTING, slots=4)).controller()
    control(look(0, 2))
    assert control(seen) == 3


def test_a_promise_of_nothing_is_to_be_kept_by_the_next_look() -> None:
    control = by_rate_and_backlog(replace(SETTING, promise=0)).controller()
    assert control(look(0, 2, queue_depth=40)) == 8


def test_rivals_are_named_in_a_row() -> None:
    found = rivals("fixed:2,celery:20,2, celery-5.6:10,3,keda:50,rate,default", SETTING)
    assert [rival.name for rival in found] == [
        "fixed 2",
        "celery 20,2",
        "celery 5.6 10,3",
        "keda 50",
        "rate + backlog",
        "default steps",
    ]
    assert rivals("", SETTING) == []


@pytest.mark.parametrize("bad", ["fixed", "fixed:x", "celery:2,20", "celery:20", "keda:0", "keda:-5", "hpa:50", "2"])
def test_what_is_no_rival_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="is no rival"):
        rivals(f"rate,{bad}" if bad[0].isalpha() else bad, SETTING)


def test_a_controller_remembers_nothing_of_another_run() -> None:
    for contender in rivals("fixed:3,celery:20,2,keda:5,rate,default", SETTING):
        assert _played(contender) == _played(contender)


def _played(contender: Contender) -> Outcome:
    return contender.play(BURST)
