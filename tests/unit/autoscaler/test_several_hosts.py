# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over several hosts: what hosts told, and where workers go."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import Cycle, run_cycle
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.several_hosts import (
    capacities_of,
    current_workers,
    owned_by_daemon,
    place,
    readings_of,
    room_on,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, Decision
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    STARTING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)

AT = 1767225600.0


def reading(host: str, *phases: str) -> FleetReading:
    workers = tuple(WorkerReading(f"celery-worker-web@{n}.service", phase) for n, phase in enumerate(phases, start=1))
    return FleetReading(host, AT, workers, cores=4.0, memory=8e9)


def answer(host: str, *phases: str, **more: Any) -> dict[str, Any]:
    told = {"changed": False, "failed": False, "exists": True, **asdict(reading(host, *phases)), **more}
    result: dict[str, Any] = json.loads(json.dumps(told))
    return result


def cycle(before: int | None, after: int | None, ceiling: int = 9) -> Cycle:
    decided = Decision(AT, Action.UP, before, after, ())
    return Cycle(Observation(AT, before), decided, Remembered(), Remembered(), ceiling=ceiling)


def test_what_a_host_told_is_read_again_under_the_name_of_the_inventory() -> None:
    one = WorkerReading(
        "celery-worker-web@1.service",
        CONSUMING,
        "12:34",
        1,
        2,
        30,
        {"web": 31},
        4.5,
        1.0,
        1e6,
        2e6,
        99.5,
        "nothing",
        3,
        4,
    )
    told = FleetReading("app-1-4711", AT, (one,), "", 4.0, 8e9)
    (read,) = readings_of({"app1": json.loads(json.dumps({**asdict(told), "changed": False}))}, AT + 1)
    assert (read.host, read.at, read.cores, read.memory) == ("app1", AT, 4.0, 8e9)
    assert read.workers == (WorkerReading(**{**one.__dict__, "name": "celery-worker-web@1.service on app1"}),)


def test_workers_of_two_hosts_that_call_themselves_alike_are_told_apart() -> None:
    readings = readings_of({"b": answer("app", CONSUMING), "a": answer("app", CONSUMING)}, AT)
    assert [read.host for read in readings] == ["a", "b"]
    assert len({worker.name for read in readings for worker in read.workers or ()}) == 2


def test_a_host_that_was_not_reached_is_unknown_and_says_why() -> None:
    lost = {"unreachable": True, "changed": False, "msg": "Failed to connect to the host via ssh: timed out"}
    (read,) = readings_of({"app1": lost}, AT)
    assert (read.host, read.at, read.workers) == ("app1", AT, None)
    assert read.problem == "it was not reached: Failed to connect to the host via ssh: timed out"


@pytest.mark.parametrize("result", [{"failed": True, "msg": "no Python"}, {"skipped": True}])
def test_a_host_that_told_nothing_is_unknown(result: dict[str, Any]) -> None:
    (read,) = readings_of({"app1": result}, AT)
    assert read.workers is None
    assert "it told nothing" in read.problem


def test_a_host_whose_systemd_was_not_read_is_unknown() -> None:
    (read,) = readings_of({"app1": answer("app1", workers=None, exists=None, problem="systemctl hangs")}, AT)
    assert (read.workers, read.problem) == (None, "systemctl hangs")


def test_a_host_without_the_fleet_is_left_out() -> None:
    assert readings_of({"app1": answer("app1", exists=False), "app2": answer("app2", CONSUMING)}, AT)[0].host == "app2"


@pytest.mark.parametrize("wrong", [None, "text", {}, {"host": "a", "at": AT, "workers": 3}])
def test_anything_else_is_refused_with_its_place(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"hosts\.app1"):
        readings_of({"app1": wrong}, AT)


def test_draining_workers_are_no_current_ones() -> None:
    readings = [reading("a", CONSUMING, STARTING, DOWN, DRAINING), FleetReading("b", AT, None, "gone"), reading("c")]
    assert current_workers(readings) == {"a": 3, "b": None, "c": 0}


def test_workers_are_placed_evenly_within_capacities() -> None:
    readings = [reading("a", CONSUMING), reading("b", CONSUMING)]
    assert place(cycle(2, 6), readings, {}).workers == {"a": 3, "b": 3}
    placed = place(cycle(2, 6), readings, {"a": 2, "b": 3, "elsewhere": 1})
    assert (placed.workers, placed.left_over) == ({"a": 2, "b": 3}, 1)
    assert placed.current == {"a": 1, "b": 1}


def test_a_fleet_that_shrinks_loses_those_that_do_not_run_first_on_whichever_host() -> None:
    readings = [reading("a", *[CONSUMING] * 4), reading("b", *[DOWN] * 4)]
    placed = place(cycle(4, 3), readings, {})
    assert (placed.current, placed.workers) == ({"a": 4, "b": 4}, {"a": 3, "b": 0})


def test_those_that_are_down_do_not_come_back_above_the_ceiling() -> None:
    readings = [reading("a", CONSUMING, DOWN), reading("b", CONSUMING, DOWN)]
    assert place(cycle(2, 2, ceiling=2), readings, {}).workers == {"a": 1, "b": 1}
    assert place(cycle(2, 2, ceiling=3), readings, {}).workers == {"a": 2, "b": 1}
    assert place(cycle(2, 2), readings, {}).workers == {"a": 2, "b": 2}


def test_one_that_systemd_tries_again_counts_as_running() -> None:
    retried = WorkerReading("celery-worker-web@1.service", DOWN, retried=True)
    readings = [FleetReading("a", AT, (retried,)), reading("b", CONSUMING, DOWN)]
    assert place(cycle(2, 2, ceiling=2), readings, {}).workers == {"a": 1, "b": 1}


def test_there_is_as_much_room_as_all_hosts_have() -> None:
    readings = [reading("a", CONSUMING), reading("b")]
    assert room_on(readings, {"a": 2, "b": 3, "elsewhere": 9}, AT) == 5
    assert room_on(readings, {"a": 2}, AT) is None
    assert room_on(readings, {}, AT) is None


def test_nothing_is_placed_while_the_number_is_unknown() -> None:
    readings = [reading("a", CONSUMING, CONSUMING), FleetReading("b", AT, None, "gone")]
    for taken in (cycle(None, None), cycle(2, 6)):
        placed = place(taken, readings, {"a": 1})
        assert (placed.current, placed.workers, placed.left_over) == ({"a": 2, "b": None}, {"a": 2}, 0)


def test_hosts_with_a_daemon_are_named() -> None:
    answers = {"b": answer("b", owned_by_daemon=True), "a": answer("a", owned_by_daemon=False), "c": None}
    assert owned_by_daemon(answers) == ["b"]


def test_capacities() -> None:
    assert capacities_of({"a": 3, "b": "4"}, {"a": {}, "b": {}}) == ({"a": 3, "b": 4}, [])
    found, problems = capacities_of({"a": -1, "b": True, "c": 2.5, "d": 1, "e": None}, {host: {} for host in "abce"})
    assert found == {}
    assert [problem.split(":")[0] for problem in problems] == [f"capacities.{host}" for host in "abcde"]


def paused(host: str, workers: int, *phases: str, until: float | None = None) -> dict[str, Any]:
    return answer(host, *phases, pause=asdict(Pause(workers, until, "alice")))


def test_a_host_that_is_paused_is_held_and_the_others_have_the_rest() -> None:
    answers = {"a": paused("a", 0, CONSUMING, CONSUMING), "b": answer("b", CONSUMING), "c": answer("c", CONSUMING)}
    readings = readings_of(answers, AT)
    policy = parse_policy({"limits": {"min_workers": 6, "max_workers": 9}})
    taken = run_cycle(policy, Remembered(), AT, readings, QueuesReading(AT, {"celery": 0}))
    assert taken.decision is not None
    assert taken.decision.after == 6
    assert "a is paused at 0 until it is lifted (by alice)" in taken.decision.reasons
    assert place(taken, readings, {}).workers == {"a": 0, "b": 3, "c": 3}
    assert place(taken, readings, {"a": 5, "b": 2, "c": 9}).workers == {"a": 0, "b": 2, "c": 4}
    assert room_on(readings, {"b": 2, "c": 3}, AT) == 5


def test_where_more_is_held_than_the_policy_wants_the_others_have_none() -> None:
    readings = readings_of({"a": paused("a", 7), "b": answer("b", CONSUMING, CONSUMING)}, AT)
    policy = parse_policy({"limits": {"min_workers": 2, "max_workers": 4}})
    taken = run_cycle(policy, Remembered(), AT, readings, QueuesReading(AT, {"celery": 0}))
    assert place(taken, readings, {}).workers == {"a": 7, "b": 0}


def test_a_fleet_whose_hosts_are_all_paused_is_held_until_the_first_ends() -> None:
    answers = {"a": paused("a", 3, CONSUMING, until=AT + 60), "b": paused("b", 1, CONSUMING, until=AT + 90)}
    readings = readings_of(answers, AT)
    taken = run_cycle(parse_policy({}), Remembered(), AT, readings, QueuesReading(AT, {"celery": 900}))
    assert taken.decision is not None
    assert (taken.floor, taken.ceiling, taken.decision.after) == (4, 4, 4)
    assert taken.decision.reasons[0] == "paused at 4 until 2026-01-01T00:01:00+00:00 (by alice)"
    assert place(taken, readings, {}).workers == {"a": 3, "b": 1}
    later = run_cycle(parse_policy({}), Remembered(), AT + 60, readings, QueuesReading(AT, {"celery": 900}))
    assert later.pause is None
    assert place(later, readings, {}).workers["b"] == 1
