# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy says, as values. How one is written and checked: parse.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    CPU,
    MEMORY,
    QUEUE_DEPTH,
    TASKS_PROCESSED,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import Schedule, Window


class Comparison(str, Enum):
    """How a metric is held against a threshold; above and below are strict."""

    ABOVE = "above"
    BELOW = "below"
    EQUALS = "equals"

    @property
    def words(self) -> str:
        """How it reads after C(is) and C(is not)."""
        return "equal to" if self is Comparison.EQUALS else self.value

    def holds(self, value: float, threshold: float) -> bool:
        """Return whether C(value) satisfies the comparison with C(threshold)."""
        return self.surely(value, value, threshold)

    def surely(self, at_least: float, at_most: float | None, threshold: float) -> bool:
        """Return whether every value between the two bounds satisfies it. An C(at_most) of None is no bound."""
        if self is Comparison.ABOVE:
            return at_least > threshold
        if self is Comparison.BELOW:
            return at_most is not None and at_most < threshold
        return at_least == at_most == threshold


class Choose(str, Enum):
    """Which of two step sizes counts."""

    LARGER = "larger"
    SMALLER = "smaller"


@dataclass(frozen=True)
class Limits:
    """Bounds in workers, steps in workers, cooldowns in seconds."""

    min_workers: int = 2
    max_workers: int = 20
    scale_up_max: int = 5
    scale_down_max: int = 2
    cooldown_up: float = 60.0
    cooldown_down: float = 300.0

    def narrowed(self, window: Window | None) -> tuple[int, int]:
        """Return the floor and the ceiling that hold inside C(window), or outside all windows."""
        floor, ceiling = self.min_workers, self.max_workers
        if window is not None:
            if window.min_workers is not None:
                floor = max(floor, window.min_workers)
            if window.max_workers is not None:
                ceiling = min(ceiling, window.max_workers)
        return floor, ceiling


@dataclass(frozen=True)
class Condition:
    """One metric against one threshold, for C(hold) seconds without a break.

    The unit of C(threshold) is the metric's: messages, seconds, per cent or tasks.
    """

    metric: str
    comparison: Comparison
    threshold: float
    hold: float = 0.0

    def __str__(self) -> str:
        text = f"{self.metric} {self.comparison.value} {self.threshold:g}"
        return f"{text} for {self.hold:g}s" if self.hold else text


@dataclass(frozen=True)
class Step:
    """How many workers to add or remove: a number, a share of the current count, or the one of both."""

    workers: int | None = None
    percent: float | None = None
    choose: Choose = Choose.LARGER


@dataclass(frozen=True)
class Rule:
    """When to move, and by how much. C(conditions) are joined by any (up) or all (down)."""

    conditions: tuple[Condition, ...]
    step: Step


_DEFAULT_UP = Rule(
    conditions=(
        Condition(QUEUE_DEPTH, Comparison.ABOVE, 100, 60),
        Condition(CPU, Comparison.ABOVE, 80, 120),
        Condition(MEMORY, Comparison.ABOVE, 85, 120),
        Condition(WAIT_TIME, Comparison.ABOVE, 30),
    ),
    step=Step(workers=2, percent=50, choose=Choose.LARGER),
)
_DEFAULT_DOWN = Rule(
    conditions=(
        Condition(QUEUE_DEPTH, Comparison.BELOW, 10, 300),
        Condition(CPU, Comparison.BELOW, 30, 300),
        Condition(MEMORY, Comparison.BELOW, 40, 300),
        Condition(TASKS_PROCESSED, Comparison.EQUALS, 0, 120),
    ),
    step=Step(workers=1, percent=25, choose=Choose.SMALLER),
)


@dataclass(frozen=True)
class StepRules:
    """Grow by a step when the up rule holds, shrink by a step when the down rule does."""

    up: Rule = _DEFAULT_UP
    down: Rule = _DEFAULT_DOWN


@dataclass(frozen=True)
class WaitTarget:
    """Size the fleet so that tasks start within C(wait_time) seconds."""

    wait_time: float


@dataclass(frozen=True)
class Policy:
    """Everything a decision is made from, besides the observation and the state."""

    limits: Limits = Limits()
    rules: StepRules | WaitTarget = StepRules()
    schedule: Schedule = field(default_factory=Schedule)


def promised_wait(policy: Policy) -> float | None:
    """Return the seconds that the policy wants tasks to wait at most, None where it names none."""
    if isinstance(policy.rules, WaitTarget):
        return policy.rules.wait_time
    thresholds = (
        condition.threshold
        for condition in policy.rules.up.conditions
        if condition.metric == WAIT_TIME and condition.comparison is Comparison.ABOVE
    )
    return min(thresholds, default=None)
