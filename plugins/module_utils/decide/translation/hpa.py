# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kubernetes' HorizontalPodAutoscaler makes of a policy. KEDA hands the same to one of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import CPU, MEMORY
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy, Rule, StepRules

LONGEST_PERIOD = 1800  # seconds; the API refuses more
LONGEST_WINDOW = 3600

# Used where a policy asks for no metric that an HPA has: it must have one.
FALLBACK_METRIC = CPU


def resource_metrics(policy: Policy) -> tuple[str, ...]:
    """Return which of cpu and memory the rules of the policy ask for."""
    if not isinstance(policy.rules, StepRules):
        return ()
    asked = {each.metric for rule in (policy.rules.up, policy.rules.down) for each in rule.conditions}
    return tuple(metric for metric in (CPU, MEMORY) if metric in asked)


def metrics_kept(policy: Policy, targets: Mapping[str, int]) -> tuple[str, ...]:
    """Return by which of cpu and memory an HPA scales."""
    return tuple(metric for metric in resource_metrics(policy) if metric in targets) or (FALLBACK_METRIC,)


def horizontal_pod_autoscaler(
    policy: Policy, name: str, workload: str, namespace: str, targets: Mapping[str, int], bounds: Mapping[str, int]
) -> dict[str, Any]:
    """Return the HorizontalPodAutoscaler that comes nearest.

    :param targets: per cent of the requests at which cpu and memory are to be kept; one without it is left out.
    :param bounds: floor and ceiling, as its fields.
    """
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
            **bounds,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": metric,
                        "target": {"type": "Utilization", "averageUtilization": targets[metric]},
                    },
                }
                for metric in metrics_kept(policy, targets)
            ],
            "behavior": behavior(policy, targets),
        },
    }


def behavior(policy: Policy, scaled_by: Collection[str]) -> dict[str, Any]:
    """Return how fast an HPA may go: the steps and cooldowns of the limits as rates, holds as stabilization.

    :param scaled_by: the metrics of conditions that are translated.
    """
    if not isinstance(policy.rules, StepRules):
        # Steps and cooldowns do not apply to a target; when to shrink is left to Kubernetes' own five minutes.
        every = [{"type": "Pods", "value": max(policy.limits.max_workers, 1), "periodSeconds": 1}]
        return {"scaleUp": {"stabilizationWindowSeconds": 0, "policies": every}}
    limits, rules = policy.limits, policy.rules
    return {
        "scaleUp": _direction(limits.scale_up_max, limits.cooldown_up, hold_up(rules.up, scaled_by)),
        "scaleDown": _direction(limits.scale_down_max, limits.cooldown_down, hold_down(rules.down)),
    }


def _direction(step: int, cooldown: float, hold: int) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": hold,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": step, "periodSeconds": period(cooldown)}],
    }


def period(cooldown: float) -> int:
    """Return the seconds over which an HPA may add or remove one step in place of a cooldown."""
    return min(max(math.ceil(cooldown), 1), LONGEST_PERIOD)


def hold_up(rule: Rule, scaled_by: Collection[str]) -> int:
    """Return the seconds for which an HPA has to have wanted more: the shortest hold, as any condition is enough.

    A condition that is not translated never has it grow, so that its hold counts for nothing. Where none is translated,
    what it scales by stands for all of them.

    :param scaled_by: the metrics of conditions that are translated.
    """
    translated = [each.hold for each in rule.conditions if each.metric in scaled_by]
    shortest = min(translated or [each.hold for each in rule.conditions], default=0.0)
    return min(math.ceil(shortest), LONGEST_WINDOW)


def hold_down(rule: Rule) -> int:
    """Return the seconds for which it has to have wanted fewer: the longest hold, as all conditions are needed.

    Those that are not translated count too: without them it would shrink sooner than any policy means it to.
    """
    return min(math.ceil(max((each.hold for each in rule.conditions), default=0.0)), LONGEST_WINDOW)
