# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Play a workload against whatever decides the number of workers, and see what it costs and how long tasks wait."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
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
    """How a fleet is run, and what is asked of it.

    :param floor: the fewest workers, with which it begins.
    :param ceiling: the most workers.
    :param promise: for how long a task may wait, in seconds.
    :param slots: tasks that a worker runs at once.
    :param start_seconds: seconds until a new worker consumes.
    :param poll_seconds: seconds between two looks.
    :param of_processes: how many make one worker that is paid for, where processes of a pool are sized like workers.
    """

    floor: int = 2
    ceiling: int = 20
    promise: float = 30.0
    slots: int = 1
    start_seconds: float = 5.0
    poll_seconds: float = 5.0
    of_processes: int = 1


@dataclass(frozen=True)
class Sample:
    """The fleet at an instant; None is what was not known then.

    :param at: seconds since the run began.
    :param waiting: tasks that wait.
    :param workers: those that are paid for: consuming, starting and draining ones.
    :param oldest: for how long the oldest task has waited, in seconds.
    """

    at: float
    waiting: int | None
    workers: float | None
    oldest: float | None


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


def least_cost(workload: Workload, setting: Setting) -> float:
    """Return worker-seconds that no controller which keeps the promise gets far below.

    The floor is paid anyhow; each task it would start too late is served by a worker
    that needs no time to start and is paid for the task alone.
    """
    free = [0.0] * (setting.floor * setting.slots)
    extra = 0.0
    for arrival, seconds in workload.tasks:
        if free and free[0] - arrival <= setting.promise:
            heapq.heapreplace(free, max(arrival, free[0]) + seconds)
        else:
            extra += seconds
    return setting.floor * max(workload.horizon, *free) + extra / setting.slots if free else extra / setting.slots


class _Run:
    def __init__(self, workload: Workload, controller: Controller, setting: Setting, sample_seconds: float) -> None:
        self.workload = workload
        self.controller = controller
        self.setting = setting
        self.sample_seconds = sample_seconds
        self.next_sample = 0.0 if math.isfinite(sample_seconds) else math.inf
        self.timeline: list[Sample] = []
        # Workers have numbers. Those that consume or drain have the number of their tasks.
        self.consuming = dict.fromkeys(range(setting.floor), 0)
        self.draining: dict[int, int] = {}
        self.starting: deque[tuple[float, int]] = deque()
        self.next_number = setting.floor
        self.free = deque(number for number in self.consuming for _slot in range(setting.slots))
        self.arrivals = deque(workload.tasks)
        self.queue: deque[tuple[float, float]] = deque()
        self.ends: list[tuple[float, int, float]] = []
        self.waits: list[float] = []
        self.runtime = 0.0
        self.cost = 0.0
        self.changes = 0

    def outcome(self) -> Outcome:
        now, look = 0.0, 0.0
        while True:
            arrival = self.arrivals[0][0] if self.arrivals else math.inf
            end = self.ends[0][0] if self.ends else math.inf
            start = self.starting[0][0] if self.starting else math.inf
            following = min(arrival, end, start, look)
            idle = arrival == end == math.inf and not self.queue
            latest = self.workload.horizon if idle else self.workload.horizon + PATIENCE
            over = following >= latest
            if over:
                following = max(now, latest)
            self._sample(following)
            self.cost += self._paid() * (following - now)
            now = following
            if over:
                break
            if now == end:
                self._end()
            elif now == start:
                number = self.starting.popleft()[1]
                self.consuming[number] = 0
                self.free.extend([number] * self.setting.slots)
            elif now == arrival:
                self.queue.append(self.arrivals.popleft())
            else:
                look += self.setting.poll_seconds
                self._decide(now)
            self._assign(now)
        self.waits.extend(now - arrival for arrival, _seconds in self.queue)
        cost = self.cost / self.setting.of_processes
        return Outcome(tuple(sorted(self.waits)), cost, self.changes, tuple(self.timeline))

    def _paid(self) -> int:
        return len(self.consuming) + len(self.starting) + len(self.draining)

    def _sample(self, until: float) -> None:
        """Note what is so from now to C(until), where nothing happens in between."""
        while self.next_sample < until:
            oldest = self.next_sample - self.queue[0][0] if self.queue else 0.0
            workers = self._paid() / self.setting.of_processes
            self.timeline.append(Sample(self.next_sample, len(self.queue), workers, oldest))
            self.next_sample += self.sample_seconds

    def _end(self) -> None:
        _at, number, seconds = heapq.heappop(self.ends)
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
        running = len(self.ends)
        metrics = {
            QUEUE_DEPTH: float(len(self.queue)),
            # Nothing is prefetched here, and no task waits for its time.
            BACKLOG: float(len(self.queue) + running),
            WAIT_TIME: now - self.queue[0][0] if self.queue else 0.0,
            PROCESSED_TOTAL: float(len(self.waits) - running),
            RUNNING: float(running),
            RUNTIME_TOTAL: self.runtime,
            SCHEDULED: 0.0,
            CONCURRENCY: float(self.setting.slots),
            MEMORY: MEMORY_PERCENT,
            CPU: min(100.0, 100.0 * running / max(1, len(self.consuming) * self.setting.slots)),
        }
        at = self.workload.begin + now
        wanted = self.controller(Observation(at, current, metrics, len(self.starting), len(self.draining)))
        self.changes += wanted != current
        for _more in range(wanted - current):
            self.starting.append((now + self.setting.start_seconds, self.next_number))
            self.next_number += 1
        for _fewer in range(current - wanted):
            self._stop_one()

    def _stop_one(self) -> None:
        if self.starting:
            self.starting.pop()
            return
        number = min(self.consuming, key=lambda one: (self.consuming[one], -one))
        tasks = self.consuming.pop(number)
        if tasks:
            self.draining[number] = tasks
