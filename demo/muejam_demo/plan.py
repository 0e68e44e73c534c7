# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: the tasks that are published, and the fleet with its policy as the inventory has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition, Policy, Step, StepRules

from .playbooks import INVENTORY


@dataclass(frozen=True)
class Load:
    """The tasks that are published: how many before the burst, in it and after it.

    :ivar trickle: published tasks a second before and after the burst; C(rate) is that of the burst.
    :ivar shortest: seconds a task takes; C(longest) too.
    :ivar priorities: those of the tasks, by chance; all that the application has where there are none.
    """

    before: int
    burst: int
    after: int
    trickle: float
    rate: float
    shortest: float
    longest: float
    priorities: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many in all."""
        return self.before + self.burst + self.after

    def options(self) -> tuple[str, ...]:
        """Return the options with which they are published."""
        numbers = {
            "before": self.before,
            "count": self.burst,
            "after": self.after,
            "trickle": self.trickle,
            "rate": self.rate,
            "min": self.shortest,
            "max": self.longest,
        }
        options = tuple(text for name, number in numbers.items() for text in (f"--{name}", str(number)))
        return (*options, "--priority", *map(str, self.priorities)) if self.priorities else options

    def __str__(self) -> str:
        return (
            f"{self.before} tasks trickle in, {self.burst} come at once, {self.after} trickle in: "
            f"{self.shortest} to {self.longest} s each, in {len(self.priorities) or 'three'} priorities"
        )


LOAD = Load(before=16, burst=500, after=144, trickle=2.0, rate=100.0, shortest=0.05, longest=2.0)
# Pods take long to start on two cores, and longer tasks give them the time.
CLUSTER_LOAD = Load(before=6, burst=300, after=80, trickle=1.0, rate=100.0, shortest=0.5, longest=1.5)

PROMISE = "15s"  # of the policy in target mode that the run is compared with


@dataclass(frozen=True)
class Fleet:
    """The demo's fleet: tasks that a worker runs at once, its policy, seconds between two decisions.

    :ivar list_length: messages for which KEDA wants a worker, where it is told.
    """

    concurrency: int
    policy: Policy
    interval: float
    list_length: int | None = None

    @property
    def floor(self) -> int:
        """The least number of workers."""
        return self.policy.limits.min_workers

    @property
    def ceiling(self) -> int:
        """The largest number of workers."""
        return self.policy.limits.max_workers


def fleet(inventory: Path = INVENTORY) -> Fleet:
    """Read the fleet from an inventory of the demo. Its windows are for who deploys it to give; the demo has none."""
    read: Any = load_document(str(inventory), "the demo's inventory")
    variables = read["celery_workers"]["vars"]
    described: Mapping[str, Any] = variables["celery_worker_fleets"][0]
    return Fleet(
        concurrency=described["concurrency"],
        policy=parse_policy({key: value for key, value in described["policy"].items() if key != "schedule"}),
        interval=parse_duration(variables["celery_autoscaler_interval"]),
        list_length=described.get("autoscaling_options", {}).get("list_length"),
    )


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
