# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a policy each platform that can apply one keeps, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy, StepRules

EXACT = "exact"

PLATFORMS = ("policy",)  # the engine of this collection


@dataclass(frozen=True)
class Fidelity:
    """What becomes of the part of the policy at the path C(rule): whether it is kept, and how."""

    rule: str
    kept: str
    how: str


def fidelity(policy: Policy) -> list[Fidelity]:
    """Return what the engine of this collection makes of each rule: all of it, everywhere it runs."""
    limits = policy.limits
    parts = [
        ("limits.min_workers", f"never fewer than {limits.min_workers}, at once"),
        ("limits.max_workers", f"never more than {limits.max_workers}, at once; what is over it drains"),
    ]
    if isinstance(policy.rules, StepRules):
        up, down = policy.rules.up, policy.rules.down
        parts += [
            ("limits.scale_up_max", f"at most {limits.scale_up_max} more at once"),
            ("limits.scale_down_max", f"at most {limits.scale_down_max} fewer at once"),
            ("limits.cooldown_up", f"{format_duration(limits.cooldown_up)} between scale-ups"),
            ("limits.cooldown_down", f"{format_duration(limits.cooldown_down)} between scale-downs"),
            *((f"scale_up.any[{place}]", f"grows while {each}") for place, each in enumerate(up.conditions)),
            ("scale_up.add", "of the current count, fractions rounded up"),
            *((f"scale_down.all[{place}]", f"shrinks while {each}") for place, each in enumerate(down.conditions)),
            ("scale_down.remove", "of the current count, fractions rounded up"),
        ]
    else:
        promise = format_duration(policy.rules.wait_time)
        parts.append(("target.wait_time", f"sized so that tasks start within {promise}"))
    parts += [
        (f"schedule.windows[{place}]", f"floor and ceiling of {window.name}, in {policy.schedule.timezone}")
        for place, window in enumerate(policy.schedule.windows)
    ]
    return [Fidelity(rule, EXACT, how) for rule, how in parts]
