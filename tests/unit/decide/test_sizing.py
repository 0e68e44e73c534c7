# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizing by a promised wait: enough workers under load, as few as will do otherwise, none on ignorance."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, Decision, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

POLICY = parse_policy({"target": {"wait_time": "30s"}, "limits": {"min_workers": 2, "max_workers": 20}})


def look(at: float, workers: int | None, starting: int = 0, /, **metrics: float | None) -> Observation:
    values = {"queue_depth": 0.0, "running": 0.0, "processed_total": 0.0, "wait_time": 0.0, **metrics}
    return Observation(at, workers, {n: v for n, v in values.items() if v is not None}, starting=starting)


def play(*looks: Observation, state: State | None = None) -> tuple[list[Decision], State]:
    state = state or State()
    decisions = []
    for seen in looks:
        decision, state = decide(POLICY, state, seen)
        decisions.append(decision)
    return decisions, state


@dataclasses.dataclass
class Fleet:
    """A fleet of one process a worker, on paper: tasks of one second, workers that take a while to consume."""

    start_seconds: float
    workers: int = 2
    waiting: float = 0.0
    processed: float = 0.0
    cost: float = 0.0
    starts: list[tuple[float, int]] = dataclasses.field(default_factory=list)

    def run(self, seconds: int, arrivals: float) -> list[float]:
        """Let tasks arrive at a rate a second, decide every five seconds, and return the wait at each decision."""
        state, waits = State(), []
        for now in range(0, seconds, 5):
            self.starts = [start for start in self.starts if start[0] + self.start_seconds > now]
            starting = sum(count for _at, count in self.starts)
            done = min(self.waiting + arrivals * 5, (self.workers - starting) * 5.0)
            self.waiting += arrivals * 5 - done
            self.processed += done
            self.cost += self.workers * 5
            waits.append(self.waiting / max(1, self.workers - starting))
            flow = {"queue_depth": self.waiting, "running": done / 5, "processed_total": self.processed}
            decision, state = decide(POLICY, state, look(now + 5, self.workers, starting, **flow))
            assert decision.after is not None
            if decision.after > self.workers:
                self.starts.append((now + 5, decision.after - self.workers))
            for _gone in range(self.workers - decision.after):
                if self.starts:
                    at, count = self.starts.pop()
                    self.starts += [(at, count - 1)] if count > 1 else []
            self.workers = decision.after
        return waits


def test_a_burst_is_met_at_the_first_look() -> None:
    (decision,), _state = play(look(0, 2, queue_depth=600, running=2))
    assert (decision.action, decision.before, decision.after) == (Action.UP, 2, 20)
    assert "600 tasks wait" in decision.reasons[0]


def test_what_workers_tell_of_their_concurrency_is_believed_from_the_first_look_on() -> None:
    (told,), _state = play(look(0, 2, queue_depth=300, running=2, concurrency=4))
    (learned,), _state = play(look(0, 2, queue_depth=300, running=2))
    assert (told.after or 0) < (learned.after or 0)
    assert f"{told.after} workers of 4 at once keep the wait at" in told.reasons[0]
    assert f"{learned.after} workers of at least 1 at once" in learned.reasons[0]
    # Without a worker that consumes nobody tells; it is remembered.
    _before, state = play(look(0, 2, concurrency=4))
    (again,), _state = play(look(5, 2, 2, queue_depth=300), state=state.restarted())
    assert "of 4 at once" in again.reasons[0]


@pytest.mark.parametrize("unknown", [("running",), ("processed_total",), ("running", "processed_total")])
def test_a_fleet_of_no_workers_comes_back_for_its_first_task_whatever_else_is_unknown(unknown: tuple[str, ...]) -> None:
    policy = parse_policy({"target": {"wait_time": "30s"}, "limits": {"min_workers": 0}})
    nothing = dict.fromkeys(unknown)
    calm, state = decide(policy, State(), look(0, 0, **nothing))
    back, state = decide(policy, state, look(5, 0, queue_depth=5, **nothing))
    assert (calm.action, calm.after) == (Action.HOLD, 0)
    assert (back.action, back.after) == (Action.UP, 1)
    if "processed_total" in unknown:
        # A total that is known again is not taken for tasks that ran meanwhile.
        _decision, state = decide(policy, state, look(10, 1, 1, queue_depth=5, processed_total=100_000))
        assert state.sizing.quick.rate < 5
    # While one drains, tasks run.
    drains = dataclasses.replace(look(15, 0, queue_depth=5, **nothing), draining=1)
    assert "unknown" in decide(policy, state, drains)[0].reasons[0]


def test_a_promise_that_the_ceiling_breaks_is_not_said_to_be_kept() -> None:
    for workers in (2, 20):
        (decision,), _state = play(look(0, workers, queue_depth=6000, running=2, concurrency=2))
        assert decision.after == 20
        assert decision.action is (Action.UP if workers < 20 else Action.HOLD)
        foretold, ceiling = decision.reasons
        assert "20 workers of 2 at once let the wait be " in foretold
        assert "s, above the 30s promised" in foretold
        assert ceiling == "more are wanted than the ceiling of 20 (the limits) allows"
    for depth in range(0, 4000, 50):
        (decision,), _state = play(look(0, 20, queue_depth=depth, running=2, concurrency=2))
        kept = "keep the wait at" in decision.reasons[0]
        assert len(decision.reasons) == (1 if kept else 2), decision.reasons


def test_a_wait_without_end_is_told_in_words() -> None:
    decision, _state = decide(POLICY, State(), dataclasses.replace(look(0, 0, queue_depth=5), room=0))
    assert decision.after == 0
    assert decision.reasons == (
        "5 tasks wait, 0 arrive a second and run 1s each: without a worker they wait for ever",
        "more are wanted than the ceiling of 0 (the room on the hosts) allows",
    )


def test_workers_on_their_way_are_counted_on() -> None:
    looks = [look(0, 2, queue_depth=100, running=2), look(5, 12, 10, queue_depth=90, running=2, processed_total=10)]
    (first, second), _state = play(*looks)
    assert first.after is not None
    looks[1] = dataclasses.replace(looks[1], workers=first.after, starting=first.after - 2)
    (_first, second), _state = play(*looks)
    assert second.action is Action.HOLD


def test_an_idle_fleet_goes_to_the_floor() -> None:
    decisions, _state = play(*(look(t, 8, processed_total=50) for t in range(0, 120, 5)))
    assert next(d.after for d in decisions if d.action is Action.DOWN) == 2


@pytest.mark.parametrize("start_seconds", [5, 15, 30])
def test_a_steady_load_waits_less_than_promised_and_costs_little_more_than_its_work(start_seconds: float) -> None:
    fleet = Fleet(start_seconds)
    waits = fleet.run(3600, 6.5)
    assert max(waits[60:]) <= 30
    assert fleet.cost <= 1.15 * 6.5 * 3600


@pytest.mark.parametrize("missing", ["queue_depth", "running", "processed_total"])
def test_an_unknown_flow_changes_nothing_but_the_bounds(missing: str) -> None:
    decisions, _state = play(look(0, 8, **{missing: None}), look(5, 1, **{missing: None}))
    assert [(d.action, d.after) for d in decisions] == [(Action.HOLD, 8), (Action.BOUNDS, 2)]
    assert missing in decisions[0].reasons[0]


@pytest.mark.parametrize("queue_depth", [0.0, 1.0])
@pytest.mark.parametrize("wait", ["known", "unknown", "a lower bound", "never told", "not known yet"])
def test_nothing_is_taken_away_while_the_wait_of_what_waits_is_unknown(queue_depth: float, wait: str) -> None:
    told = None if wait in ("never told", "not known yet") else 1.0
    before = [
        look(at, 12, wait_time=told, running=2.0, processed_total=0.4 * at, queue_depth=1.0) for at in range(0, 60, 5)
    ]
    last = look(60.0, 12, wait_time=None if wait == "unknown" else told, queue_depth=queue_depth, processed_total=24.0)
    if wait == "a lower bound":
        last = dataclasses.replace(last, bounds={"wait_time": Bounds(1.0, None, "since the first look")})
    if wait == "not known yet":
        before = [dataclasses.replace(seen, unknown={"wait_time": "tasks wait since before"}) for seen in before]
        last = dataclasses.replace(last, unknown={"wait_time": "tasks wait since before"})
    decisions, _state = play(*before, last, dataclasses.replace(last, at=65.0))
    kept = queue_depth > 0 and wait in ("unknown", "a lower bound", "not known yet")
    assert (decisions[-1].after == 12) is kept
    assert any("wait_time is unknown" in reason for reason in decisions[-1].reasons) is kept


@pytest.mark.parametrize("waiting", [0.0, 3.0, 12.0, 20.0])
def test_of_a_wait_between_bounds_the_lower_one_makes_grow_and_the_upper_one_keeps(waiting: float) -> None:
    def after(wait: float, *bounds: float) -> int:
        before = [look(at, 8, queue_depth=2.0, running=5.0, processed_total=1.0 * at) for at in range(0, 60, 5)]
        last = [
            look(at, 8, queue_depth=waiting, running=5.0, processed_total=1.0 * at, wait_time=wait)
            for at in range(60, 90, 5)
        ]
        if bounds:
            told = {"wait_time": Bounds(*bounds, "the looks are 60 s apart")}
            last = [dataclasses.replace(seen, bounds=told) for seen in last]
        decisions, _state = play(*before, *last)
        return decisions[-1].after or 0

    for at_least, at_most in ((0.0, 60.0), (25.0, 60.0), (0.0, 5.0)):
        low, high = after(at_least), after(at_most)
        # What grows at the lower bound grows for sure; what shrinks even at the upper one shrinks for sure.
        assert after(at_most, at_least, at_most) == (low if low > 8 else min(high, 8))
    assert after(25.0) > after(0.0) or waiting < 12


def test_an_unknown_count_changes_nothing() -> None:
    (decision,), _state = play(look(0, None, queue_depth=600))
    assert (decision.action, decision.before, decision.after) == (Action.HOLD, None, None)


def test_the_time_a_start_takes_is_learned() -> None:
    looks = [look(0, 2, queue_depth=600, running=2)]
    looks += [look(t, 20, 18, queue_depth=600, running=2, processed_total=2 * t) for t in (10, 20, 30)]
    looks += [look(40, 20, queue_depth=500, running=20, processed_total=100)]
    _decisions, state = play(*looks)
    assert state.sizing.start_seconds > 20
    assert state.restarted().sizing.start_seconds == state.sizing.start_seconds


def test_tasks_at_once_are_learned_from_full_workers() -> None:
    looks = [look(t, 2, queue_depth=50, running=8, processed_total=8 * t) for t in (0, 5, 10)]
    _decisions, state = play(*looks)
    assert state.sizing.slots == 4


def test_workers_that_were_never_full_are_not_taken_for_full_ones() -> None:
    looks = [look(t, 2, running=9, processed_total=3 * t) for t in range(0, 121, 5)]
    decisions, state = play(*looks)
    assert state.sizing.slots is None
    assert state.sizing.at_least == 5
    assert {d.after for d in decisions} == {2}


def test_a_fleet_that_idles_in_part_is_shrunk_although_nobody_knows_how_much_a_worker_can_do() -> None:
    looks = [look(t, 8, running=6, processed_total=3 * t) for t in range(0, 121, 5)]
    decisions, _state = play(*looks)
    assert min(d.after or 0 for d in decisions) < 8


def test_few_tasks_are_averaged_over_a_longer_time_than_many() -> None:
    def rate_after_a_lull(tasks_in_a_second: float) -> float:
        busy = [look(t, 20, running=5, processed_total=tasks_in_a_second * t) for t in range(0, 301, 5)]
        done = tasks_in_a_second * 300
        lull = [look(t, 20, running=5, processed_total=done) for t in range(305, 321, 5)]
        _decisions, state = play(*busy, *lull)
        return state.sizing.quick.rate / tasks_in_a_second

    assert rate_after_a_lull(0.2) > rate_after_a_lull(10) + 0.2


def test_tasks_of_draining_workers_do_not_make_the_others_look_larger() -> None:
    looks = [look(t, 8, queue_depth=50, running=8, processed_total=8 * t) for t in range(0, 61, 5)]
    looks += [look(t, 8, running=2, processed_total=600) for t in range(65, 121, 5)]
    decisions, state = play(*looks)
    assert (state.sizing.slots, decisions[-1].after) == (1, 2)
    # Two consume, and six of those that were stopped are still at their last task.
    _decisions, state = play(*(look(t, 2, queue_depth=9, running=8) for t in range(125, 160, 5)), state=state)
    assert state.sizing.slots == 1


def test_what_full_workers_show_no_more_is_forgotten() -> None:
    looks = [look(t, 2, queue_depth=50, running=40, processed_total=8 * t) for t in (0, 5)]
    looks += [look(t, 2, queue_depth=50, running=8, processed_total=8 * t) for t in range(10, 200, 5)]
    _decisions, state = play(*looks)
    assert state.sizing.slots == 4


def test_tasks_that_have_not_ended_are_not_taken_for_short_ones() -> None:
    looks = [look(t, 2, queue_depth=10, running=2) for t in range(0, 61, 5)]
    decisions, state = play(*looks)
    assert state.sizing.task_seconds > 60
    assert max(d.after or 0 for d in decisions) > 5


metrics = st.floats(0, 1000).map(lambda value: round(value, 1))


@st.composite
def histories(draw: st.DrawFn) -> list[Observation]:
    at, processed, seen = 0.0, 0.0, []
    for _turn in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([1.0, 5.0, 30.0]))
        processed += draw(st.integers(0, 100))
        workers = draw(st.integers(0, 25))
        seen.append(
            look(
                at,
                workers,
                draw(st.integers(0, workers)),
                queue_depth=draw(metrics),
                running=draw(st.integers(0, 60).map(float)),
                processed_total=processed,
            )
        )
    return seen


@given(histories())
def test_bounds_are_never_broken(history: list[Observation]) -> None:
    decisions, _state = play(*history)
    assert all(d.after is not None and 2 <= d.after <= 20 for d in decisions)


@given(histories(), st.floats(0, 500))
def test_more_load_never_means_fewer_workers(history: list[Observation], more: float) -> None:
    *before, last = history
    _decisions, state = play(*before)
    heavier = dataclasses.replace(last, metrics={**last.metrics, "queue_depth": last.metrics["queue_depth"] + more})
    (light,), _state = play(last, state=state)
    (heavy,), _state = play(heavier, state=state)
    assert light.after is not None
    assert heavy.after is not None
    assert heavy.after >= light.after


@given(histories())
def test_the_same_input_gives_the_same_decision(history: list[Observation]) -> None:
    assert play(*history) == play(*history)
