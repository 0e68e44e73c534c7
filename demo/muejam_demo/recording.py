# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was recorded while the demo ran. Times are seconds since the first task was published."""

from __future__ import annotations

import bisect
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# sd-messages.h of systemd: a unit is being started, and was.
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
STARTED = "39f53479d3a045ac8e11786248231fbf"

_LONG_NUMBER = re.compile(r"\d+\.\d\d+")
_PAID = ("starting", "consuming", "draining")


def in_short(reasons: Iterable[str]) -> str:
    """Return reasons in one line, without the fractions that nobody reads."""
    return "; ".join(_LONG_NUMBER.sub(lambda number: f"{float(number[0]):.1f}", text) for text in reasons)


@dataclass(frozen=True)
class Task:
    """One task, as it noted itself."""

    sent: float
    started: float
    ended: float


@dataclass(frozen=True)
class Sample:
    """The queue and the workers at an instant; None is not known. Draining workers count, until they are gone."""

    at: float
    waiting: int | None
    workers: int | None


@dataclass(frozen=True)
class Change:
    """A decision that changed the number of workers."""

    at: float
    before: int
    after: int
    reasons: tuple[str, ...]

    @property
    def because(self) -> str:
        """The reasons in one line."""
        return in_short(self.reasons)

    def __str__(self) -> str:
        return f"from {self.before} to {self.after} workers: {self.because}"


@dataclass(frozen=True)
class Recording:
    """Everything. C(start_seconds) is how long each worker took from the order to start until it consumed.

    :ivar first_new: when the first task started on a worker that was not there at the beginning; None where none did.
    """

    tasks: tuple[Task, ...]
    samples: tuple[Sample, ...]
    changes: tuple[Change, ...] = ()
    start_seconds: tuple[float, ...] = ()
    first_new: float | None = None
    _sents: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _starts: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sents", tuple(sorted(task.sent for task in self.tasks)))
        object.__setattr__(self, "_starts", tuple(sorted(task.started for task in self.tasks)))

    @property
    def end(self) -> float:
        """When the last sample was taken."""
        return self.samples[-1].at

    @property
    def start(self) -> float:
        """The usual time that a worker took to start."""
        return statistics.median(self.start_seconds)

    @property
    def all_done(self) -> float:
        """When the last task ended."""
        return max(task.ended for task in self.tasks)

    @property
    def worker_seconds(self) -> float:
        """What the fleet cost: the number of workers, summed over the seconds."""
        total, at, workers = 0.0, 0.0, self.samples[0].workers or 0
        for sample in self.samples:
            total += workers * (sample.at - at)
            at, workers = sample.at, workers if sample.workers is None else sample.workers
        return total

    def waits_in_order(self) -> list[float]:
        """Return, in ascending order, how long tasks would have waited had those that came first started first."""
        return sorted(max(0.0, started - sent) for sent, started in zip(self._sents, self._starts))

    def oldest_wait(self, at: float) -> float:
        """Return how long the oldest task waited at an instant, in the same order."""
        begun = bisect.bisect_right(self._starts, at)
        came = bisect.bisect_right(self._sents, at)
        return at - self._sents[begun] if begun < came else 0.0


def record(
    ledger: Iterable[str], readings: Sequence[Mapping[str, Any]], log: Iterable[str], journal: Iterable[str]
) -> Recording:
    """Put together what was read on the host.

    :param ledger: JSON lines of the tasks, of which a second run of the same is left out.
    :param readings: what the demo watched.
    :param log: JSON lines of the autoscaler.
    :param journal: JSON lines of the journal about the workers' units.
    """
    runs: dict[str, Mapping[str, Any]] = {}
    for entry in map(json.loads, ledger):
        runs.setdefault(entry["id"], entry)
    begin = min(float(run["sent"]) for run in runs.values())
    tasks = (Task(run["sent"] - begin, run["started"] - begin, run["ended"] - begin) for run in runs.values())
    samples = (_sample(reading, begin) for reading in readings if reading["at"] >= begin)
    old = {
        worker.get("name") for reading in readings if reading["at"] < begin for worker in reading.get("workers") or ()
    }
    new = [run["started"] - begin for run in runs.values() if run.get("node") not in old]
    return Recording(
        tasks=tuple(sorted(tasks, key=lambda task: task.sent)),
        samples=tuple(samples),
        changes=tuple(change for change in changes(log, begin) if change.at >= 0),
        start_seconds=tuple(starts(journal, begin)),
        first_new=min(new, default=None) if old else None,
    )


def paid(workers: Sequence[Mapping[str, Any]]) -> int:
    """Return how many workers there are, on their way up or out too."""
    return sum(worker["state"] in _PAID for worker in workers)


def changes(log: Iterable[str], begin: float) -> list[Change]:
    """Return the decisions in the autoscaler's log that changed something."""
    found = []
    for line in map(json.loads, log):
        before, after = line.get("from"), line.get("to")
        if line.get("action") not in (None, "hold") and before is not None and after is not None and before != after:
            found.append(Change(line["at"] - begin, before, after, tuple(line["reasons"])))
    return found


def starts(journal: Iterable[str], begin: float) -> list[float]:
    """Return how long each start took that began after C(begin), in seconds since the epoch."""
    ordered: dict[str, float] = {}
    found = []
    for line in map(json.loads, journal):
        at, unit = int(line["__REALTIME_TIMESTAMP"]) / 1e6, line.get("UNIT", "")
        if line.get("MESSAGE_ID") == STARTING:
            ordered[unit] = at
        elif line.get("MESSAGE_ID") == STARTED and ordered.get(unit, 0.0) >= begin:
            found.append(at - ordered.pop(unit))
    return found


def _sample(reading: Mapping[str, Any], begin: float) -> Sample:
    waiting, workers = reading.get("waiting"), reading.get("workers")
    return Sample(
        at=reading["at"] - begin,
        waiting=None if waiting is None else sum(waiting.values()),
        workers=None if workers is None else paid(workers),
    )
