# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that are sound and will not do what they look like: each as the path in the policy, and what to say."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import step_size
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    CPU,
    MEMORY,
    METRICS,
    TASKS_PROCESSED,
    Unit,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Comparison,
    Condition,
    Limits,
    Step,
    StepRules,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.values import Values, same_quantity, values_of

_LONG_UP, _LONG_DOWN = 3600.0, 86400.0  # seconds
_NARROW = 0.8  # of the up threshold: a down threshold above that is reached by noise
_NARROW_MEMORY = 5.0  # per cent of the memory
_REACH = {Unit.SECONDS: "never negative", Unit.PERCENT: "in per cent of what the fleet may use"}
_FLEETS_TRIED = 1000  # sizes of a fleet, from the floor on


def rule_advice(limits: Limits, rules: StepRules, floor: int, ceiling: int) -> Iterator[tuple[str, str]]:
    """Yield what to think about again in C(rules), for a fleet of C(floor) to C(ceiling) workers."""
    yield from _each_up(rules)
    yield from _each_down(rules)
    yield from _without_effect(rules)
    yield from _against_each_other(rules)
    yield from _flapping(limits, rules, floor, ceiling)


def _each_up(rules: StepRules) -> Iterator[tuple[str, str]]:
    for place, condition in enumerate(rules.up.conditions):
        path = f"scale_up.any[{place}]"
        yield from _never(path, condition, "never grows the fleet")
        if _looks_for_calm(condition):
            yield path, f"grows the fleet while {condition.metric} is low; did you mean above?"
        if condition.hold > _LONG_UP:
            yield f"{path}.for", f"{format_duration(condition.hold)} is long for a load that waits for workers"


def _each_down(rules: StepRules) -> Iterator[tuple[str, str]]:
    conditions = rules.down.conditions
    for place, condition in enumerate(conditions):
        path = f"scale_down.all[{place}]"
        yield from _never(path, condition, "keeps the fleet from ever shrinking")
        joint = _joint(conditions[:place], condition)
        if not joint.none and joint.meet(values_of(condition)).none and not values_of(condition).none:
            yield path, f"contradicts the other conditions on {condition.metric}: the fleet never shrinks"
        elif condition.comparison is Comparison.ABOVE and _is_load(condition):
            yield path, f"shrinks the fleet while {condition.metric} is high; did you mean below?"
        if condition.hold > _LONG_DOWN:
            yield (f"{path}.for", f"{format_duration(condition.hold)} without a break will hardly ever happen")
    if all(condition.hold == 0 for condition in conditions):
        also = ", and another grows it" if any(c.hold == 0 for c in rules.up.conditions) else ""
        yield "scale_down.all", f"a single look shrinks the fleet{also}: give the conditions a for"


def _never(path: str, condition: Condition, so: str) -> Iterator[tuple[str, str]]:
    """Tell of a condition that cannot hold, or hardly."""
    metric = METRICS[condition.metric]
    if values_of(condition).none:
        reach = _REACH.get(metric.unit, "a whole number from 0 on")
        yield path, f"does not hold, as {condition.metric} is {reach}: it {so}"
    elif condition.comparison is Comparison.EQUALS and (metric.in_percent or condition.threshold):
        yield (
            path,
            f"holds only while {condition.metric} is exactly {condition.threshold:g}, which hardly ever lasts; "
            "did you mean above or below?",
        )
    elif metric.growth_of and condition.hold == 0:
        yield path, "counts from one look to the next, so it depends on their interval: give it a for"


def _is_load(condition: Condition) -> bool:
    return not METRICS[condition.metric].growth_of


def _looks_for_calm(condition: Condition) -> bool:
    calm = condition.comparison is Comparison.BELOW or (
        condition.comparison is Comparison.EQUALS and condition.threshold == 0
    )
    return calm and _is_load(condition) and not values_of(condition).none


def _joint(conditions: tuple[Condition, ...], like: Condition) -> Values:
    """Return the values that all C(conditions) on the same quantity admit."""
    joint = Values(0, float("inf"))
    for condition in conditions:
        if same_quantity(condition, like):
            joint = joint.meet(values_of(condition))
    return joint


def _without_effect(rules: StepRules) -> Iterator[tuple[str, str]]:
    """Tell of conditions that another one makes superfluous: of equal ones the later."""
    for path, conditions, joined in (
        ("scale_up.any", rules.up.conditions, "any"),
        ("scale_down.all", rules.down.conditions, "all"),
    ):
        for place, condition in enumerate(conditions):
            for other_place, other in enumerate(conditions):
                if place == other_place or not same_quantity(condition, other) or values_of(other).none:
                    continue
                wide, narrow = (other, condition) if joined == "any" else (condition, other)
                implied = values_of(narrow).inside(values_of(wide)) and narrow.hold >= wide.hold
                if implied and not values_of(condition).none and (condition != other or place > other_place):
                    yield (
                        f"{path}[{place}]",
                        f"changes nothing beside {path}[{other_place}], which says as much and more",
                    )
                    break


def _against_each_other(rules: StepRules) -> Iterator[tuple[str, str]]:
    downs = rules.down.conditions
    for place, condition in enumerate(rules.up.conditions):
        if not any(same_quantity(condition, down) for down in downs):
            continue
        joint = _joint(downs, condition)
        if not joint.none and not joint.meet(values_of(condition)).none:
            yield (
                f"scale_up.any[{place}]",
                f"{condition.metric} can satisfy it and scale_down.all at once: up wins, and the fleet grows where "
                "it should shrink",
            )


def _flapping(limits: Limits, rules: StepRules, floor: int, ceiling: int) -> Iterator[tuple[str, str]]:
    downs = rules.down.conditions
    idle = any(c.metric == TASKS_PROCESSED and values_of(c).high == 0 for c in downs)
    seen: set[str] = set()
    for place, up in enumerate(rules.up.conditions):
        if up.comparison is not Comparison.ABOVE or not _is_load(up) or values_of(up).none:
            continue
        path = f"scale_up.any[{place}]"
        if not idle and not any(_tells_of(down) == _tells_of(up) for down in downs):
            # Told once for what waits, however many conditions grow on it.
            if _tells_of(up) not in seen:
                seen.add(_tells_of(up))
                yield (
                    "scale_down.all",
                    f"does not look at {up.metric}, on which {path} grows the fleet: as soon as it is not above "
                    f"{up.threshold:g} the fleet may shrink, and grow again",
                )
            continue
        lows = [down.threshold for down in downs if (down.metric, down.comparison) == (up.metric, Comparison.BELOW)]
        if not lows:
            continue
        low = min(lows)
        if up.metric == CPU:
            if not idle and (flap := _shrinks_into_growth(limits, rules.down.step, low, up.threshold, floor, ceiling)):
                before, after = flap
                yield (
                    path,
                    f"cpu just below {low:g} on {before} workers is {low * before / after:.3g} on {after}, which is "
                    f"above {up.threshold:g}: the fleet shrinks and grows in turn. Set them farther apart",
                )
        elif up.threshold - low < _NARROW_MEMORY if up.metric == MEMORY else low > _NARROW * up.threshold:
            yield (
                path,
                f"{up.metric} above {up.threshold:g} and below {low:g} are so close that the fleet will shrink and "
                "grow in turn. Set them farther apart",
            )


def _tells_of(condition: Condition) -> str:
    return "what waits" if METRICS[condition.metric].waiting else condition.metric


def _shrinks_into_growth(
    limits: Limits, step: Step, low: float, high: float, floor: int, ceiling: int
) -> tuple[int, int] | None:
    """Return the first C((before, after)) where shrinking alone brings the load from C(low) over C(high)."""
    for before in range(floor + 1, min(ceiling, floor + _FLEETS_TRIED) + 1):
        after = max(floor, before - min(step_size(step, before), limits.scale_down_max))
        if 0 < after < before and low * before / after > high:
            return before, after
    return None
