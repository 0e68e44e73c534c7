# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: one observation in, one decision out. No clock, no I/O, no memory but the state it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BROKER_METRICS,
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    RUNNING,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Choose,
    Policy,
    Rule,
    Step,
    StepRules,
    WaitTarget,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.runs import EXACT, Run, Verdict, judge
from ansible_collections.muejam.celery.plugins.module_utils.decide.sizing import Sizing, ordered, size
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.wording import shown


class Action(str, Enum):
    """What a decision does: nothing, grow, shrink, or go where the bounds are."""

    HOLD = "hold"
    UP = "up"
    DOWN = "down"
    BOUNDS = "bounds"


@dataclass(frozen=True)
class Decision:
    """C(before) and C(after) are numbers of workers; C(after) is None where the count is unknown."""

    at: float
    action: Action
    before: int | None
    after: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class State(OnAClock):
    """What the engine remembers from one observation to the next.

    A clock that was set forward looks like time that went by, which would end cooldowns and runs early. The engine
    cannot tell the two apart; whoever has a second clock can, and passes C(shifted) here before it decides.

    :param at: when the last observation was made, in seconds since the epoch.
    :param last_up: when the fleet was last grown by the up rule; C(last_down) likewise.
    :param runs_up: one run for each condition of the up rule; C(runs_down) likewise.
    :param sizing: what a target policy has learned of the fleet and its tasks.
    """

    at: float | None = field(default=None, metadata=INSTANT)
    last_up: float | None = field(default=None, metadata=INSTANT)
    last_down: float | None = field(default=None, metadata=INSTANT)
    runs_up: tuple[Run, ...] = ()
    runs_down: tuple[Run, ...] = ()
    sizing: Sizing = field(default_factory=Sizing)

    def restarted(self) -> State:
        """Return what is left after a restart: runs begin anew, cooldowns are remembered."""
        return State(at=self.at, last_up=self.last_up, last_down=self.last_down, sizing=self.sizing.restarted())

    def at_time(self, now: float) -> State:
        """Return the state on the clock that shows C(now).

        A clock that was set back would make every cooldown and run look unfinished for as long as it was set
        back; their ages are kept instead, as if no time had passed since the last observation.
        """
        if self.at is None or now >= self.at:
            return replace(self, at=now)
        return self.shifted(now - self.at)


@dataclass(frozen=True)
class _Bounds:
    floor: int
    ceiling: int
    floor_from: str
    ceiling_from: str


def decide(policy: Policy, state: State, seen: Observation, pause: Pause | None = None) -> tuple[Decision, State]:
    """Return the decision for C(seen) and the state to pass in with the next observation.

    :param pause: while it holds, its number is floor and ceiling in place of those of the policy.
    """
    state = state.at_time(seen.at)
    if pause is not None and not pause.holds(seen.at):
        pause = None
    if isinstance(policy.rules, WaitTarget):
        decision, state = _decide_by_target(policy, policy.rules, state, seen, pause)
    else:
        decision, state = _decide_by_steps(policy, policy.rules, state, seen, pause)
    down = tuple(f"{name} is down ({why}) and does not count" for name, why in seen.down.items())
    return replace(decision, reasons=(*decision.reasons, *down)), state


def withdrawn(before: State, after: State) -> State:
    """Return the state for the next observation when the decision that led to C(after) could not be carried out.

    What was seen stays seen. No cooldown has begun, and no worker is on its way.
    """
    sizing = replace(after.sizing, starts=before.sizing.starts, shrunk_at=before.sizing.shrunk_at)
    return replace(after, last_up=before.last_up, last_down=before.last_down, sizing=sizing)


def _decide_by_target(
    policy: Policy, target: WaitTarget, state: State, seen: Observation, pause: Pause | None
) -> tuple[Decision, State]:
    current = seen.workers
    if current is None:
        return _count_unknown(seen), state
    bounds = _bounds(policy, seen, pause)
    sized, memory = size(target.wait_time, state.sizing, seen, current, bounds.floor, bounds.ceiling)
    if pause is not None:
        decision = _paused(policy, pause, seen.at, current, bounds)
    elif not bounds.floor <= current <= bounds.ceiling:
        decision = _into_bounds(seen.at, current, bounds)
    elif sized is None:
        unknown = [name for name in (QUEUE_DEPTH, RUNNING, PROCESSED_TOTAL) if seen.value(name) is None]
        why = ", ".join(f"{name} is unknown ({seen.why_unknown(name)})" for name in unknown)
        decision = Decision(seen.at, Action.HOLD, current, current, (f"{why}: the fleet is left as it is",))
    else:
        action = Action.UP if sized.workers > current else Action.DOWN if sized.workers < current else Action.HOLD
        reasons = [sized.reason]
        if sized.short:
            reasons.append(f"more are wanted than the ceiling of {bounds.ceiling} ({bounds.ceiling_from}) allows")
        decision = Decision(seen.at, action, current, sized.workers, tuple(reasons))
    after = current if decision.after is None else decision.after
    return decision, replace(state, sizing=ordered(memory, seen.at, current, after))


def _count_unknown(seen: Observation) -> Decision:
    reason = f"the number of workers is unknown ({seen.why_unknown('workers')}): nothing is changed"
    return Decision(seen.at, Action.HOLD, None, None, (reason,))


def _decide_by_steps(
    policy: Policy, rules: StepRules, state: State, seen: Observation, pause: Pause | None
) -> tuple[Decision, State]:
    ups, runs_up = _judge_all(rules.up, state.runs_up, seen)
    # What was calm while nothing could come in was not calm.
    downs, runs_down = _judge_all(rules.down, () if seen.blocked else state.runs_down, seen)
    state = replace(state, runs_up=runs_up, runs_down=runs_down)
    current = seen.workers
    if current is None:
        return _count_unknown(seen), state

    bounds = _bounds(policy, seen, pause)
    if pause is not None:
        return _paused(policy, pause, seen.at, current, bounds), state
    if not bounds.floor <= current <= bounds.ceiling:
        return _into_bounds(seen.at, current, bounds), state

    grow, shrink = any(verdict.holds for verdict in ups), all(verdict.holds for verdict in downs)
    unread = _unread(seen)
    # Even a policy that never looks at the broker does not shrink a fleet whose broker nobody could look at.
    if unread is not None and (_looks_at_broker(rules) or (shrink and not grow)):
        return Decision(seen.at, Action.HOLD, current, current, (unread,)), state
    if grow:
        reasons = [verdict.text for verdict in ups if verdict.holds]
        return _move(policy, rules.up, state, seen.at, current, bounds, reasons, up=True)
    if shrink and seen.blocked:
        reason = f"the broker takes no tasks, so no worker is taken away: {seen.blocked}"
        return Decision(seen.at, Action.HOLD, current, current, (reason,)), state
    if shrink:
        reasons = [verdict.text for verdict in downs]
        return _move(policy, rules.down, state, seen.at, current, bounds, reasons, up=False)
    reasons = [f"no scale-up: {verdict.text}" for verdict in ups]
    reasons += [f"no scale-down: {verdict.text}" for verdict in downs if not verdict.holds]
    return Decision(seen.at, Action.HOLD, current, current, tuple(reasons)), state


def _judge_all(rule: Rule, runs: tuple[Run, ...], seen: Observation) -> tuple[tuple[Verdict, ...], tuple[Run, ...]]:
    # A state from before the policy was changed has runs of other conditions.
    known = {run.condition: run for run in runs}
    judged = [judge(condition, known.get(condition, Run(condition)), seen) for condition in rule.conditions]
    return tuple(verdict for verdict, _run in judged), tuple(run for _verdict, run in judged)


def _bounds(policy: Policy, seen: Observation, pause: Pause | None) -> _Bounds:
    if pause is not None:
        floor = ceiling = pause.workers
        origin = "the pause"
    else:
        window = policy.schedule.in_force(seen.at)
        floor, ceiling = policy.limits.narrowed(window)
        origin = "the limits" if window is None else f"window {window.name}"
    if seen.room is None or seen.room >= ceiling:
        return _Bounds(floor, ceiling, origin, origin)
    room = "the room on the hosts"
    return _Bounds(min(floor, seen.room), seen.room, origin if floor <= seen.room else room, room)


def _into_bounds(at: float, current: int, bounds: _Bounds) -> Decision:
    if current < bounds.floor:
        reason = f"{current} workers are below the floor of {bounds.floor} ({bounds.floor_from})"
        return Decision(at, Action.BOUNDS, current, bounds.floor, (reason,))
    reason = f"{current} workers are above the ceiling of {bounds.ceiling} ({bounds.ceiling_from})"
    return Decision(at, Action.BOUNDS, current, bounds.ceiling, (reason,))


def _paused(policy: Policy, pause: Pause, at: float, current: int, bounds: _Bounds) -> Decision:
    reasons = [pause.in_words(zone_of(policy.schedule.timezone))]
    after = bounds.ceiling
    if after < pause.workers:
        reasons.append(f"{pause.workers} workers are cut to the ceiling of {after} ({bounds.ceiling_from})")
    return Decision(at, Action.HOLD if after == current else Action.BOUNDS, current, after, tuple(reasons))


def _looks_at_broker(rules: StepRules) -> bool:
    return any(c.metric in BROKER_METRICS for rule in (rules.up, rules.down) for c in rule.conditions)


def _unread(seen: Observation) -> str | None:
    """Return that the broker could not be read, where nothing that comes from it is known, else None."""
    if any(seen.value(metric) is not None for metric in BROKER_METRICS):
        return None
    return (
        f"the broker could not be read: {QUEUE_DEPTH} is unknown ({seen.why_unknown(QUEUE_DEPTH)}): "
        "the fleet is left as it is"
    )


def _move(
    policy: Policy, rule: Rule, state: State, at: float, current: int, bounds: _Bounds, reasons: Sequence[str], up: bool
) -> tuple[Decision, State]:
    """Grow (C(up)) or shrink by a step of C(rule), as far as the cooldown, the limits and the bounds let it."""
    limits, noted = policy.limits, list(reasons)
    if up:
        way, most, left = "up", limits.scale_up_max, _left(state.last_up, limits.cooldown_up, at)
    else:
        way, most, left = "down", limits.scale_down_max, _left(state.last_down, limits.cooldown_down, at)
    if left > 0:
        noted.append(f"scale-{way} is cooling down for another {shown(left)}s")
        return Decision(at, Action.HOLD, current, current, tuple(noted)), state
    wanted = step_size(rule.step, current)
    step = min(wanted, most)
    if step < wanted:
        noted.append(f"a step of {wanted} is cut to scale_{way}_max {step}")
    if wanted == 0:
        noted.append(f"the step is none at {current} workers")
    aim = current + step if up else current - step
    after = max(bounds.floor, min(aim, bounds.ceiling))
    if after < aim:
        noted.append(f"{aim} workers are cut to the ceiling of {bounds.ceiling} ({bounds.ceiling_from})")
    elif after > aim:
        noted.append(f"{aim} workers are raised to the floor of {bounds.floor} ({bounds.floor_from})")
    if after == current:
        return Decision(at, Action.HOLD, current, current, tuple(noted)), state
    moved = replace(state, last_up=at) if up else replace(state, last_down=at)
    return Decision(at, Action.UP if up else Action.DOWN, current, after, tuple(noted)), moved


def step_size(step: Step, current: int) -> int:
    """Return how many workers C(step) is at C(current) workers; fractions of a worker round up.

    It is the least for a fleet of 0, and no smaller for a larger fleet: advice goes by that.
    """
    # Fractions of decimal text: 10 % of 30 is 3, where floats make it 3.0000000000000004 and round it to 4.
    share = None if step.percent is None else math.ceil(current * Fraction(str(step.percent)) / 100)
    if share is None or step.workers is None:
        return share if share is not None else step.workers or 0
    return max(step.workers, share) if step.choose is Choose.LARGER else min(step.workers, share)


def _left(last: float | None, cooldown: float, at: float) -> float:
    """Return how many seconds of C(cooldown) are left; none when it is met at exactly its length."""
    if last is None:
        return 0.0
    left = cooldown - (at - last)
    return left if left > EXACT else 0.0
