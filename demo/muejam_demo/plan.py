# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: the tasks that are published, and the fleet with its policy as the inventory has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition, Policy, Step, StepRules

from .playbooks import INVENTORY

TRICKLE = 2.0  # published tasks a second before and after the burst
BEFORE, BURST, AFTER = 16, 500, 144  # tasks
RATE = 100.0  # published tasks a second in the burst
COUNT = BEFORE + BURST + AFTER
SHORTEST, LONGEST = 0.05, 2.0  # seconds a task takes

PROMISE = "15s"  # of the policy in target mode that the run is compared with


@dataclass(frozen=True)
class Fleet:
    """The demo's fleet: tasks that a worker runs at once, its policy, seconds between two decisions."""

    concurrency: int
    policy: Policy
    interval: float

    @property
    def floor(self) -> int:
        """The least number of workers."""
        return self.policy.limits.min_workers

    @property
    def ceiling(self) -> int:
        """The largest number of workers."""
        return self.policy.limits.max_workers


def fleet() -> Fleet:
    """Read the fleet from the inventory."""
    inventory: Any = load_document(str(INVENTORY), "the demo's inventory")
    variables = inventory["celery_workers"]["vars"]
    described: Mapping[str, Any] = variables["celery_worker_fleets"][0]
    return Fleet(
        concurrency=described["concurrency"],
        policy=parse_policy(described["policy"]),
        interval=parse_duration(variables["celery_autoscaler_interval"]),
    )


def send_options() -> tuple[str, ...]:
    """Return the options with which the tasks are published."""
    numbers = {
        "before": BEFORE,
        "count": BURST,
        "after": AFTER,
        "trickle": TRICKLE,
        "rate": RATE,
        "min": SHORTEST,
        "max": LONGEST,
    }
    return tuple(text for name, number in numbers.items() for text in (f"--{name}", str(number)))


def in_words(policy: Policy) -> list[str]:
    """Return what a policy of steps says, in a few lines."""
    limits, rules = policy.limits, policy.rules
    if not isinstance(rules, StepRules):
        raise TypeError("the demo's policy is one of steps")
    ups = ", or ".join(_condition(condition) for condition in rules.up.conditions)
    downs = ", and ".join(_condition(condition) for condition in rules.down.conditions)
    return [
        f"from {limits.min_workers} to {limits.max_workers} workers",
        f"more when {ups}: by {_step(rules.up.step)}, {limits.scale_up_max} at most, every {limits.cooldown_up:g}s",
        f"fewer when {downs}: by {_step(rules.down.step)}, {limits.scale_down_max} at most, "
        f"every {limits.cooldown_down:g}s",
    ]


def _condition(condition: Condition) -> str:
    unit = {Unit.SECONDS: "s", Unit.PERCENT: " %"}.get(METRICS[condition.metric].unit, "")
    text = f"{condition.metric} is {condition.comparison.words} {condition.threshold:g}{unit}"
    return f"{text} for {condition.hold:g}s" if condition.hold else text


def _step(step: Step) -> str:
    parts = [] if step.workers is None else [str(step.workers)]
    if step.percent is not None:
        parts.append(f"{step.percent:g} %")
    return f"the {step.choose.value} of {' and '.join(parts)}" if len(parts) > 1 else parts[0]
