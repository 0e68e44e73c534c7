# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From readings to an observation: totals go on, unknown is never zero, and every unknown has its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import OBSERVED
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory, observe

UP = {"any": [{"metric": "queue_depth", "above": 100}]}
GIB = float(2**30)


def worker(number: int = 1, phase: str = "consuming", **values: Any) -> WorkerReading:
    """A worker that tells everything; values of None are unknown."""
    told: dict[str, Any] = {
        "life": "100:1",
        "active": 1,
        "reserved": 0,
        "started": 10,
        "taken": {"celery": 10},
        "cpu_seconds": 5.0,
        "cores": 2.0,
        "memory": GIB,
        "memory_allowed": 2 * GIB,
        **values,
    }
    return WorkerReading(f"web-{number}@host", phase, **told)


def silent(number: int = 1, phase: str = "consuming", life: str = "100:1", why: str = "no status") -> WorkerReading:
    return WorkerReading(f"web-{number}@host", phase, life=life, why=why)


def host(at: float, *workers: WorkerReading, **values: Any) -> FleetReading:
    return FleetReading("host", at, workers, **{"cores": 8.0, "memory": 16 * GIB, **values})


def queues(at: float, waiting: int = 0, unacknowledged: int | None = 0) -> QueuesReading:
    return QueuesReading(at, {"celery": waiting}, unacknowledged)


class Watch:
    """Looks again and again."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.at = 0.0

    def look(self, *workers: WorkerReading, waiting: int = 0, after: float = 5.0, **more: Any) -> Observation:
        self.at += after
        hosts = more.pop("hosts", None) or [host(self.at, *workers)]
        seen = more.pop("queues", None) or queues(self.at, waiting)
        observation, self.memory = observe(self.memory, self.at, hosts, seen, **more)
        uncounted = {"workers"} if observation.workers is None else set()
        assert set(observation.metrics) | set(observation.unknown) == {*OBSERVED, *uncounted}
        assert not set(observation.metrics) & set(observation.unknown)
        assert all(observation.unknown.values()), "a reason for each"
        assert from_json(Memory, json.loads(json.dumps(to_json(self.memory))), "memory") == self.memory
        return observation


def test_workers_by_phase() -> None:
    seen = Watch().look(worker(1), silent(2, "starting"), worker(3, "draining"), silent(4, "down"))
    assert (seen.workers, seen.starting, seen.draining) == (2, 1, 1)
    assert list(seen.down) == ["web-4@host"]
    assert seen.value("running") == 2, "what drains still runs its task"


def test_a_worker_that_is_down_does_not_count_unless_systemd_tries_it_again() -> None:
    failed = WorkerReading("web-2@host", "down", state="failed, exit-code")
    retried = WorkerReading("web-3@host", "down", retried=True, state="auto-restart, exit-code")
    seen = Watch().look(worker(1), failed, retried)
    assert (seen.workers, seen.starting, seen.down) == (2, 1, {"web-2@host": "failed, exit-code"})


@pytest.mark.parametrize("metric", ["queue_depth", "backlog", "wait_time", "cpu", "memory"])
def test_while_a_worker_hangs_every_metric_may_be_higher_and_is_no_lower(metric: str) -> None:
    watch = Watch()
    hung = worker(2, active=None, reserved=None, started=None, silent=True, why="its status file is 9 s old")
    for _look in range(2):
        seen = watch.look(worker(1), hung, waiting=3)
    assert seen.at_most(metric) is None
    if seen.value(metric) is not None:
        assert seen.at_least(metric) is not None
        assert "web-2@host: its status file is 9 s old" in seen.bounds[metric].why


@pytest.mark.parametrize("metric", ["queue_depth", "cpu", "memory"])
def test_a_fleet_does_not_shrink_while_a_worker_hangs_whatever_its_policy_names(metric: str) -> None:
    policy = parse_policy(
        {"limits": {"min_workers": 1}, "scale_down": {"all": [{"metric": metric, "below": 99}]}, "scale_up": UP}
    )
    for hangs in (True, False):
        unknown = {"active": None, "reserved": None, "started": None, "why": "it hangs"} if hangs else {}
        watch = Watch()
        for _look in range(2):
            seen = watch.look(*(worker(number, silent=hangs, **unknown) for number in (1, 2, 3)))
        assert (decide(policy, State(), seen)[0].action is Action.DOWN) is not hangs


def test_a_fleet_grows_while_a_worker_hangs() -> None:
    policy = parse_policy({"scale_up": UP})
    hung = worker(2, active=None, reserved=None, started=None, silent=True)
    assert decide(policy, State(), Watch().look(worker(1), hung, waiting=500))[0].action is Action.UP


def test_a_worker_without_a_status_file_hangs_when_nobody_hears_of_it() -> None:
    quiet = silent(2)
    assert Watch().look(worker(1), quiet, heartbeats={"web-2@host": (0, 5)}).at_most("queue_depth") == 0
    assert Watch().look(worker(1), quiet, heartbeats={}).at_most("queue_depth") is None
    assert Watch().look(worker(1), quiet).at_most("queue_depth") == 0, "a scheduled cycle hears of none"


def test_a_worker_that_starts_or_is_down_makes_nothing_unknown() -> None:
    seen = Watch().look(worker(1), silent(2, "starting"), silent(3, "down"))
    assert seen.value("processed_total") == 9
    assert seen.value("running") == 1


def test_a_silent_worker_makes_its_tasks_unknown_and_is_named() -> None:
    seen = Watch().look(worker(1), silent(2, why="its status file is 9 s old"))
    for metric in ("processed_total", "running", "runtime_total", "cpu", "memory"):
        assert seen.value(metric) is None
        assert "web-2@host: its status file is 9 s old" in seen.why_unknown(metric)
    assert seen.workers == 2
    assert seen.value("queue_depth") == 0


def test_finished_tasks_go_on_over_restarts_and_losses() -> None:
    watch = Watch()
    assert watch.look(worker(started=10, active=1)).value("processed_total") == 9
    assert watch.look(worker(started=15, active=1)).value("processed_total") == 14
    assert watch.look(worker(started=3, active=1, life="200:2")).value("processed_total") == 16
    assert watch.look(silent(life="200:2")).value("processed_total") is None
    assert watch.look(worker(started=7, active=0, life="200:2")).value("processed_total") == 21
    assert watch.look().value("processed_total") == 21
    assert watch.look(worker(2, started=4, active=0, life="300:1", since=3.0)).value("processed_total") == 25


def test_a_worker_that_began_anew_in_its_process_is_active() -> None:
    watch = Watch()
    before = watch.look(worker(started=1001, active=1)).metrics["processed_total"]
    assert watch.look(worker(started=21, active=1)).metrics["processed_total"] == before + 20
    assert watch.look(worker(started=41, active=1)).metrics["processed_total"] == before + 40


def test_a_lower_bound_of_the_wait_is_told_as_one() -> None:
    watch = Watch()
    for _look in range(9):
        seen = watch.look(worker(), waiting=50)
    assert seen.metrics["wait_time"] == 40
    assert set(seen.bounds) == {"wait_time"}
    assert (seen.at_least("wait_time"), seen.at_most("wait_time")) == (40, None)
    assert "40 s ago" in seen.bounds["wait_time"].why


@pytest.mark.parametrize("readable", [True, False])
def test_the_wait_is_bounded_where_two_looks_are_far_apart(readable: bool) -> None:
    watch = Watch()
    watch.look(worker(taken={"celery": 0}, started=0))
    for _look in range(0 if readable else 11):
        seen = watch.look(
            worker(taken={"celery": 0}, started=0), queues=QueuesReading(watch.at + 5, None, None, "connection refused")
        )
        assert seen.why_unknown("wait_time") == "connection refused"
        assert not seen.bounds
    seen = watch.look(worker(taken={"celery": 20}, started=20), waiting=3, after=60.0 if readable else 5.0)
    assert seen.value("wait_time") == 60
    assert (seen.at_least("wait_time"), seen.at_most("wait_time")) == (0, 60)
    assert seen.bounds["wait_time"].why == "celery: the two looks between which it arrived are 60 s apart"
    # They have waited on, and one that came since is not older than this.
    seen = watch.look(worker(taken={"celery": 20}, started=20), waiting=4)
    assert (seen.at_least("wait_time"), seen.at_most("wait_time")) == (5, 65)
    seen = watch.look(worker(taken={"celery": 23}, started=23), waiting=1)
    assert not seen.bounds
    assert seen.value("wait_time") == pytest.approx(7.5, abs=2.5)


def test_counts_from_before_the_last_look_of_a_worker_seen_late_are_not_of_now() -> None:
    watch = Watch()
    watch.look(worker(1))
    late = worker(2, started=5000, active=0, taken={"celery": 5000}, since=3600.0)
    assert watch.look(worker(1), late).value("processed_total") == 9
    assert watch.look(worker(1), replace(late, started=5002)).value("processed_total") == 11


def test_a_draining_worker_whose_status_is_gone_keeps_what_it_told() -> None:
    watch = Watch()
    watch.look(worker(1), worker(2))
    seen = watch.look(worker(1), silent(2, "draining"))
    assert seen.value("processed_total") == 18
    assert seen.value("running") == 1


def test_an_unreadable_host_leaves_the_fleet_uncounted() -> None:
    watch = Watch()
    watch.look(worker(1))
    lost = FleetReading("other", 10.0, None, "systemctl did not answer")
    seen = watch.look(hosts=[host(10.0, worker(1)), lost])
    assert seen.workers is None
    for metric in ("workers", "processed_total", "running", "runtime_total", "cpu", "memory"):
        assert "other: systemctl did not answer" in seen.why_unknown(metric)
    assert seen.value("queue_depth") == 0


def test_two_hosts_are_one_fleet() -> None:
    watch = Watch()
    other = replace(host(5.0, replace(worker(1), name="web-1@other")), host="other")
    seen = watch.look(hosts=[host(5.0, worker(1)), other])
    assert seen.workers == 2
    assert seen.value("processed_total") == 18


def test_an_unreadable_broker() -> None:
    seen = Watch().look(worker(1), queues=QueuesReading(5.0, None, None, "connection refused"))
    for metric in ("queue_depth", "backlog", "wait_time"):
        assert seen.why_unknown(metric) == "connection refused"
    assert seen.value("running") == 1


@pytest.mark.parametrize("unacknowledged", [None, 0, 3, 203])
def test_backlog_is_what_waits_and_what_workers_hold_whatever_the_broker_calls_unacknowledged(
    unacknowledged: int | None,
) -> None:
    seen = Watch().look(
        worker(1, active=2, reserved=4, scheduled=200),
        worker(2, "draining", active=1, reserved=0, scheduled=0),
        silent(3, "starting"),
        silent(4, "down"),
        queues=queues(5.0, 7, unacknowledged),
    )
    assert seen.value("backlog") == 7 + 2 + 4 + 1
    assert seen.value("scheduled") == 200
    assert not seen.bounds


def test_backlog_of_workers_that_do_not_tell_what_they_hold() -> None:
    beats = {"web-1@host": (2, 12)}
    # RabbitMQ does not tell what it has handed out.
    seen = Watch().look(silent(1), queues=queues(5.0, 7, None), heartbeats=beats)
    assert "web-1@host" in seen.why_unknown("backlog")
    # Redis does: what runs may be among it or not.
    seen = Watch().look(silent(1), queues=queues(5.0, 7, 5), heartbeats=beats)
    assert (seen.at_least("backlog"), seen.at_most("backlog"), seen.value("backlog")) == (9, 14, 14)
    assert "web-1@host: no status" in seen.bounds["backlog"].why
    assert "web-1@host: no status" in seen.why_unknown("scheduled")
    assert Watch().look(silent(1), queues=queues(5.0, 7, 5)).why_unknown("backlog") == "web-1@host: no status"
    # One that drains, and whose status file is gone, holds nothing that it has not begun.
    watch = Watch()
    watch.look(worker(1), worker(2, scheduled=0))
    assert watch.look(worker(1), silent(2, "draining"), waiting=7).value("backlog") == 8


def test_nobody_holds_nothing() -> None:
    seen = Watch().look(queues=queues(5.0, 7, 9))
    assert (seen.value("backlog"), seen.value("scheduled")) == (7, 0)


def test_run_time_is_what_was_seen_to_run_or_what_was_heard() -> None:
    watch = Watch()
    assert watch.look(worker(active=2)).value("runtime_total") == 0
    assert watch.look(worker(active=4)).value("runtime_total") == 15
    assert watch.look(silent()).value("runtime_total") is None
    assert watch.look(worker(active=4)).value("runtime_total") == 55
    assert watch.look(silent(), runtime=812.5).value("runtime_total") == 812.5


def test_cpu_is_used_over_allowed_between_two_looks() -> None:
    watch = Watch()
    assert "two looks" in watch.look(worker(1, cpu_seconds=5.0)).why_unknown("cpu")
    assert watch.look(worker(1, cpu_seconds=10.0)).value("cpu") == pytest.approx(50)
    # A worker that has just come is left out; one with another life has begun anew.
    seen = watch.look(worker(1, cpu_seconds=12.5), worker(2, cpu_seconds=4.0))
    assert seen.value("cpu") == pytest.approx(25)
    seen = watch.look(worker(1, cpu_seconds=1.0, life="200:2"), worker(2, cpu_seconds=14.0))
    assert seen.value("cpu") == pytest.approx(100)


def test_a_rate_that_the_platform_measured_needs_one_look() -> None:
    seen = Watch().look(worker(1, cpu_seconds=None, cpu_rate=0.5), worker(2, cpu_seconds=None, cpu_rate=2.5))
    assert seen.value("cpu") == pytest.approx(100 * 3 / 4)
    new = worker(3, cpu_seconds=None, why="the metrics API has not measured it yet")
    seen = Watch().look(worker(1, cpu_seconds=None, cpu_rate=0.5), new)
    assert seen.why_unknown("cpu") == "web-3@host: the metrics API has not measured it yet"


def test_there_are_as_many_workers_as_the_platform_is_to_have() -> None:
    """One more while a worker is replaced is none more to decide on, and one that is to come is on its way."""
    surge = host(5.0, worker(1), worker(2), worker(3, "starting"), wanted_workers=2)
    seen = Watch().look(hosts=[surge])
    assert (surge.wanted, seen.workers, seen.starting) == (2, 2, 1)
    short = host(5.0, worker(1), worker(2, "draining"), wanted_workers=4)
    seen = Watch().look(hosts=[short])
    assert (short.wanted, seen.workers, seen.starting, seen.draining) == (4, 4, 3, 1)
    unread = FleetReading("cluster", 5.0, None, "no answer", wanted_workers=4)
    assert (unread.wanted, Watch().look(hosts=[unread]).workers) == (None, None)


def test_workers_are_not_allowed_more_cores_than_their_host_has() -> None:
    watch = Watch()
    for used in (0.0, 5.0):
        workers = [worker(number, cpu_seconds=used, cores=4.0) for number in range(4)]
        seen = watch.look(hosts=[host(watch.at + 5, *workers)])
    assert seen.value("cpu") == pytest.approx(100 * 4 / 8)


def test_memory_is_over_the_limits_or_the_hosts() -> None:
    assert Watch().look(worker(1), worker(2)).value("memory") == pytest.approx(50)
    unlimited = worker(1, memory_allowed=None)
    assert Watch().look(unlimited, worker(2)).value("memory") == pytest.approx(100 * 2 / 16)
    seen = Watch().look(hosts=[host(5.0, unlimited, memory=None)])
    assert seen.value("memory") is None


def test_concurrency_is_what_workers_tell() -> None:
    watch = Watch()
    assert watch.look(worker(1, concurrency=2), worker(2, concurrency=4)).value("concurrency") == 3
    assert watch.look(worker(1, concurrency=2), silent(2), silent(3, "starting")).value("concurrency") == 2
    assert "no worker tells" in watch.look(worker(1)).why_unknown("concurrency")
    assert watch.look(silent(1, "starting")).why_unknown("concurrency") == "no worker consumes"


def test_nobody_uses_nothing() -> None:
    seen = Watch().look(silent(1, "starting"))
    assert seen.why_unknown("cpu") == "no worker consumes"
    assert seen.why_unknown("memory") == "no worker consumes"


def test_the_wait_is_of_the_queue_that_waits_longest() -> None:
    watch = Watch()

    def look(taken: dict[str, int], waiting: dict[str, int]) -> Observation:
        seen = QueuesReading(watch.at + 5, waiting, 0)
        return watch.look(worker(taken=taken, started=sum(taken.values())), queues=seen)

    assert look({"a": 0, "b": 0}, {"a": 0, "b": 0}).value("wait_time") == 0
    assert look({"a": 0, "b": 0}, {"a": 10, "b": 1}).value("wait_time") == pytest.approx(4.75, abs=0.75)
    # b is worked off, a is not.
    assert look({"a": 0, "b": 50}, {"a": 10, "b": 2}).value("wait_time") == pytest.approx(9.75, abs=0.75)
    assert look({"a": 10, "b": 52}, {"a": 0, "b": 0}).value("wait_time") == 0


def test_workers_without_counts_by_queue() -> None:
    watch = Watch()
    for started, waiting in ((0, 0), (0, 100), (50, 50)):
        seen = watch.look(worker(taken=None, started=started, reserved=0), waiting=waiting)
    assert seen.value("wait_time") == pytest.approx(10 - 5 * 50.5 / 100, abs=0.1)


def test_heartbeats_stand_in_for_status_files() -> None:
    watch = Watch()
    beats = {"web-1@host": (2, 12)}
    seen = watch.look(silent(1), heartbeats=beats)
    assert seen.value("running") == 2
    assert seen.value("processed_total") == 10
    assert watch.look(silent(1), heartbeats={}).value("running") is None
    assert watch.look(worker(1), heartbeats=beats).value("running") == 1, "a status file is better"


def test_a_stuck_queue_does_not_stay_unknown_for_ever() -> None:
    watch = Watch()
    known = []
    for _turn in range(10):
        seen = watch.look(worker(1), waiting=40)
        known.append(seen.value("wait_time"))
    assert known[0] is None
    assert "first look" in watch_why(Watch())
    assert known[-1] == 45, "at least the time for which it was looked at"


def watch_why(watch: Watch) -> str:
    return watch.look(worker(1), waiting=40).why_unknown("wait_time")


def test_a_queue_whose_workers_are_frozen_does_not_stay_unknown_for_ever() -> None:
    watch = Watch()
    watch.look(worker(1), waiting=0)
    watch.look(worker(1), waiting=40)
    assert "no status" in watch.look(silent(1), waiting=40).why_unknown("wait_time")
    for _turn in range(10):
        seen = watch.look(silent(1), waiting=40)
    assert (seen.value("wait_time") or 0) >= 50
    assert seen.value("running") is None


def test_a_clock_that_is_set_changes_no_age_and_no_rate() -> None:
    plain, moved = Watch(), Watch()
    for watch in (plain, moved):
        watch.look(worker(1), waiting=0)
        watch.look(worker(1, cpu_seconds=10.0), waiting=8)
    moved.memory = moved.memory.shifted(3600)
    moved.at += 3600
    one, two = (watch.look(worker(1, cpu_seconds=12.0), waiting=8) for watch in (plain, moved))
    assert two.metrics == pytest.approx(one.metrics)


@pytest.mark.parametrize(
    "raw",
    [None, [], 3, {"totals": 3}, {"waiting": {"taken": {"a": {"points": [[1]]}}}}, {"runtime": "much"}],
)
def test_a_foreign_memory_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="memory"):
        from_json(Memory, raw, "memory")


ANY_WORKER = st.builds(
    worker,
    st.integers(1, 4),
    st.sampled_from(["starting", "consuming", "draining", "down"]),
    life=st.sampled_from(["100:1", "200:2"]),
    active=st.none() | st.integers(0, 4),
    reserved=st.none() | st.integers(0, 4),
    scheduled=st.none() | st.integers(0, 4),
    started=st.none() | st.integers(0, 100),
    taken=st.none() | st.dictionaries(st.sampled_from(["celery", "high"]), st.integers(0, 100)),
    cpu_seconds=st.none() | st.floats(0, 1000),
    cores=st.none() | st.floats(0.1, 8),
    memory=st.none() | st.floats(0, GIB),
    since=st.none() | st.floats(0, 100),
)
ANY_LOOK = st.tuples(
    st.floats(0, 60),
    st.none() | st.lists(ANY_WORKER, max_size=4, unique_by=lambda one: one.name),
    st.none() | st.integers(0, 50),
    st.none() | st.integers(0, 50),
)


@given(st.lists(ANY_LOOK, max_size=12))
def test_whatever_is_read_totals_never_fall_and_unknown_is_never_a_number(looks: list[Any]) -> None:
    watch = Watch()
    before: dict[str, float] = {}
    for after, workers, waiting, unacknowledged in looks:
        at = watch.at + after
        reading = FleetReading("host", at, None if workers is None else tuple(workers), cores=8.0, memory=GIB)
        queue = QueuesReading(at, None if waiting is None else {"celery": waiting}, unacknowledged)
        seen = watch.look(hosts=[reading], queues=queue, after=after)
        assert (seen.workers is None) == (workers is None)
        assert all(value >= 0 for value in seen.metrics.values())
        for total in ("processed_total", "runtime_total"):
            value = seen.value(total)
            assert value is None or value >= before.get(total, 0)
            before[total] = before.get(total, 0) if value is None else value
        if any(one.phase == "consuming" and None in (one.active, one.started) for one in workers or []):
            assert seen.value("processed_total") is None
        if waiting == 0:
            assert seen.value("wait_time") == 0


def test_a_worker_that_crashes_counts_and_hides_no_number() -> None:
    watch = Watch()
    watch.look(worker(1), worker(2))
    seen = watch.look(worker(1), silent(2, "ending", life="0:1", why="its status file is of another process"))
    assert (seen.workers, seen.starting, seen.draining) == (2, 1, 0)
    assert (seen.value("running"), seen.value("processed_total")) == (1, 18)
