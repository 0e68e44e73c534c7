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

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.workloads import Workload
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation

Controller = Callable[[Observation], int]
"""Takes an observation and returns how many workers there shall be."""


@dataclass(frozen=True)
class Setting:
    """What the workers are like: seconds until a new one consumes, tasks at once, seconds between two looks."""

    start_seconds: float = 5.0
    slots: int = 1
    poll_seconds: float = 5.0
    workers: int = 2


@dataclass(frozen=True)
class Outcome:
    """Waits in seconds in ascending order; worker-seconds from the order to start until gone; number of changes."""

    waits: tuple[float, ...]
    worker_seconds: float
    changes: int

    def wait(self, share: float) -> float:
        """Return the wait that C(share) of the tasks did not exceed, 0 when there were none."""
        return self.waits[max(0, math.ceil(share * len(self.waits)) - 1)] if self.waits else 0.0


def simulate(workload: Workload, controller: Controller, setting: Setting = Setting()) -> Outcome:
    """Run all tasks of a workload and return what came of it. First come, first served; draining finishes tasks."""
    return _Run(workload, controller, setting).outcome()


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
    def __init__(self, workload: Workload, controller: Controller, setting: Setting) -> None:
        self.tasks: Sequence[tuple[float, float]] = workload.tasks
        self.horizon = workload.horizon
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

    def outcome(self) -> Outcome:
        now, look = 0.0, 0.0
        while True:
            arrival = self.tasks[self.next_task][0] if self.next_task < len(self.tasks) else math.inf
            end = self.ends[0][0] if self.ends else math.inf
            start = self.starting[0][0] if self.starting else math.inf
            following = min(arrival, end, start, look)
            idle = arrival == end == math.inf and not self.queue
            over = idle and following >= self.horizon
            following = max(now, self.horizon) if over else following
            self.cost += (len(self.consuming) + len(self.starting) + len(self.draining)) * (following - now)
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
            self._assign(now)
        return Outcome(tuple(sorted(self.waits)), self.cost, self.changes)

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
            "queue_depth": float(len(self.queue)),
            "wait_time": now - self.queue[0][0] if self.queue else 0.0,
            "processed_total": float(self.processed),
            "running": float(running),
            "runtime_total": self.runtime,
            "cpu": min(100.0, 100.0 * running / max(1, len(self.consuming) * self.setting.slots)),
        }
        wanted = self.controller(Observation(now, current, metrics, len(self.starting), len(self.draining)))
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
