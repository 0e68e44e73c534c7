# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's meaning, in examples that anyone can check by hand. Over the whole space: test_properties.py."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import (
    Action,
    Decision,
    State,
    decide,
    step_size,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Choose, Policy, Step

CALM = {"queue_depth": 0.0, "cpu": 5.0, "memory": 10.0, "wait_time": 0.0, "processed_total": 100.0}
BUSY = {**CALM, "queue_depth": 500.0}


def look(at: float, workers: int | None = 4, /, **metrics: float | None) -> Observation:
    values = {**CALM, **metrics}
    return Observation(at, workers, {name: value for name, value in values.items() if value is not None})


def play(policy: Policy, *looks: Observation, state: State | None = None) -> list[Decision]:
    state = state or State()
    decisions = []
    for seen in looks:
        decision, state = decide(policy, state, seen)
        decisions.append(decision)
    return decisions


def moves(decisions: list[Decision]) -> list[tuple[float, str, int | None, int | None]]:
    return [(d.at, d.action.value, d.before, d.after) for d in decisions if d.action is not Action.HOLD]


def test_a_for_is_met_at_exactly_its_length() -> None:
    decisions = play(Policy(), *(look(t, queue_depth=101) for t in (0, 30, 59, 60)))
    assert moves(decisions) == [(60, "up", 4, 6)]


def test_thresholds_are_strict() -> None:
    assert moves(play(Policy(), *(look(t, queue_depth=100, wait_time=30) for t in range(0, 600, 30)))) == []


def test_a_condition_without_for_holds_at_once() -> None:
    assert moves(play(Policy(), look(0, wait_time=30.5))) == [(0, "up", 4, 6)]


@pytest.mark.parametrize("gap", [{"queue_depth": None, "wait_time": 0}, {"queue_depth": 100}])
def test_a_missing_or_calm_value_restarts_the_run(gap: dict[str, float | None]) -> None:
    looks = [look(0, queue_depth=500), look(30, **gap), look(60, queue_depth=500), look(119, queue_depth=500)]
    assert moves(play(Policy(), *looks)) == []
    assert moves(play(Policy(), *looks, look(120, queue_depth=500))) == [(120, "up", 4, 6)]


def test_runs_of_different_conditions_never_add_up() -> None:
    decisions = play(Policy(), look(0, cpu=90), look(60, cpu=90), look(90, memory=90), look(150, memory=90))
    assert moves(decisions) == []


def test_acting_does_not_end_a_run() -> None:
    decisions = play(Policy(), *(look(t, queue_depth=500) for t in range(0, 200, 20)))
    assert [move[0] for move in moves(decisions)] == [60, 120, 180]


def test_scale_in_needs_everything_calm_and_nothing_finished() -> None:
    decisions = play(Policy(), *(look(t, 8) for t in range(0, 901, 60)))
    assert moves(decisions) == [(300, "down", 8, 7), (600, "down", 8, 7), (900, "down", 8, 7)]
    working = [look(t, 8, processed_total=100 + t) for t in range(0, 901, 60)]
    assert moves(play(Policy(), *working)) == []


def test_none_finished_needs_a_known_count_at_both_ends() -> None:
    looks = [look(t, 8) for t in range(0, 301, 60)]
    looks[4] = look(240, 8, processed_total=None)
    assert moves(play(Policy(), *looks)) == []
    assert moves(play(Policy(), *looks, look(360, 8), look(420, 8))) == [(420, "down", 8, 7)]


def test_a_falling_count_is_activity() -> None:
    looks = [look(t, 8) for t in range(0, 241, 60)] + [look(t, 8, processed_total=3) for t in (300, 360, 420)]
    assert moves(play(Policy(), *looks)) == [(420, "down", 8, 7)]


def test_up_wins_over_down_even_while_it_may_not_act() -> None:
    policy = parse_policy(
        {
            "scale_up": {"any": [{"metric": "wait_time", "above": 1}]},
            "scale_down": {"all": [{"metric": "cpu", "below": 30}]},
        }
    )
    assert moves(play(policy, look(0, wait_time=5), look(10, 6, wait_time=5))) == [(0, "up", 4, 6)]
    assert moves(play(policy, look(0, 20, wait_time=5))) == []
    assert moves(play(policy, look(0, 20))) == [(0, "down", 20, 19)]


def test_an_action_that_the_bounds_swallow_starts_no_cooldown() -> None:
    _decision, state = decide(Policy(), State(), look(0, 20, wait_time=60))
    assert state.last_up is None
    assert moves(play(Policy(), look(10, 19, wait_time=60), state=state)) == [(10, "up", 19, 20)]


@pytest.mark.parametrize(
    ("step", "current", "size"),
    [
        (Step(2, 50, Choose.LARGER), 5, 3),
        (Step(1, 25, Choose.SMALLER), 2, 1),
        (Step(2, 50, Choose.LARGER), 0, 2),
        (Step(None, 50), 5, 3),
        (Step(None, 10), 30, 3),
        (Step(3, None), 30, 3),
        (Step(1, 25, Choose.SMALLER), 100, 1),
    ],
)
def test_fractions_of_a_worker_round_up(step: Step, current: int, size: int) -> None:
    assert step_size(step, current) == size


def test_steps_are_cut_to_the_step_limit_then_to_the_bounds() -> None:
    assert moves(play(Policy(), look(0, 12, wait_time=60))) == [(0, "up", 12, 17)]
    assert moves(play(Policy(), look(0, 18, wait_time=60))) == [(0, "up", 18, 20)]


def test_bounds_apply_at_once_and_start_no_cooldown() -> None:
    decisions = play(Policy(), look(0, 1, wait_time=60), look(1, 2, wait_time=60), look(2, 30))
    assert moves(decisions) == [(0, "bounds", 1, 2), (1, "up", 2, 4), (2, "bounds", 30, 20)]


def test_a_window_narrows_the_limits_at_its_edge() -> None:
    windows = [{"name": "peak", "time": "08:00-18:00", "min_workers": 5}, {"name": "night", "time": "18:00-08:00"}]
    windows[1]["max_workers"] = 3
    policy = parse_policy({"schedule": {"windows": windows}})
    eight, evening = 8 * 3600, 18 * 3600
    decisions = play(policy, look(eight - 1, 2), look(eight, 2), look(evening - 1, 5), look(evening, 5))
    assert moves(decisions) == [(eight, "bounds", 2, 5), (evening, "bounds", 5, 3)]
    assert "peak" in decisions[1].reasons[0]


def test_an_unknown_count_changes_nothing_and_the_runs_go_on() -> None:
    decisions = play(Policy(), look(0, queue_depth=500), look(30, None, queue_depth=500), look(60, queue_depth=500))
    assert (decisions[1].action, decisions[1].before, decisions[1].after) == (Action.HOLD, None, None)
    assert moves(decisions) == [(60, "up", 4, 6)]


def test_an_unreadable_broker_changes_nothing_but_the_bounds() -> None:
    looks = [look(t, queue_depth=None, wait_time=None, cpu=99) for t in range(0, 301, 60)]
    decisions = play(Policy(), *looks)
    assert moves(decisions) == []
    assert "broker" in decisions[-1].reasons[0]
    assert moves(play(Policy(), look(0, 1, queue_depth=None, wait_time=None))) == [(0, "bounds", 1, 2)]


def test_a_policy_that_never_looks_at_the_broker_grows_without_it() -> None:
    policy = parse_policy(
        {
            "scale_up": {"any": [{"metric": "cpu", "above": 80}]},
            "scale_down": {"all": [{"metric": "cpu", "below": 30}]},
        }
    )
    unread = {"queue_depth": None, "wait_time": None}
    assert moves(play(policy, look(0, **unread, cpu=90))) == [(0, "up", 4, 6)]
    assert moves(play(policy, look(0, **unread, cpu=1))) == []
    assert moves(play(policy, look(0, cpu=1))) == [(0, "down", 4, 3)]
    assert moves(play(policy, look(0, **unread, cpu=None))) == []


def test_a_policy_that_looks_at_the_broker_needs_one_thing_read_from_it() -> None:
    policy = parse_policy({"scale_up": {"any": [{"metric": "wait_time", "above": 30}]}})
    assert moves(play(policy, look(0, queue_depth=None, wait_time=31))) == [(0, "up", 4, 6)]
    assert moves(play(policy, look(0, queue_depth=None, wait_time=None, cpu=99))) == []


def test_a_changed_condition_takes_over_no_run() -> None:
    _decisions, state = [], State()
    for t in range(0, 60, 20):
        _decision, state = decide(Policy(), state, look(t, queue_depth=500))
    other = parse_policy(
        {
            "scale_up": {
                "any": [
                    {"metric": "queue_depth", "above": 200, "for": "60s"},
                    {"metric": "cpu", "above": 80, "for": "2m"},
                    {"metric": "memory", "above": 85, "for": "2m"},
                    {"metric": "wait_time", "above": "30s"},
                ]
            }
        }
    )
    assert moves(play(other, look(60, queue_depth=500), state=state)) == []


def test_runs_begin_anew_after_a_restart_and_cooldowns_do_not() -> None:
    state = State()
    for t in range(0, 61, 20):
        decision, state = decide(Policy(), state, look(t, queue_depth=500))
    assert decision.action is Action.UP
    again = state.restarted()
    decisions = play(Policy(), *(look(t, queue_depth=500, wait_time=60) for t in (70, 119, 120)), state=again)
    assert moves(decisions) == [(120, "up", 4, 6)]
    assert not again.runs_up


def test_a_clock_that_is_set_back_keeps_the_age_of_runs_and_cooldowns() -> None:
    looks = [look(t, queue_depth=500) for t in (10000, 10040, 6440, 6460)]
    assert moves(play(Policy(), *looks)) == [(6460, "up", 4, 6)]


@given(st.integers(0, 1000), st.floats(0.01, 300))
def test_a_share_of_a_fleet_is_never_less_than_it_says(current: int, percent: float) -> None:
    size = step_size(Step(None, percent), current)
    assert size >= current * percent / 100 - 1e-9
    assert size < current * percent / 100 + 1 + 1e-9
    assert math.floor(size) == size


def test_a_lower_bound_proves_only_what_is_above() -> None:
    below = parse_policy(
        {
            "scale_up": {"any": [{"metric": "cpu", "above": 90}]},
            "scale_down": {"all": [{"metric": "wait_time", "below": "2m"}], "remove": {"workers": 1}},
        }
    )
    seen = Observation(
        0, 4, {**CALM, "wait_time": 31.0}, bounds={"wait_time": Bounds(31.0, None, "since the first look")}
    )
    assert moves(play(below, seen)) == []
    assert moves(play(below, look(0, wait_time=31.0))) == [(0, "down", 4, 3)]
    assert moves(play(Policy(), seen)) == [(0, "up", 4, 6)]


CALM_POLICY = {"scale_down": {"all": [{"metric": "queue_depth", "below": 10, "for": "1m"}]}}


@pytest.mark.parametrize("policy", [CALM_POLICY, {"target": {"wait_time": "30s"}}])
def test_nothing_is_taken_away_while_the_broker_takes_no_tasks(policy: dict[str, object]) -> None:
    def seen(at: float, blocked: str = "", workers: int = 6, **metrics: float) -> Observation:
        return Observation(at, workers, {**CALM, "running": 0.0, **metrics}, blocked=blocked)

    open_looks = [seen(at) for at in range(0, 300, 5)]
    assert "down" in {move[1] for move in moves(play(parse_policy(policy), *open_looks))}
    blocked_looks = [seen(at, "a memory alarm") for at in range(0, 300, 5)]
    decisions = play(parse_policy(policy), *blocked_looks)
    assert moves(decisions) == []
    assert any("broker takes no tasks" in r and "a memory alarm" in r for r in decisions[-1].reasons) or (
        "scale_down" in policy
    )
    # Bounds hold all the same, and what has to grow grows.
    assert moves(play(parse_policy(policy), seen(0, "a memory alarm", workers=30))) == [(0, "bounds", 30, 20)]
    busy = [seen(at, "a memory alarm", queue_depth=900.0, wait_time=90.0) for at in range(0, 70, 5)]
    assert "up" in {move[1] for move in moves(play(parse_policy(policy), *busy))}


def test_calm_while_the_broker_takes_no_tasks_does_not_count_afterwards() -> None:
    policy = parse_policy(CALM_POLICY)
    looks = [Observation(at, 6, CALM, blocked="full" if at < 300 else "") for at in range(0, 400, 5)]
    assert moves(play(policy, *looks))[0][0] == 300 + 60 - 5
    (decision,) = play(
        parse_policy({"scale_down": {"all": [{"metric": "queue_depth", "below": 10}]}}),
        Observation(0, 6, CALM, blocked="full"),
    )
    assert (decision.action, decision.reasons) == (
        Action.HOLD,
        ("the broker takes no tasks, so no worker is taken away: full",),
    )


@pytest.mark.parametrize("policy", [{}, {"target": {"wait_time": "30s"}}])
def test_hosts_without_room_are_a_ceiling(policy: dict[str, object]) -> None:
    def decided(workers: int, room: int | None, at: float = 0.0) -> Decision:
        metrics = {**CALM, "queue_depth": 900.0, "wait_time": 60.0, "running": 2.0}
        (decision,) = play(parse_policy(policy), Observation(at, workers, metrics, room=room))
        return decision

    assert decided(4, None).action is Action.UP
    cut = decided(4, 5)
    assert (cut.action, cut.after) == (Action.UP, 5)
    assert "ceiling of 5 (the room on the hosts)" in cut.reasons[-1]
    full = decided(4, 4)
    assert (full.action, full.after) == (Action.HOLD, 4)
    assert "ceiling of 4 (the room on the hosts)" in full.reasons[-1]
    over = decided(4, 1)
    assert (over.action, over.after) == (Action.BOUNDS, 1)
    assert decided(1, 1).after == 1, "the floor of 2 has no room"


def test_an_action_without_room_starts_no_cooldown() -> None:
    busy = {**CALM, "wait_time": 60.0}
    full, later = (Observation(at, 4, busy, room=room) for at, room in ((0.0, 4), (5.0, 9)))
    assert moves(play(Policy(), full, later)) == [(5, "up", 4, 6)]


@pytest.mark.parametrize(
    ("bounds", "condition", "holds"),
    [
        ((0, 60), {"above": 30}, False),
        ((31, 60), {"above": 30}, True),
        ((30, 60), {"above": 30}, False),
        ((0, 60), {"below": 90}, True),
        ((0, 60), {"below": 60}, False),
        ((0, None), {"below": 60}, False),
        ((31, None), {"above": 30}, True),
        ((0, 60), {"equals": 60}, False),
        ((0, 60), {"equals": 0}, False),
    ],
)
def test_only_what_is_sure_decides(
    bounds: tuple[float, float | None], condition: dict[str, float], holds: bool
) -> None:
    policy = parse_policy({"scale_up": {"any": [{"metric": "wait_time", **condition}]}})
    at_least, at_most = bounds
    told = at_least if at_most is None else at_most
    seen = Observation(
        0, 4, {**CALM, "wait_time": told}, bounds={"wait_time": Bounds(at_least, at_most, "the looks are 60 s apart")}
    )
    (decision,) = play(policy, seen)
    assert (decision.action is Action.UP) is holds
    if not holds:
        assert "is not surely" in decision.reasons[0]
        assert "the looks are 60 s apart" in decision.reasons[0]
