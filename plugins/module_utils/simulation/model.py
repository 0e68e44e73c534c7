# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Play a workload against whatever decides the number of workers, and see what it costs and how long tasks wait."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BACKLOG,
    CONCURRENCY,
    CPU,
    MEMORY,
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    RUNNING,
    RUNTIME_TOTAL,
    SCHEDULED,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

Controller = Callable[[Observation], int]
"""Takes an observation and returns how many workers there shall be."""


# Seconds after its horizon at which a run ends whatever still waits: a fleet may have no workers and never get any.
PATIENCE = 86400.0


# Tasks of a workload say nothing of it; it is in nobody's way, and known, so that rules that ask for it work.
MEMORY_PERCENT = 20.0


@dataclass(frozen=True)
class Setting:
    """What the workers are like: seconds until a new one consumes, tasks at once, seconds between two looks."""

    start_seconds: float = 5.0
    slots: int = 1
    poll_seconds: float = 5.0
    workers: int = 2


@dataclass(frozen=True)
class Sample:
    """The fleet at an instant: seconds since the run began, tasks that wait, workers, the age of the oldest task.

    C(workers) are those that are paid for: consuming, starting and draining ones.
    """

    at: float
    waiting: int
    workers: float
    oldest: float


@dataclass(frozen=True)
class Outcome:
    """Waits in seconds in ascending order; worker-seconds from the order to start until gone; number of changes."""

    waits: tuple[float, ...]
    worker_seconds: float
    changes: int
    timeline: tuple[Sample, ...] = ()

    def wait(self, share: float) -> float:
        """Return the wait that C(share) of the tasks did not exceed, 0 when there were none."""
        return self.waits[max(0, math.ceil(share * len(self.waits)) - 1)] if self.waits else 0.0


def simulate(
    workload: Workload, controller: Controller, setting: Setting = Setting(), sample_seconds: float = math.inf
) -> Outcome:
    """Run all tasks of a workload and return what came of it. First come, first served; draining finishes tasks.

    The outcome has a timeline when C(sample_seconds), the time between two samples, is finite.
    """
    return _Run(workload, controller, setting, sample_seconds).outcome()


def least_cost(workload: Workload, promise: float, floor: int, slots: int = 1) -> float:
    """Return worker-seconds that no controller which keeps the promise gets far below.

    The floor is paid anyhow; each task it would start too late is served by a worker
    that needs no time to start and is paid for the task alone.
    """
    free = [0.0] * (floor * slots)
    extra = 0.0
    for arrival, seconds in workload.tasks:
        if free and free[0] - arrival <= promise:
            heapq.heapreplace(free, max(arrival, free[0]) + seconds)
        else:
            extra += seconds
    return floor * max(workload.horizon, *free) + extra / slots if free else extra / slots


class _Run:
    def __init__(self, workload: Workload, controller: Controller, setting: Setting, sample_seconds: float) -> None:
        self.tasks: Sequence[tuple[float, float]] = workload.tasks
        self.horizon = workload.horizon
        self.begin = workload.begin
        self.controller = controller
        self.setting = setting
        self.consuming = dict.fromkeys(range(setting.workers), 0)
        self.starting: list[tuple[float, int]] = []
        self.draining: dict[int, int] = {}
        self.ends: list[tuple[float, int, float]] = []
        self.queue: deque[tuple[float, float]] = deque()
        self.free: deque[int] = deque(number for number in self.consuming for _slot in range(setting.slots))
        self.next_number = setting.workers
        self.next_task = 0
        self.waits: list[float] = []
        self.processed = 0
        self.runtime = 0.0
        self.cost = 0.0
        self.changes = 0
        self.sample_seconds = sample_seconds
        self.next_sample = 0.0 if math.isfinite(sample_seconds) else math.inf
        self.timeline: list[Sample] = []

    def outcome(self) -> Outcome:
        now, look = 0.0, 0.0
        while True:
            arrival = self.tasks[self.next_task][0] if self.next_task < len(self.tasks) else math.inf
            end = self.ends[0][0] if self.ends else math.inf
            start = self.starting[0][0] if self.starting else math.inf
            following = min(arrival, end, start, look)
            idle = arrival == end == math.inf and not self.queue
            over = following >= self.horizon and (idle or following >= self.horizon + PATIENCE)
            if over:
                following = max(now, self.horizon if idle else self.horizon + PATIENCE)
            if self.next_sample < following:
                self._sample(following)
            self.cost += self._paid() * (following - now)
            now = following
            if over:
                break
            if now == end:
                self._end()
            elif now == start:
                number = heapq.heappop(self.starting)[1]
                self.consuming[number] = 0
                self.free.extend([number] * self.setting.slots)
            elif now == arrival:
                self.queue.append(self.tasks[self.next_task])
                self.next_task += 1
            else:
                look += self.setting.poll_seconds
                self._decide(now)
            if self.queue and self.free:
                self._assign(now)
        self.waits.extend(now - arrival for arrival, _seconds in self.queue)
        return Outcome(tuple(sorted(self.waits)), self.cost, self.changes, tuple(self.timeline))

    def _paid(self) -> int:
        return len(self.consuming) + len(self.starting) + len(self.draining)

    def _sample(self, until: float) -> None:
        """Note what is so from now to C(until), where nothing happens in between."""
        while self.next_sample < until:
            oldest = self.next_sample - self.queue[0][0] if self.queue else 0.0
            self.timeline.append(Sample(self.next_sample, len(self.queue), self._paid(), oldest))
            self.next_sample += self.sample_seconds

    def _end(self) -> None:
        _at, number, seconds = heapq.heappop(self.ends)
        self.processed += 1
        self.runtime += seconds
        if number in self.consuming:
            self.consuming[number] -= 1
            self.free.append(number)
            return
        self.draining[number] -= 1
        if not self.draining[number]:
            del self.draining[number]

    def _assign(self, now: float) -> None:
        while self.queue and self.free:
            number = self.free.popleft()
            if number not in self.consuming:
                continue
            arrival, seconds = self.queue.popleft()
            self.waits.append(now - arrival)
            self.consuming[number] += 1
            heapq.heappush(self.ends, (now + seconds, number, seconds))

    def _decide(self, now: float) -> None:
        current = len(self.consuming) + len(self.starting)
        running = sum(self.consuming.values()) + sum(self.draining.values())
        metrics = {
            QUEUE_DEPTH: float(len(self.queue)),
            # Nothing is prefetched here, and no task waits for its time.
            BACKLOG: float(len(self.queue) + running),
            WAIT_TIME: now - self.queue[0][0] if self.queue else 0.0,
            PROCESSED_TOTAL: float(self.processed),
            RUNNING: float(running),
            RUNTIME_TOTAL: self.runtime,
            SCHEDULED: 0.0,
            CONCURRENCY: float(self.setting.slots),
            MEMORY: MEMORY_PERCENT,
            CPU: min(100.0, 100.0 * running / max(1, len(self.consuming) * self.setting.slots)),
        }
        wanted = self.controller(
            Observation(self.begin + now, current, metrics, len(self.starting), len(self.draining))
        )
        self.changes += wanted != current
        for _more in range(wanted - current):
            heapq.heappush(self.starting, (now + self.setting.start_seconds, self.next_number))
            self.next_number += 1
        for _fewer in range(current - wanted):
            self._stop_one()

    def _stop_one(self) -> None:
        if self.starting:
            self.starting.remove(max(self.starting))
            heapq.heapify(self.starting)
            return
        number = min(self.consuming, key=lambda one: (self.consuming[one], -one))
        tasks = self.consuming.pop(number)
        if tasks:
            self.draining[number] = tasks
