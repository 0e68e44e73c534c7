# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each condition of a policy has held without a break."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition
from ansible_collections.muejam.celery.plugins.module_utils.decide.wording import shown

# Timestamps are floats of seconds since the epoch; a microsecond is finer than any observer's clock
# and coarser than their rounding, so a duration is met at exactly its length.
EXACT = 1e-6


@dataclass(frozen=True)
class Run(OnAClock):
    """An unbroken stretch of observations, kept by one condition.

    :param condition: whose run it is.
    :param since: when the first observation of the run was made; None while there is no run.
    :param counts: for a condition that counts: C((at, finished so far)) from the start of its window on.
    """

    condition: Condition
    since: float | None = field(default=None, metadata=INSTANT)
    counts: tuple[tuple[float, float], ...] = field(default=(), metadata=INSTANT)


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds now, and the sentence that says why."""

    holds: bool
    text: str


def judge(condition: Condition, run: Run, seen: Observation) -> tuple[Verdict, Run]:
    """Return what C(condition) says to the observation, and its run with the observation in it."""
    total = METRICS[condition.metric].growth_of
    if total:
        return _judge_growth(condition, run, seen, total)
    value = seen.value(condition.metric)
    if value is None:
        return Verdict(False, f"{condition.metric} is unknown ({seen.why_unknown(condition.metric)})"), Run(condition)
    bounds = seen.bounds.get(condition.metric, Bounds(value, value, ""))
    text = f"{condition.metric} {_bounded(bounds) if bounds.why else shown(value)}"
    if not condition.comparison.surely(bounds.at_least, bounds.at_most, condition.threshold):
        surely, why = (" surely", f" ({bounds.why})") if bounds.why else ("", "")
        text = f"{text} is not{surely} {condition.comparison.words} {shown(condition.threshold)}{why}"
        return Verdict(False, text), Run(condition)
    since = seen.at if run.since is None else run.since
    text = f"{text} is {condition.comparison.words} {shown(condition.threshold)}"
    return _held(condition, text, seen.at - since), Run(condition, since)


def _bounded(bounds: Bounds) -> str:
    if bounds.at_most is None:
        return f"of at least {shown(bounds.at_least)}"
    return f"of {shown(bounds.at_least)} to {shown(bounds.at_most)}"


def _judge_growth(condition: Condition, run: Run, seen: Observation, metric: str) -> tuple[Verdict, Run]:
    """Count the tasks finished during the condition's window; both of its ends must be known."""
    total = seen.value(metric)
    if total is None:
        return Verdict(False, f"tasks processed are unknown ({seen.why_unknown(metric)})"), Run(condition)
    counts = (*run.counts, (seen.at, total))
    begins = seen.at - condition.hold + EXACT
    older = tuple(entry for entry in counts if entry[0] <= begins)
    if condition.hold:
        within = (*older[-1:], *(entry for entry in counts if entry[0] > begins))
        covered = bool(older)
    else:
        # Without a window of its own the condition looks back to the observation before.
        within = counts[-2:]
        covered = len(within) == 2
    finished = sum(_finished(before, after) for (_then, before), (_now, after) in zip(within, within[1:]))
    text = f"{shown(finished)} tasks finished in {shown(seen.at - within[0][0])}s"
    satisfied = condition.comparison.holds(finished, condition.threshold)
    if not satisfied:
        text += f", not {condition.comparison.words} {shown(condition.threshold)}"
    elif not covered:
        text += f", of the {shown(condition.hold)}s asked for"
    return Verdict(satisfied and covered, text), Run(condition, None, within)


def _finished(before: float, after: float) -> float:
    # A count that fell belongs to a worker that started anew: what it did before is not known, but it did something.
    return after - before if after >= before else max(after, 1.0)


def _held(condition: Condition, text: str, seconds: float) -> Verdict:
    if seconds + EXACT >= condition.hold:
        return Verdict(True, f"{text} for {shown(seconds)}s" if condition.hold else text)
    return Verdict(False, f"{text} for {shown(seconds)}s of {shown(condition.hold)}s")
