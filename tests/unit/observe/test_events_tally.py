# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What events add up to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.tally import Tally
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import (
    BUCKETS,
    OTHER,
    FleetEvents,
    TaskCounts,
)

NODE = "web-1@host"
HARD = """Traceback (most recent call last):
  File "pool.py", line 684, in on_hard_timeout
    raise TimeLimitExceeded(job._timeout)
billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)
"""


def event(kind: str, task: str = "t1", node: str = NODE, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "hostname": node, "uuid": task, "timestamp": 100.0, "pid": 7, **fields}


def beat(processed: int, active: int = 0, node: str = NODE, **fields: Any) -> dict[str, Any]:
    return {
        "type": "worker-heartbeat", "hostname": node, "pid": 7, "freq": 2.0, "active": active, "processed": processed,
        **fields,
    }  # fmt: skip


def heard(*events: Any, queues: tuple[str, ...] = ("celery",), at: float = 0.0, **options: Any) -> FleetEvents:
    tally = Tally({"web": queues}, **options)
    for one in events:
        tally.take(one, at)
    assert not tally.garbage
    return tally.fleets(at)["web"]


def only(found: FleetEvents) -> TaskCounts:
    (counts,) = found.tasks
    return counts


def run(task: str, name: str = "add", end: str = "task-succeeded", **fields: Any) -> list[dict[str, Any]]:
    return [
        event("task-received", task, name=name),
        event("task-started", task),
        event(end, task, timestamp=102.5, **fields),
    ]


def test_a_task_is_counted_under_its_name_and_the_fleets_only_queue():
    found = heard(run("t1", runtime=0.3))
    counts = only(found)
    assert (counts.task, counts.queue) == ("add", "celery")
    assert (counts.received, counts.started, counts.succeeded, counts.failed) == (1, 1, 1, 0)
    assert counts.duration_sum == 0.3
    assert counts.durations[BUCKETS.index(0.5)] == sum(counts.durations) == 1
    assert (found.runtime_total, found.runs_timed, found.finished) == (0.3, 1, 1)
    assert found.workers[NODE].finished == 1


def test_events_come_alone_and_in_lists():
    one_by_one = heard(*run("t1", runtime=0.3), *run("t2", runtime=0.3))
    assert one_by_one == heard([*run("t1", runtime=0.3), *run("t2", runtime=0.3)])


@pytest.mark.parametrize(("runtime", "place"), [(0, 0), (0.01, 0), (0.011, 1), (3600, 16), (3600.1, 17)])
def test_a_bucket_has_all_up_to_its_bound(runtime, place):
    assert only(heard(run("t1", runtime=runtime))).durations[place] == 1


@pytest.mark.parametrize("runtime", [None, -1, float("nan"), float("inf"), 10**400, True, "3", [3]])
def test_a_run_time_that_is_none_is_taken_from_the_start(runtime):
    found = heard(run("t1", runtime=runtime))
    assert only(found).succeeded == 1
    assert not any(only(found).durations)
    assert (found.runtime_total, found.runs_timed) == (2.5, 1)


@pytest.mark.parametrize(
    ("kind", "fields", "counted"),
    [
        ("task-failed", {"exception": "ValueError('x')"}, {"failed": 1}),
        ("task-failed", {"exception": "SoftTimeLimitExceeded()"}, {"failed": 1, "timeouts": 1}),
        ("task-failed", {"exception": "TimeLimitExceeded(3,)"}, {"failed": 1, "timeouts": 1}),
        ("task-failed", {"exception": "billiard.exceptions.TimeLimitExceeded(3,)"}, {"failed": 1, "timeouts": 1}),
        ("task-failed", {"exception": "ValueError('TimeLimitExceeded(3)')"}, {"failed": 1}),
        ("task-failed", {"exception": "ExceptionWithTraceback()", "traceback": HARD}, {"failed": 1, "timeouts": 1}),
        ("task-failed", {"exception": "ExceptionWithTraceback()", "traceback": None}, {"failed": 1}),
        ("task-failed", {"exception": "ValueError()", "traceback": HARD}, {"failed": 1}),
        ("task-failed", {"exception": None}, {"failed": 1}),
        ("task-failed", {}, {"failed": 1}),
        ("task-retried", {"exception": "ValueError('x')"}, {"retried": 1}),
        ("task-revoked", {"terminated": True}, {"revoked": 1}),
        ("task-rejected", {"requeue": False}, {"rejected": 1}),
        ("task-cancelled", {}, {}),
    ],
)
def test_a_run_that_does_not_succeed_is_counted_and_timed(kind, fields, counted):
    found = heard(run("t1", end=kind, **fields))
    assert only(found) == TaskCounts("add", "celery", received=1, started=1, **counted)
    assert (found.runtime_total, found.runs_timed, found.finished) == (2.5, 1, 1)


def test_what_never_started_does_not_end():
    found = heard([event("task-received", name="add"), event("task-revoked")])
    assert only(found).revoked == 1
    assert (found.finished, found.runs_timed) == (0, 0)


def test_a_failed_task_that_is_rejected_afterwards_ends_once_and_keeps_its_name():
    found = heard(run("t1", end="task-failed"), event("task-rejected"))
    assert (only(found).failed, only(found).rejected, found.finished) == (1, 1, 1)


def test_a_failure_that_is_told_twice_is_one_and_a_second_run_another():
    failed = event("task-failed", timestamp=102.5)
    found = heard(run("t1", end="task-failed"), failed, event("task-started"), failed, failed)
    assert (only(found).failed, found.finished, found.runtime_total) == (2, 2, 5.0)


def test_a_task_that_no_worker_knows_fails_without_a_run_time():
    found = heard(event("task-failed", exception="NotRegistered('x')"))
    assert (only(found).failed, found.runs_timed) == (1, 0)


def test_a_retried_task_runs_again_under_the_same_id():
    found = heard(run("t1", end="task-retried"), run("t1", runtime=1.0))
    assert (only(found).retried, only(found).succeeded, found.finished) == (1, 1, 2)
    assert found.runtime_total == 3.5


def test_the_end_of_a_task_whose_begin_was_not_heard_counts_without_a_name():
    found = heard(event("task-succeeded", runtime=1.0))
    assert (only(found).task, only(found).queue, only(found).succeeded) == ("", "celery", 1)


def test_the_queue_is_the_events_own():
    assert only(heard(event("task-received", name="add", queue="mail"))).queue == "mail"


def test_the_queue_is_that_to_which_the_task_was_sent():
    sent = event("task-sent", node="gen1@client", name="add", queue="mail")
    found = heard(sent, run("t1", runtime=1.0), queues=("celery", "mail"))
    assert (only(found).queue, only(found).succeeded) == ("mail", 1)


def test_the_queue_of_a_fleet_with_several_is_unknown_when_nothing_tells():
    assert only(heard(run("t1", runtime=1.0), queues=("celery", "mail"))).queue == ""


def test_an_event_that_names_everything_needs_no_memory():
    found = heard(event("task-failed", name="add", queue="mail"))
    assert (only(found).task, only(found).queue) == ("add", "mail")


def test_workers_of_other_fleets_are_not_counted():
    tally = Tally({"web": ["celery"]})
    for node in ("mail-1@host", "web@host", "web-x@host", "web-1", "celery@host", "web-1@", "-1@host", "x-web-1@h"):
        tally.take([*run("t1"), beat(3)], 0.0)
        tally.take([event("task-started", node=node), beat(3, node=node)], 0.0)
    assert tally.foreign == 16
    assert set(tally.fleets(0.0)["web"].workers) == {NODE}


def test_fleets_are_told_apart():
    tally = Tally({"web": ["a"], "web-2": ["b"]})
    tally.take([*run("t1"), event("task-received", "t2", "web-2-1@host", name="add")], 0.0)
    fleets = tally.fleets(0.0)
    assert (only(fleets["web"]).queue, only(fleets["web-2"]).queue) == ("a", "b")
    assert set(fleets["web-2"].workers) == {"web-2-1@host"}


def test_a_fleet_that_goes_on_being_watched_keeps_its_counts():
    tally = Tally({"web": ["a"], "mail": ["b"]})
    tally.take([*run("t1"), *run("t2"), beat(2), beat(1, node="mail-1@h")], 0.0)
    tally.watch({"web": ["a", "c"], "new": ["d"]})
    tally.take([*run("t3"), beat(3)], 0.0)
    fleets = tally.fleets(0.0)
    assert set(fleets) == {"web", "new"}
    assert [(counts.queue, counts.succeeded) for counts in fleets["web"].tasks] == [("a", 2), ("", 1)]
    assert fleets["web"].workers[NODE].finished == 3
    assert tally.foreign == 0


def test_a_heartbeat_tells_what_a_worker_does():
    tally = Tally({"web": ["celery"]})
    tally.take(beat(9, active=2, freq=5.0), 100.0)
    worker = tally.fleets(101.0)["web"].workers[NODE]
    assert (worker.active, worker.started, worker.interval, worker.age, worker.pid) == (2, 9, 5.0, 1.0, 7)
    assert worker.online
    assert tally.fleets(115.0)["web"].beats
    assert not tally.fleets(115.1)["web"].beats


def test_a_worker_that_left_is_not_fresh_and_one_that_returns_is():
    tally = Tally({"web": ["celery"]})
    tally.take([beat(9), {"type": "worker-offline", "hostname": NODE}], 0.0)
    assert not tally.fleets(0.0)["web"].workers[NODE].fresh
    tally.take(beat(0, type="worker-online"), 1.0)
    assert tally.fleets(1.0)["web"].beats[NODE].started == 0


def test_a_worker_without_heartbeats_is_no_idle_worker():
    found = heard(run("t1", runtime=1.0))
    assert not found.beats
    assert found.workers[NODE].active is None
    assert not found.workers[NODE].online


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "3", 2**60])
def test_a_count_that_is_none_is_unknown(value):
    found = heard(beat(value, active=value, freq=value))
    worker = found.workers[NODE]
    assert (worker.active, worker.started) == (None, None)
    assert worker.interval in (1.5, 2.0)
    assert not found.beats


def test_who_is_silent_for_long_is_forgotten_and_what_it_did_is_not():
    tally = Tally({"web": ["celery"]})
    tally.take([beat(0), *run("t1", runtime=1.0)], 0.0)
    found = tally.fleets(3601.0)["web"]
    assert not found.workers
    assert (found.finished, only(found).succeeded) == (1, 1)


def test_names_are_bounded_and_the_rest_is_counted_together():
    events = [event("task-received", f"t{n}", name=f"task{n}", queue=f"queue{n}") for n in range(50)]
    found = heard(*events, limit=10)
    assert {counts.task for counts in found.tasks} == {*(f"task{n}" for n in range(10)), OTHER}
    assert sum(counts.received for counts in found.tasks) == 50
    assert "celery" in {
        counts.queue for counts in heard(*events, event("task-received", "else", name="x"), limit=10).tasks
    }


def test_pairs_of_task_and_queue_are_bounded_too():
    events = [
        event("task-received", f"{n}-{m}", name=f"task{n}", queue=f"queue{m}") for n in range(10) for m in range(9)
    ]
    found = heard(*events, limit=10)
    assert len(found.tasks) == 51
    assert {counts.received for counts in found.tasks if counts.task == OTHER} == {40}


def test_a_name_is_cut_and_can_be_written_down():
    found = heard(event("task-received", name="x\ud800\n" + "y" * 1000))
    assert only(found).task.encode() == b"x??" + b"y" * 197


@pytest.mark.parametrize(
    "body",
    [
        None, 3, "text", [None, [1]], [[{"type": "task-started"}]], {}, {"type": "task-started"}, {"type": ["x"]},
        event("task-started", node=5), event("task-started", task=5), event("task-started", task=None),
        event("task-received"), event("task-received", name=5), event("task-received", name="x", queue=["y"]),
        event("task-failed", name=5), event("task-sent", name="x"), {"type": "worker-heartbeat", "hostname": None},
    ],
)  # fmt: skip
def test_garbage_is_counted(body):
    tally = Tally({"web": ["celery"]})
    tally.take(body, 0.0)
    assert tally.garbage >= 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KINDS = st.sampled_from(
    [
        "task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-retried", "task-revoked",
        "task-rejected", "task-cancelled", "worker-online", "worker-heartbeat", "worker-offline", "custom-event",
    ]
)  # fmt: skip
ODD_EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | JUNK,
        "hostname": st.sampled_from([NODE, "web-2@host"]) | JUNK,
        "uuid": st.sampled_from(["t1", "t2"]) | JUNK,
        "name": st.sampled_from(["add", "mul"]) | JUNK,
        **dict.fromkeys(("queue", "runtime", "exception", "timestamp", "pid", "freq", "active", "processed"), JUNK),
    },
)


@given(st.lists(ODD_EVENTS | JUNK, max_size=30))
def test_nothing_that_comes_raises_or_makes_a_count_fall(bodies):
    tally = Tally({"web": ["celery"]}, limit=3)
    before = (0, 0, 0.0)
    for at, body in enumerate(bodies):
        tally.take(json.loads(json.dumps(body)), float(at))
        found = tally.fleets(float(at))["web"]
        after = (found.finished, found.missed, found.runtime_total)
        assert all(new >= old for new, old in zip(after, before))
        assert len(found.tasks) <= 16
        before = after


RUNS = st.lists(
    st.tuples(
        st.sampled_from(["add", "mul", "sub", "div"]),
        st.sampled_from(["task-succeeded", "task-failed", "task-retried"]),
        st.floats(min_value=0, max_value=1e6),
    ),
    max_size=20,
)


@given(RUNS, st.randoms(use_true_random=False))
def test_every_run_is_counted_once_however_runs_overlap(runs, random):
    waiting = [run(f"t{n}", name, end, runtime=seconds) for n, (name, end, seconds) in enumerate(runs)]
    events = []
    while any(waiting):
        events.append(random.choice([one for one in waiting if one]).pop(0))
    found = heard(*events, limit=3)
    assert found.finished == len(runs) == sum(c.started for c in found.tasks)
    assert sum(sum(c.durations) for c in found.tasks) == sum(end == "task-succeeded" for _n, end, _s in runs)
    for kind in ("succeeded", "failed", "retried"):
        assert sum(getattr(c, kind) for c in found.tasks) == sum(end == f"task-{kind}" for _n, end, _s in runs)
    expected = sum(seconds if end == "task-succeeded" else 2.5 for _n, end, seconds in runs)
    assert found.runtime_total == pytest.approx(expected)


def test_workers_of_other_hosts_are_their_own_services_to_count() -> None:
    tally = Tally({"web": ["celery"]}, fleet_of={"web-1@a": "web"}.get)
    for node in ("web-1@a", "web-1@b", "web-1"):
        tally.take({"type": "worker-heartbeat", "hostname": node, "active": 0, "processed": 0, "pid": 1}, 1.0)
    assert set(tally.fleets(1.0)["web"].workers) == {"web-1@a"}
    assert tally.foreign == 2
