# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a policy each one that can carry it out keeps, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    CPU,
    MEMORY,
    QUEUE_DEPTH,
    TASKS_PROCESSED,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition, Policy, Rule, StepRules
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import OddEdge
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import LAST_YEAR
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.hpa import (
    FALLBACK_METRIC,
    LONGEST_PERIOD,
    hold_down,
    hold_up,
    period,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.keda import (
    Asked,
    out_of_reach,
    scaled_by,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import (
    HPA,
    SCALED_OBJECT,
    Owner,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.yearly import of_window, on_dates, yearly
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow, WeeklyWindow

EXACT = "exact"
APPROXIMATED = "approximated"
DROPPED = "dropped"

AUTOSCALERS = ("policy", "keda", "hpa", "schedule")
"""The engine of this collection, and those that a policy can be translated for."""


@dataclass(frozen=True)
class Fidelity:
    """What becomes of the part of the policy at the path C(rule): whether it is kept, and how."""

    rule: str
    kept: str
    how: str


def of_engine(policy: Policy) -> list[Fidelity]:
    """Return what the engine of this collection makes of each part: all of it, everywhere it runs."""
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
            *((path, f"grows while {each}") for path, each in _conditions(up, "scale_up.any")),
            ("scale_up.add", "of the current count, fractions rounded up"),
            *((path, f"shrinks while {each}") for path, each in _conditions(down, "scale_down.all")),
            ("scale_down.remove", "of the current count, fractions rounded up"),
        ]
    else:
        promise = format_duration(policy.rules.wait_time)
        parts.append(("target.wait_time", f"sized so that tasks start within {promise}"))
    parts += [
        (path, f"floor and ceiling of {window.name}, {_when(policy, window)}") for path, window in _windows(policy)
    ]
    return [Fidelity(rule, EXACT, how) for rule, how in parts]


def of_keda(
    policy: Policy, asked: Asked, unseen: Sequence[str], foreign: str, odd: Sequence[OddEdge], at: float
) -> list[Fidelity]:
    """Return what a ScaledObject makes of each part.

    :param unseen: what of the backlog the broker's triggers do not count, in words.
    :param foreign: what of others they count as well, in words.
    :param odd: edges that a change of the clock touches.
    :param at: seconds since the epoch; windows that are over by then need nothing.
    """
    limits, length = policy.limits, asked.list_length
    found = [
        Fidelity("limits.min_workers", EXACT, f"minReplicaCount: {limits.min_workers}"),
        Fidelity("limits.max_workers", EXACT, f"maxReplicaCount: {limits.max_workers}"),
    ]
    # KEDA's own interval is for a fleet that is at 0; of any other the HPA asks at each of its looks.
    often = f", asked for every {asked.polling_interval}s at 0 workers" if not limits.min_workers else ""
    depth = f"a worker for each {length} messages{often}"
    if unseen:
        depth += f"; not counted: {', '.join(unseen)}"
    too = f"; counted too: {foreign}" if foreign else ""
    if isinstance(policy.rules, StepRules):
        found += _rates(policy) if asked.whole else _no_rates(policy, "only lists and bounds are translated")
        held_up = _held(hold_up(policy.rules.up, scaled_by(asked)) if asked.whole else 0)
        held_down = _held(hold_down(policy.rules.down) if asked.whole else 0)
        targets = asked.targets if asked.whole else {}
        up = {QUEUE_DEPTH: f"{depth}, in place of steps{held_up}{too}", **_utilizations(targets, held_up)}
        down = {
            QUEUE_DEPTH: f"shrinks to a worker for each {length} messages{held_down}",
            **_utilizations(targets, held_down),
        }
        found += _rules(policy.rules, up, down, unseen=_unseen(asked.whole))
    else:
        found.append(Fidelity("target.wait_time", DROPPED, f"KEDA knows no wait; {depth}{too}"))
    for path, window in _windows(policy):
        if not asked.whole:
            found.append(Fidelity(path, DROPPED, "only lists and bounds are translated"))
            continue
        floor, ceiling = limits.narrowed(window)
        if asked.jobs:
            # A window that CronJobs cannot keep may yet have its floor by a cron trigger.
            by_jobs = _by_jobs(policy, path, window, SCALED_OBJECT, odd, at)
            if isinstance(window, OneOffWindow) and by_jobs.kept == DROPPED:
                by_jobs = _trigger(policy, path, window, at)
            found.append(by_jobs)
            continue
        if isinstance(window, OneOffWindow):
            found.append(_over(policy, path, window, at) or _trigger(policy, path, window, at))
            continue
        by = "a cron trigger, to within HPA's tolerance of 10 %" if floor > limits.min_workers else "minReplicaCount"
        how = f"floor of {floor} by {by}{_on_odd_days(odd)}"
        if ceiling < limits.max_workers:
            how += f"; the ceiling of {ceiling} is dropped, as cron triggers have floors alone"
        found.append(Fidelity(path, APPROXIMATED, how))
    return found


def of_hpa(policy: Policy, targets: Mapping[str, int], odd: Sequence[OddEdge], at: float) -> list[Fidelity]:
    """Return what a HorizontalPodAutoscaler, and CronJobs that set its bounds, make of each part."""
    limits = policy.limits
    found = [
        Fidelity("limits.min_workers", EXACT, f"minReplicas: {limits.min_workers}")
        if limits.min_workers
        else Fidelity("limits.min_workers", APPROXIMATED, "minReplicas: 1, as an HPA does not go to 0"),
        Fidelity("limits.max_workers", EXACT, f"maxReplicas: {limits.max_workers}")
        if limits.max_workers
        else Fidelity("limits.max_workers", APPROXIMATED, "maxReplicas: 1, as an HPA does not go to 0"),
    ]
    if isinstance(policy.rules, StepRules):
        found += _rates(policy)
        up = _utilizations(targets, _held(hold_up(policy.rules.up, targets)))
        down = _utilizations(targets, _held(hold_down(policy.rules.down)))
        found += _rules(policy.rules, up, down, unseen=_unseen(True))
    else:
        why = f"an HPA knows no wait; {FALLBACK_METRIC} is kept near {targets[FALLBACK_METRIC]} % instead"
        found.append(Fidelity("target.wait_time", DROPPED, why))
    found += [_by_jobs(policy, path, window, HPA, odd, at) for path, window in _windows(policy)]
    return found


def of_schedule(policy: Policy, odd: Sequence[OddEdge], at: float) -> list[Fidelity]:
    """Return what entries of a schedule alone make of each part: at each edge the fleet gets its floor."""
    why = "a schedule reads nothing"
    found = [
        Fidelity("limits.min_workers", EXACT, "no edge sets fewer"),
        Fidelity("limits.max_workers", EXACT, "no edge sets more"),
    ]
    if isinstance(policy.rules, StepRules):
        found += [*_no_rates(policy, why), *_rules(policy.rules, {}, {}, why)]
    else:
        found.append(Fidelity("target.wait_time", DROPPED, why))
    for path, window in _windows(policy):
        floor, ceiling = policy.limits.narrowed(window)
        how = f"a CronJob sets the number of workers to the floor of {floor}; nobody grows the fleet to {ceiling}"
        if isinstance(window, OneOffWindow):
            found.append(_without_years(policy, path, window, at, how))
        else:
            found.append(Fidelity(path, APPROXIMATED, f"{how}{_on_odd_days(odd)}"))
    return found


def of_entries(policy: Policy, odd: Sequence[OddEdge], at: float) -> dict[str, list[Fidelity]]:
    """Return what the entries of a schedule for systemd, cron and Kubernetes make of each window."""
    skipped = [edge for edge in odd if not edge.twice and not edge.unsure]
    found: dict[str, list[Fidelity]] = {"systemd": [], "cron": [], "kubernetes": []}
    for path, window in _windows(policy):
        how = f"its bounds, {_when(policy, window)}"
        if isinstance(window, OneOffWindow):
            late = datetime.fromtimestamp(window.until, zone_of(policy.schedule.timezone)).year > LAST_YEAR
            kept, lost = (APPROXIMATED, f"; systemd's calendar ends with {LAST_YEAR}") if late else (EXACT, "")
            found["systemd"].append(_over(policy, path, window, at) or Fidelity(path, kept, f"{how}{lost}"))
            for language in ("cron", "kubernetes"):
                found[language].append(_without_years(policy, path, window, at, how))
            continue
        found["systemd"].append(Fidelity(path, EXACT, f"{how}{_after_gaps(skipped)}"))
        kept = APPROXIMATED if odd else EXACT
        for language in ("cron", "kubernetes"):
            found[language].append(Fidelity(path, kept, f"{how}{_on_odd_days(odd)}"))
    return found


def _when(policy: Policy, window: WeeklyWindow | OneOffWindow) -> str:
    zone = policy.schedule.timezone
    if isinstance(window, OneOffWindow):
        return f"once, from {written(window.since, zone_of(zone))} until {written(window.until, zone_of(zone))}"
    return f"in {zone}"


def _by_jobs(
    policy: Policy,
    path: str,
    window: WeeklyWindow | OneOffWindow,
    owner: Owner,
    odd: Sequence[OddEdge],
    at: float,
) -> Fidelity:
    """Return what CronJobs make of a window that set floor and ceiling of an owner."""
    wanted = policy.limits.narrowed(window)
    bounds = owner.bounds(*wanted)
    how = "CronJobs set " + " and ".join(f"{name} {number}" for name, number in bounds.items())
    if isinstance(window, OneOffWindow):
        return _without_years(policy, path, window, at, how)
    kept = EXACT if not odd and tuple(bounds.values()) == wanted else APPROXIMATED
    return Fidelity(path, kept, f"{how}{_on_odd_days(odd)}")


def _over(policy: Policy, path: str, window: OneOffWindow, at: float) -> Fidelity | None:
    """Return what is said of a window that is over, or None."""
    if window.until > at:
        return None
    since = written(window.until, zone_of(policy.schedule.timezone))
    return Fidelity(path, EXACT, f"{window.name} has been over since {since}: there is nothing to keep")


def _without_years(policy: Policy, path: str, window: OneOffWindow, at: float, how: str) -> Fidelity:
    """Return what those make of a window that know no years, where C(how) is what they do at its edges."""
    over = _over(policy, path, window, at)
    if over:
        return over
    time = of_window(window, yearly(policy, at))
    if time.dropped:
        return Fidelity(path, DROPPED, f"{time.dropped}. The autoscaler and timers of systemd keep it")
    return Fidelity(path, APPROXIMATED, f"{how}{time.noted and f'; {time.noted}'}")


def _trigger(policy: Policy, path: str, window: OneOffWindow, at: float) -> Fidelity:
    """Return what a cron trigger of KEDA makes of a window that is not over."""
    floor, ceiling = policy.limits.narrowed(window)
    if floor == policy.limits.min_workers and ceiling == policy.limits.max_workers:
        return Fidelity(path, DROPPED, "cron triggers only raise floors, and this window lowers those of others")
    if floor == policy.limits.min_workers:
        return Fidelity(path, DROPPED, f"the ceiling of {ceiling} is dropped, as cron triggers have floors alone")
    far = out_of_reach(policy, window, at)
    if far:
        return Fidelity(path, DROPPED, far)
    how = (
        f"floor of {floor} by a cron trigger, to within HPA's tolerance of 10 %; a higher floor of another window wins "
        f"over it; {on_dates([window.since, window.until], policy.schedule.timezone)}"
    )
    if ceiling < policy.limits.max_workers:
        how += f"; the ceiling of {ceiling} is dropped, as cron triggers have floors alone"
    return Fidelity(path, APPROXIMATED, how)


def _conditions(rule: Rule, path: str) -> Iterator[tuple[str, Condition]]:
    return ((f"{path}[{place}]", condition) for place, condition in enumerate(rule.conditions))


def _windows(policy: Policy) -> Iterator[tuple[str, WeeklyWindow | OneOffWindow]]:
    return ((f"schedule.windows[{place}]", window) for place, window in enumerate(policy.schedule.windows))


def _rates(policy: Policy) -> Iterator[Fidelity]:
    limits = policy.limits
    for way, step, cooldown, more in (
        ("up", limits.scale_up_max, limits.cooldown_up, "more"),
        ("down", limits.scale_down_max, limits.cooldown_down, "fewer"),
    ):
        rate = f"at most {step} {more} within {period(cooldown)}s"
        yield Fidelity(f"limits.scale_{way}_max", APPROXIMATED, rate)
        longer = f"; an HPA has no more than {LONGEST_PERIOD}s" if cooldown > LONGEST_PERIOD else ""
        yield Fidelity(f"limits.cooldown_{way}", APPROXIMATED, f"{rate}, and no pause between two steps{longer}")


def _no_rates(policy: Policy, why: str) -> Iterator[Fidelity]:
    for key in ("scale_up_max", "scale_down_max", "cooldown_up", "cooldown_down"):
        yield Fidelity(f"limits.{key}", DROPPED, why)


def _utilizations(targets: Mapping[str, int], held: str) -> dict[str, str]:
    return {
        metric: f"kept near {targets[metric]} % of the requests, to within HPA's tolerance of 10 %{held}"
        for metric in (CPU, MEMORY)
        if metric in targets
    }


def _unseen(whole: bool) -> dict[str, str]:
    """Return why a metric is not looked at."""
    resources = (
        "pods request none of it, and it is kept in per cent of that"
        if whole
        else "only lists and bounds are translated"
    )
    return {
        QUEUE_DEPTH: "an HPA reads no broker",
        WAIT_TIME: "neither KEDA nor an HPA knows how long tasks wait",
        TASKS_PROCESSED: "neither KEDA nor an HPA knows what workers finish",
        CPU: resources,
        MEMORY: resources,
    }


def _rules(
    rules: StepRules, up: dict[str, str], down: dict[str, str], why: str = "", unseen: Mapping[str, str] | None = None
) -> Iterator[Fidelity]:
    """Yield what becomes of conditions and steps, by what is made of each metric; of others nothing is."""
    for rule, path, made, step in (
        (rules.up, "scale_up.any", up, "scale_up.add"),
        (rules.down, "scale_down.all", down, "scale_down.remove"),
    ):
        for place, condition in _conditions(rule, path):
            how = made.get(condition.metric)
            if how:
                yield Fidelity(place, APPROXIMATED, how)
            else:
                reason = why or (unseen or {}).get(condition.metric, "no trigger tells it")
                yield Fidelity(place, DROPPED, reason)
        size = "the size follows from the metrics by ceil(workers x value / target), the largest wins"
        yield Fidelity(step, DROPPED, why or size)


def _held(seconds: int) -> str:
    return f", wanted for {seconds}s without a break" if seconds else ""


def _after_gaps(skipped: Sequence[OddEdge]) -> str:
    """Return what is said of edges that the clock skips, where each has an entry of its own."""
    if not skipped:
        return ""
    first, last = skipped[0].wall, skipped[-1].wall
    return (
        f"; on {first:%Y-%m-%d} {first:%H:%M} does not come, and an entry of its own sets them at the first instant "
        f"after it; there are such entries until {last:%Y-%m-%d}, so make them anew within a year"
    )


def _on_odd_days(odd: Sequence[OddEdge]) -> str:
    """Return what is said of days on which the clock is changed at an edge."""
    if not odd:
        return ""
    first = odd[0]
    if first.unsure:
        return f"; on {first.wall:%Y-%m-%d} the edge at {first.wall:%H:%M} may be left out: cron loses it in this zone"
    what = "comes twice and counts both times" if first.twice else "does not come, and the edge is left out"
    return f"; on {first.wall:%Y-%m-%d} {first.wall:%H:%M} {what}"
