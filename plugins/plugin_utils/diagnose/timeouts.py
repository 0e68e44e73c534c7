# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are tasks timing out: how many runs did their time limit end within the last hour?

The numbers are those of the alert C(CeleryTaskTimeouts), over an hour and all tasks of a fleet, from the workers' own
words in the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import (
    Seen,
    TimedOut,
    Unknown,
    counted,
    lasting,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.verdict import Cause, Trouble, Verdict

TROUBLE = Trouble("tasks timing out", "tasks-timing-out")

ALERT = "CeleryTaskTimeouts"

FEWEST = 3
"""Runs that are ended by their limit; fewer are no trouble."""

SHARE = 0.01
"""Of all runs, that many at most may be."""

BUSY_CPU = 95.0
"""Per cent of what the fleet may use, from which on it has more processes than the CPU bears."""

MOST_TASKS = 5


def judge(seen: Seen) -> Verdict:
    """Return whether more runs are ended by their time limit than ought to be."""
    found = seen.timed_out
    firing = seen.firing(ALERT)
    beside = tuple(_beside(seen))
    if isinstance(found, Unknown):
        if firing:
            return TROUBLE.yes([_cause(seen, f"the alert {ALERT} fires")], beside)
        return TROUBLE.cannot_tell(f"how many did is not known: {found.why}", _WHERE, beside)
    count = len({each.id for each in found})
    ran = None if isinstance(seen.past, Unknown) else seen.past.finished
    numbers = (*_numbers(found, count, ran), *beside)
    if count >= FEWEST and not ran and not firing:
        return TROUBLE.cannot_tell(
            f"{counted(count, 'run')} reached their time limit within the hour, and of how many is not known",
            "Deploy the autoscaler, which counts them (mode observe is enough), or read the logs of the workers.",
            numbers,
        )
    if firing or (count >= FEWEST and ran and count / ran > SHARE):
        more = f"; the alert {ALERT} fires" if firing else ""
        return TROUBLE.yes(
            [_cause(seen, f"{counted(count, 'run')} reached their time limit within the hour{more}")], numbers
        )
    if not count:
        return TROUBLE.no("no run reached its time limit within the hour", numbers)
    few = f"{FEWEST} at least are a trouble" if count < FEWEST else f"{SHARE:.0%} of all may"
    return TROUBLE.no(f"only {counted(count, 'run')} reached the limit within the hour, and {few}", numbers)


_WHERE = "Give prometheus_url, and task_events: true to the fleet; or read the logs of its workers."


def _cause(seen: Seen, says: str) -> Cause:
    if _cpu(seen) >= BUSY_CPU:
        step = "Its CPU is used up: lower concurrency, or give the fleet more CPU, before any limit is raised."
    else:
        step = (
            "Compare p95 of the task with its limit (dashboard Tasks): raise the limit or split the task where it is "
            "close, give its calls a timeout where it is not."
        )
    return Cause(says, step, TROUBLE.runbook)


def _numbers(found: Sequence[TimedOut], count: int, ran: float | None) -> Iterator[str]:
    if ran:
        yield f"{count} of {counted(round(ran), 'run')} within the hour, {count / ran:.1%}"
    else:
        yield f"{counted(count, 'run')} within the hour; of how many is not known"
    tasks = Counter(task for _id, task in {(each.id, each.task) for each in found})
    for task, times in tasks.most_common(MOST_TASKS):
        limits = sorted({each.limit for each in found if each.task == task})
        yield f"{task}: {counted(times, 'time')} ({', '.join(limits)})"


def _beside(seen: Seen) -> Iterator[str]:
    if isinstance(seen.status, Unknown):
        return
    wait = seen.status["metrics"].get("wait_time")
    if wait is not None:
        yield f"the oldest task that waits does so for {lasting(wait)}: long waits are missing workers, not slow tasks"
    if "cpu" in seen.status["metrics"]:
        yield f"CPU: {_cpu(seen):.0f} % of what the fleet may use"


def _cpu(seen: Seen) -> float:
    return 0.0 if isinstance(seen.status, Unknown) else float(seen.status["metrics"].get("cpu", 0.0))
