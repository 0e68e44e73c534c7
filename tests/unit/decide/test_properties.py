# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine over a whole space of policies and histories, held against a second reading of what a policy means.

The second reading has no state: it looks at the whole history each time.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, Decision, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BROKER_METRICS,
    OBSERVED,
    TASKS_PROCESSED,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Choose,
    Condition,
    Policy,
    Rule,
    StepRules,
)

START = 1767225600.0  # a New Year's midnight
HOLDS = ["0s", "15s", "60s", "2m", "5m"]

steps = st.one_of(
    st.fixed_dictionaries({"workers": st.integers(1, 8)}),
    st.fixed_dictionaries({"percent": st.sampled_from([1, 10, 25, 33.3, 50, 100, 250])}),
    st.fixed_dictionaries(
        {
            "workers": st.integers(1, 8),
            "percent": st.sampled_from([1, 10, 25, 33.3, 50, 100]),
            "choose": st.sampled_from(["larger", "smaller"]),
        }
    ),
)
metrics = st.sampled_from(["queue_depth", "backlog", "wait_time", "cpu", "memory"])
ups = st.builds(
    lambda metric, above, hold: {"metric": metric, "above": above, "for": hold},
    metrics,
    st.integers(51, 99),
    st.sampled_from(HOLDS),
)
downs = st.one_of(
    st.builds(
        lambda metric, below, hold: {"metric": metric, "below": below, "for": hold},
        metrics,
        st.integers(1, 50),
        st.sampled_from(HOLDS),
    ),
    st.builds(
        lambda hold: {"metric": "tasks_processed", "equals": 0, "for": hold}, st.sampled_from(["15s", "60s", "2m"])
    ),
)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    floor = draw(st.integers(0, 6))
    return {
        "min_workers": floor,
        "max_workers": draw(st.integers(floor, 25)),
        "scale_up_max": draw(st.integers(1, 6)),
        "scale_down_max": draw(st.integers(1, 6)),
        "cooldown_up": draw(st.sampled_from(["0s", "30s", "60s", "5m"])),
        "cooldown_down": draw(st.sampled_from(["0s", "30s", "60s", "5m"])),
    }


@st.composite
def schedules(draw: st.DrawFn, bounds: dict[str, Any]) -> dict[str, Any]:
    windows = []
    for _window in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, 59))
        floor = draw(st.integers(bounds["min_workers"], bounds["max_workers"]))
        end = (start + draw(st.integers(1, 59))) % 60
        once = {"from": f"2026-01-01 00:{min(start, end):02}", "until": f"2026-01-01T00:{max(start, end):02}:00Z"}
        windows.append(
            {
                **(once if draw(st.booleans()) else {"time": f"00:{start:02}-00:{end:02}"}),
                "min_workers": floor,
                "max_workers": draw(st.integers(floor, bounds["max_workers"])),
            }
        )
    return {"windows": windows}


@st.composite
def policies(draw: st.DrawFn, scheduled: bool = True, target: bool = False) -> Policy:
    raw: dict[str, Any] = {"limits": draw(limits())}
    if target:
        raw["target"] = {"wait_time": draw(st.integers(1, 120))}
    elif draw(st.booleans()):
        raw["scale_up"] = {"any": draw(st.lists(ups, min_size=1, max_size=3)), "add": draw(steps)}
        raw["scale_down"] = {"all": draw(st.lists(downs, min_size=1, max_size=3)), "remove": draw(steps)}
    if scheduled:
        raw["schedule"] = draw(schedules(raw["limits"]))
    return parse_policy(raw)


levels = st.sampled_from([0, 1, 9, 10, 29, 30, 50, 51, 75, 80, 81, 99, 100, 101, 500])
shares = st.sampled_from([0, 5, 29, 30, 39, 40, 50, 51, 80, 81, 85, 86, 99, 100])


@st.composite
def histories(draw: st.DrawFn, most: int = 25, unknown: bool = True) -> list[Observation]:
    """Return observations that often stay as they are for a while, as runs need it."""
    at, total, seen = START, 0, []
    values: dict[str, float] = {}
    counts = st.one_of(st.none(), st.integers(0, 28)) if unknown else st.integers(0, 28)
    workers = draw(counts)
    for _turn in range(draw(st.integers(1, most))):
        at += draw(st.sampled_from([1, 15, 30, 60, 120, 400]))
        if draw(st.booleans()):
            values = {name: draw(shares if name in ("cpu", "memory") else levels) for name in OBSERVED}
        if draw(st.booleans()):
            workers = draw(counts)
        total = draw(st.sampled_from([total, total, total + 3, max(0, total - 5)]))
        missing = draw(st.sets(st.sampled_from(OBSERVED), max_size=2)) if unknown and draw(st.booleans()) else set()
        known = {**values, "processed_total": float(total)}
        known = {name: float(value) for name, value in known.items() if name not in missing}
        starting = draw(st.integers(0, 2)) if workers and workers > 2 else 0
        seen.append(Observation(at, workers, known, starting=starting))
    return seen


def play(policy: Policy, history: Sequence[Observation], state: State | None = None) -> tuple[list[Decision], State]:
    state = state or State()
    decisions = []
    for seen in history:
        decision, state = decide(policy, state, seen)
        decisions.append(decision)
    return decisions, state


def holds(condition: Condition, history: Sequence[Observation]) -> bool:
    """What a condition says at the end of a history."""
    now = history[-1].at
    if condition.metric == TASKS_PROCESSED:
        known = []
        for seen in reversed(history):
            if seen.value("processed_total") is None:
                break
            known.insert(0, (seen.at, seen.metrics["processed_total"]))
        begins = [place for place, (at, _count) in enumerate(known) if at <= now - condition.hold]
        if not begins:
            return False
        counts = [count for _at, count in known[begins[-1] :]]
        finished = sum(b - a if b >= a else max(b, 1) for a, b in zip(counts, counts[1:]))
        return condition.comparison.holds(finished, condition.threshold)
    since = None
    for seen in reversed(history):
        value = seen.value(condition.metric)
        if value is None or not condition.comparison.holds(value, condition.threshold):
            break
        since = seen.at
    return since is not None and now - since >= condition.hold


def stepped(rule: Rule, current: int) -> int:
    sizes = []
    if rule.step.workers is not None:
        sizes.append(rule.step.workers)
    if rule.step.percent is not None:
        sizes.append(math.ceil(Fraction(str(rule.step.percent)) * current / 100))
    return max(sizes) if rule.step.choose is Choose.LARGER else min(sizes)


def expected(policy: Policy, history: Sequence[Observation], past: Sequence[Decision]) -> tuple[Action, int | None]:
    """What is to be done at the end of a history, after what was done in its course."""
    assert isinstance(policy.rules, StepRules)
    seen, rules, limits = history[-1], policy.rules, policy.limits
    current = seen.workers
    if current is None:
        return Action.HOLD, None
    floor, ceiling = limits.narrowed(policy.schedule.in_force(seen.at))
    if not floor <= current <= ceiling:
        return Action.BOUNDS, min(max(current, floor), ceiling)
    up = any(holds(condition, history) for condition in rules.up.conditions)
    down = all(holds(condition, history) for condition in rules.down.conditions)
    if all(seen.value(name) is None for name in BROKER_METRICS):
        conditions = (*rules.up.conditions, *rules.down.conditions)
        if not up or any(condition.metric in BROKER_METRICS for condition in conditions):
            return Action.HOLD, current

    def cool(action: Action, cooldown: float) -> bool:
        times = [decision.at for decision in past if decision.action is action]
        return not times or seen.at - times[-1] >= cooldown

    after = current
    if up:
        if cool(Action.UP, limits.cooldown_up):
            after = min(current + min(stepped(rules.up, current), limits.scale_up_max), ceiling)
    elif down and cool(Action.DOWN, limits.cooldown_down):
        after = max(current - min(stepped(rules.down, current), limits.scale_down_max), floor)
    return (Action.UP if after > current else Action.DOWN if after < current else Action.HOLD), after


# A wrong cooldown, or a step that is rounded down, shows in few histories.
@settings(max_examples=8 * settings.default.max_examples)
@given(policies(), histories())
def test_every_decision_is_what_the_whole_history_says(policy: Policy, history: list[Observation]) -> None:
    decisions, _state = play(policy, history)
    for place, decision in enumerate(decisions):
        assert (decision.action, decision.after) == expected(policy, history[: place + 1], decisions[:place])
        assert decision.before == history[place].workers
        assert decision.at == history[place].at
        assert decision.reasons
        assert all(decision.reasons)


@given(st.data(), st.booleans(), histories())
def test_bounds_steps_and_cooldowns_are_never_broken(
    data: st.DataObject, target: bool, history: list[Observation]
) -> None:
    policy = data.draw(policies(target=target))
    last: dict[Action, float] = {}
    for decision in play(policy, history)[0]:
        if decision.after is None:
            assert decision.action is Action.HOLD
            assert decision.before is None
            continue
        assert decision.before is not None
        floor, ceiling = policy.limits.narrowed(policy.schedule.in_force(decision.at))
        assert floor <= decision.after <= ceiling
        moved = decision.after - decision.before
        assert (moved == 0) == (decision.action is Action.HOLD)
        if decision.action is Action.BOUNDS:
            assert not floor <= decision.before <= ceiling
        elif isinstance(policy.rules, StepRules):
            assert -policy.limits.scale_down_max <= moved <= policy.limits.scale_up_max
            cooldown = {Action.UP: policy.limits.cooldown_up, Action.DOWN: policy.limits.cooldown_down}
            if decision.action in cooldown:
                assert decision.at - last.get(decision.action, -math.inf) >= cooldown[decision.action]
                last[decision.action] = decision.at


@given(st.data(), st.booleans(), histories())
def test_what_is_unknown_never_shrinks_a_fleet(data: st.DataObject, target: bool, history: list[Observation]) -> None:
    policy = data.draw(policies(target=target))
    for place, decision in enumerate(play(policy, history)[0]):
        if decision.action is not Action.DOWN:
            continue
        seen = history[place]
        assert any(seen.value(name) is not None for name in BROKER_METRICS)
        if isinstance(policy.rules, StepRules):
            for condition in policy.rules.down.conditions:
                metric = "processed_total" if condition.metric == TASKS_PROCESSED else condition.metric
                window = [look for look in history[: place + 1] if look.at >= seen.at - condition.hold]
                assert all(look.value(metric) is not None for look in window)
        else:
            assert all(seen.value(name) is not None for name in ("queue_depth", "running", "processed_total"))


@given(st.data(), st.booleans(), histories())
def test_the_same_input_gives_the_same_decision(data: st.DataObject, target: bool, history: list[Observation]) -> None:
    policy = data.draw(policies(target=target))
    assert play(policy, history) == play(policy, history)


@given(
    policies(),
    histories(),
    st.sampled_from(["queue_depth", "backlog", "wait_time", "cpu", "memory"]),
    st.floats(0, 500),
)
def test_more_load_never_means_fewer_workers(
    policy: Policy, history: list[Observation], metric: str, more: float
) -> None:
    *before, last = history
    _decisions, state = play(policy, before)
    if last.value(metric) is None or last.workers is None:
        return
    heavier = dataclasses.replace(last, metrics={**last.metrics, metric: last.metrics[metric] + more})
    less, _state = decide(policy, state, last)
    much, _state = decide(policy, state, heavier)
    assert less.after is not None
    assert much.after is not None
    assert much.after >= less.after


def through_json(state: State) -> State:
    return from_json(State, json.loads(json.dumps(to_json(state), allow_nan=False)), "state")


@given(st.data(), st.booleans(), histories(), histories())
def test_a_state_from_json_decides_as_before(
    data: st.DataObject, target: bool, earlier: list[Observation], later: list[Observation]
) -> None:
    policy = data.draw(policies(target=target))
    _decisions, state = play(policy, earlier)
    assert through_json(state) == state
    ahead = earlier[-1].at - START
    later = [dataclasses.replace(seen, at=seen.at + ahead) for seen in later]
    assert play(policy, later, through_json(state)) == play(policy, later, state)


def bare(decisions: Sequence[Decision]) -> list[tuple[object, ...]]:
    return [(decision.action, decision.before, decision.after, decision.reasons) for decision in decisions]


@given(st.data(), st.booleans(), histories(), st.integers(0, 24), st.sampled_from([-86400, -3600, -1, 1, 3600, 86400]))
def test_a_clock_that_was_stepped_changes_no_decision(
    data: st.DataObject, target: bool, history: list[Observation], place: int, step: int
) -> None:
    policy = data.draw(policies(scheduled=False, target=target))
    steady, _state = play(policy, history)
    before, after = history[:place], history[place:]
    first, state = play(policy, before)
    later, _state = play(policy, [dataclasses.replace(seen, at=seen.at + step) for seen in after], state.shifted(step))
    assert bare([*first, *later]) == bare(steady)


@given(st.data(), histories(), st.integers(0, 24), st.sampled_from([1, 60, 3600, 86400]))
def test_a_clock_set_back_that_nobody_noticed_ends_nothing_early(
    data: st.DataObject, history: list[Observation], place: int, back: int
) -> None:
    policy = data.draw(policies(scheduled=False))
    before, after = history[:place], history[place:]
    _decisions, state = play(policy, before)
    if not before or not after or after[0].at - back >= before[-1].at:
        return
    later, _state = play(policy, [dataclasses.replace(seen, at=seen.at - back) for seen in after], state)
    # As if no time had passed between the two looks around the step.
    lost = after[0].at - before[-1].at
    still, _state = play(policy, [dataclasses.replace(seen, at=seen.at - lost) for seen in after], state)
    assert bare(later) == bare(still)


@given(policies(scheduled=False), histories())
def test_a_restart_forgets_runs_and_remembers_cooldowns(policy: Policy, history: list[Observation]) -> None:
    _decisions, state = play(policy, history)
    again = state.restarted()
    assert (again.last_up, again.last_down) == (state.last_up, state.last_down)
    seen = dataclasses.replace(history[-1], at=history[-1].at + 1)
    decision, _state = decide(policy, again, seen)
    assert isinstance(policy.rules, StepRules)
    if decision.action is Action.UP:
        assert any(holds(condition, [seen]) for condition in policy.rules.up.conditions)
    if decision.action is Action.DOWN:
        assert all(holds(condition, [seen]) for condition in policy.rules.down.conditions)
