# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of one fleet's tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.labels import Admission, Label, clean_name
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import (
    OTHER,
    FleetEvents,
    HeardWorker,
    TaskCounts,
)

LABELS_FOR_EACH_NAME = 5
"""Pairs of task and queue that are told apart, for each name that is."""


class FleetCounts:
    """Counters of one fleet, of bounded number whatever names its events have.

    :param limit: task names, and queues, that are told apart.
    """

    def __init__(self, name: str, queues: Collection[str], limit: int) -> None:
        self.events = FleetEvents(name)
        self._limit = limit
        self._tasks = Admission(limit)
        self._queues = Admission(limit)
        self._series: dict[Label, TaskCounts] = {}
        self._of_label: dict[Label, TaskCounts] = {}
        self.take_from(queues)

    def take_from(self, queues: Collection[str]) -> None:
        """Say which queues the fleet consumes from (now)."""
        names = [clean_name(queue) for queue in queues]
        self._only_queue = names[0] if len(names) == 1 else ""
        self._queues.add(["", *names])
        self._of_label.clear()

    def series(self, label: Label) -> TaskCounts:
        """Return the counters of a task in a queue."""
        return self._of_label.get(label) or self._admit(label)

    def _admit(self, label: Label) -> TaskCounts:
        key = (self._tasks.of(label[0]), self._queues.of(label[1] or self._only_queue))
        if key not in self._series and len(self._series) >= LABELS_FOR_EACH_NAME * self._limit:
            key = (OTHER, OTHER)
        series = self._series.setdefault(key, TaskCounts(*key))
        if len(self._of_label) >= 2 * LABELS_FOR_EACH_NAME * self._limit:
            self._of_label.clear()
        self._of_label[label] = series
        return series

    def saw_end(self, seconds: float | None) -> None:
        """Count the end of a run, which took so long where that is known."""
        self.events.finished += 1
        if seconds is not None:
            self.events.runtime_total += seconds
            self.events.runs_timed += 1

    def heard(self, workers: Mapping[str, HeardWorker]) -> FleetEvents:
        """Return what was heard until now of the fleet and its C(workers)."""
        return replace(self.events, tasks=tuple(each.copy() for each in self._series.values()), workers=workers)
