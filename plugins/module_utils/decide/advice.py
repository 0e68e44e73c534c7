# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform engineer would want to hear of a policy that is sound but will not do what it looks like."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ansible_collections.muejam.celery.plugins.module_utils.decide.advice_on_rules import rule_advice
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice_on_windows import (
    bounds_to_come,
    seconds,
    window_advice,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import step_size
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BROKER_METRICS,
    METRICS,
    WAIT_TIME,
    WAITING_METRICS,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Limits,
    Policy,
    StepRules,
    WaitTarget,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.remark import Remark
from ansible_collections.muejam.celery.plugins.module_utils.decide.values import values_of

# What the least application takes to consume; shorter times are shorter than any worker's start.
_QUICK_START = 5.0  # seconds


def advise(policy: Policy, at: float) -> list[Remark]:
    """Return what is allowed in C(policy) and still will flap, never fire, have no effect or contradict itself.

    :param at: seconds since the epoch; a window that is over by then has no effect any more.

    An empty list is no promise: what depends on the tasks cannot be told from the policy.
    """
    return [Remark(path, message) for path, message in (*_on_deciding(policy, at), *window_advice(policy, at))]


def _on_deciding(policy: Policy, at: float) -> Iterator[tuple[str, str]]:
    bounds = bounds_to_come(policy, at)
    if all(floor == ceiling for floor, ceiling in bounds):
        yield "limits", "floor and ceiling are the same at every hour: nothing is ever decided between them"
        return
    if isinstance(policy.rules, WaitTarget):
        yield from _target(policy.limits, policy.rules)
        return
    floor, ceiling = min(low for low, _high in bounds), max(high for _low, high in bounds)
    yield from _cooldowns(policy, policy.rules)
    yield from _steps(policy.limits, policy.rules)
    yield from rule_advice(policy.limits, policy.rules, floor, ceiling)
    if floor == 0:
        yield from _from_zero(policy.rules)


def _target(limits: Limits, target: WaitTarget) -> Iterator[tuple[str, str]]:
    for name in ("scale_up_max", "scale_down_max", "cooldown_up", "cooldown_down"):
        if getattr(limits, name) != getattr(Limits(), name):
            yield f"limits.{name}", "does not apply beside target, which goes to the size it wants at once"
    if target.wait_time < _QUICK_START:
        yield (
            "target.wait_time",
            f"{format_duration(target.wait_time)} is less than a worker takes to start: a burst waits longer, unless "
            "min_workers are enough for it",
        )


def _cooldowns(policy: Policy, rules: StepRules) -> Iterator[tuple[str, str]]:
    up, down = policy.limits.cooldown_up, policy.limits.cooldown_down
    quickest = min(condition.hold for condition in rules.up.conditions)
    if up < _QUICK_START:
        yield (
            "limits.cooldown_up",
            f"{format_duration(up)} is less than a worker takes to start: the fleet grows again before the last ones "
            "help, up to its ceiling",
        )
    if down == 0:
        yield "limits.cooldown_down", "0s lets every look shrink the fleet again, down to its floor"
    elif down < quickest:
        yield (
            "limits.cooldown_down",
            f"{format_duration(down)} is less than the shortest for of scale_up, {format_duration(quickest)}: the "
            "fleet shrinks again before it can show that it is too small",
        )
    for window in policy.schedule.windows:
        if seconds(window) < up:
            yield (
                "limits.cooldown_up",
                f"{format_duration(up)} is longer than window {window.name} lasts: the fleet grows once in it at most",
            )


def _steps(limits: Limits, rules: StepRules) -> Iterator[tuple[str, str]]:
    for path, step, name in (
        ("scale_up.add", rules.up.step, "scale_up_max"),
        ("scale_down.remove", rules.down.step, "scale_down_max"),
    ):
        most: int = getattr(limits, name)
        least = step_size(step, 0)
        if least > most:
            yield path, f"is {least} workers or more, which limits.{name} always cuts to {most}"


def _from_zero(rules: StepRules) -> Iterator[tuple[str, str]]:
    if not any(condition.metric in BROKER_METRICS for condition in rules.up.conditions):
        yield (
            "scale_up.any",
            "looks at workers only, and the floor is 0: where no worker is there is nothing to see, and the fleet "
            f"never grows again. Add a condition on {', '.join(WAITING_METRICS[:-1])} or {WAITING_METRICS[-1]}",
        )
    elif (needed := _tasks_to_come_back(rules)) > 1:
        yield (
            "scale_up.any",
            f"brings a fleet of 0 workers back only when {needed:g} tasks wait, and the floor is 0: fewer wait for "
            f"ever. Lower a threshold to 0, or add a condition on {WAIT_TIME}",
        )
    if step_size(rules.up.step, 0) == 0:
        yield "scale_up.add", "adds nothing to a fleet of 0 workers, and the floor is 0: such a fleet never grows"


def _tasks_to_come_back(rules: StepRules) -> float:
    """Return how many tasks must wait until a fleet of no workers grows; 0 where nothing can be told of it."""
    fewest = math.inf
    for condition in rules.up.conditions:
        values = values_of(condition)
        metric = METRICS[condition.metric]
        if not metric.waiting or values.none:
            continue
        # What is no count, such as the wait of the first task, grows until it meets any threshold.
        if not metric.counts or values.low <= 1 <= values.high:
            return 1
        fewest = min(fewest, values.low)
    return fewest if math.isfinite(fewest) else 0
