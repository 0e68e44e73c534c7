# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a worker leak memory: does what it falls back to go on rising for hours?

The time is cut into quarters, and the least that a worker used in each is its floor there. One large task, children
that are replaced in time, and noise do not raise floors; a leak raises each of them. A worker that fills its caches
rises too, and then stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import (
    HOUR,
    Samples,
    Seen,
    Unknown,
    counted,
    lasting,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.verdict import Cause, Trouble, Verdict

TROUBLE = Trouble("memory leak", "memory-leak")

LONGEST = 6 * HOUR
"""What is older is not looked at."""

SHORTEST = HOUR
"""Of one process; what was watched for a shorter time tells nothing."""

FEWEST = 8
"""Samples of one process."""

WARMING_UP = 600.0
"""Seconds after the first sample that are left out where more are there: a process loads its application meanwhile."""

GROWTH = 0.02
"""Of what a worker uses, in an hour, from which on it leaks."""

MIB = 1024.0**2

LEAST = 2 * MIB
"""Bytes in an hour that it has to be as well."""

QUARTERS = 4

STEADY = 0.5
"""Of that growth each quarter has to show by itself."""

MOST_WORKERS = 5


@dataclass(frozen=True)
class Slope:
    """How the memory of one process went.

    :ivar lowest: of each quarter of the time the sample with the least.
    :ivar seconds: for how long it was watched.
    """

    lowest: Samples
    seconds: float

    @property
    def floors(self) -> list[float]:
        """The least that it used in each quarter, in bytes."""
        return [size for _at, size in self.lowest]

    @property
    def hourly(self) -> float:
        """Bytes by which its floor rises in an hour."""
        (began, first), (ended, last) = self.lowest[0], self.lowest[-1]
        return (last - first) / (ended - began) * HOUR

    @property
    def leaks(self) -> bool:
        """Whether it rises by as much as a leak, from each quarter to the next."""
        least = max(LEAST, GROWTH * self.floors[-1])
        steps = [after - before for before, after in zip(self.floors, self.floors[1:])]
        return self.hourly >= least and min(steps) >= STEADY * least * self.seconds / QUARTERS / HOUR


def slope_of(samples: Samples, now: float) -> Slope | None:
    """Return how the memory of a process went; None where it was not watched for long enough."""
    taken = [sample for sample in samples if now - sample[0] <= LONGEST]
    warm = [sample for sample in taken if sample[0] - taken[0][0] >= WARMING_UP]
    if len(warm) < FEWEST or warm[-1][0] - warm[0][0] < SHORTEST:
        return None
    start, seconds = warm[0][0], warm[-1][0] - warm[0][0]
    quarters: list[list[tuple[float, float]]] = [[] for _quarter in range(QUARTERS)]
    for at, size in warm:
        quarters[min(int((at - start) / seconds * QUARTERS), QUARTERS - 1)].append((at, size))
    # With fewer nobody knows what it fell back to.
    if min(map(len, quarters)) < FEWEST // QUARTERS:
        return None
    return Slope([min(quarter, key=lambda sample: sample[1]) for quarter in quarters], seconds)


def judge(seen: Seen) -> Verdict:
    """Return whether a worker leaks, with the slope of each."""
    if isinstance(seen.memory, Unknown):
        return TROUBLE.cannot_tell(f"their memory of the last hours is not known: {seen.memory.why}", _WHERE, [])
    slopes = {name: slope_of(samples, seen.at) for name, samples in seen.memory.items()}
    known = {name: slope for name, slope in slopes.items() if slope is not None}
    young = len(slopes) - len(known)
    numbers = [*_numbers(seen, known), *([f"{counted(young, 'worker')} not watched for long enough"] if young else [])]
    leaking = [name for name, slope in known.items() if slope.leaks]
    if leaking:
        worst = max(leaking, key=lambda name: known[name].hourly)
        says = (
            f"{worst} grows by {_mib(known[worst].hourly)} in an hour and does not stop "
            f"({len(leaking)} of {counted(len(known), 'worker')} do)"
        )
        return TROUBLE.yes([Cause(says, _step(leaking, known), TROUBLE.runbook)], numbers)
    if not known:
        return TROUBLE.cannot_tell(
            f"no worker was watched for {lasting(SHORTEST + WARMING_UP)}" if slopes else "no worker was watched",
            "Ask again later: samples are taken every five minutes, and begin anew with each start of a worker.",
            numbers,
        )
    return TROUBLE.no(f"none of {counted(len(known), 'worker')} goes on growing", numbers)


_WHERE = (
    "Ask again when the autoscaler has run for two hours: it keeps samples of each worker. Or give prometheus_url, of "
    "a Prometheus that scrapes it."
)


def _step(leaking: Sequence[str], known: dict[str, Slope]) -> str:
    first = (
        "All grow alike: look for what every task does"
        if len(leaking) == len(known) > 1
        else "See whether its children grow, or its main process"
    )
    return (
        f"{first} (the runbook says how); until it is found set max_tasks_per_child or max_memory_per_child, and "
        "restart: the playbook rolling_restart with -e only=all."
    )


def _numbers(seen: Seen, known: dict[str, Slope]) -> Iterator[str]:
    allowed = {} if isinstance(seen.workers, Unknown) else {each["name"]: each for each in seen.workers}
    ordered = sorted(known, key=lambda name: known[name].hourly, reverse=True)
    for name in ordered[:MOST_WORKERS]:
        slope = known[name]
        limit = allowed.get(name, {}).get("memory_allowed")
        end = ""
        if limit and slope.leaks:
            end = (
                f"; at its limit of {_mib(limit)} in {lasting(max(limit - slope.floors[-1], 0) / slope.hourly * HOUR)}"
            )
        floors = ", ".join(f"{floor / MIB:.1f}" for floor in slope.floors)
        yield (
            f"{name}: {slope.hourly / MIB:+.1f} MiB in an hour; the least in each quarter of {lasting(slope.seconds)}: "
            f"{floors} MiB{end}"
        )
    if len(ordered) > MOST_WORKERS:
        yield f"{len(ordered) - MOST_WORKERS} more grow less"


def _mib(size: float) -> str:
    return f"{size / MIB:.1f} MiB"
