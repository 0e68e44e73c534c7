# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that idle while tasks wait: connected, perhaps, but not consuming."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    WorkerReading,
)


@dataclass(frozen=True)
class _Idle:
    since: float
    life: str
    started: int


@dataclass(frozen=True)
class StuckWatch:
    """Since when each worker has idled while tasks waited, by the worker's name."""

    idle: Mapping[str, _Idle] = field(default_factory=dict)

    def then(self, at: float, waiting: float | None, workers: Iterable[WorkerReading]) -> StuckWatch:
        """Return the watch after one more look.

        :param at: seconds on any clock that does not jump.
        :param waiting: tasks that wait in the fleet's queues; None is unknown, and ends all suspicion.
        """
        if not waiting:
            return StuckWatch()
        idle = {}
        for worker in workers:
            # A worker with a task in hand may wait for it as long as it likes.
            if worker.phase != CONSUMING or worker.started is None or worker.active or worker.reserved:
                continue
            before = self.idle.get(worker.name)
            if before is None or (before.life, before.started) != (worker.life, worker.started):
                before = _Idle(at, worker.life, worker.started)
            idle[worker.name] = before
        return StuckWatch(idle)

    def stuck(self, at: float, after: float) -> dict[str, float]:
        """Return for how many seconds each stuck worker has idled, by name, those that have for C(after) or longer."""
        return {name: at - idle.since for name, idle in self.idle.items() if at - idle.since >= after}
