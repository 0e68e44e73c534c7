# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the event stream tells. Counts that somebody goes on counting in are copied for whoever reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds of the classes of run time, in seconds, each inclusive; a last class has all above."""

OTHER = "other"
"""Stands for all names beyond those that are told apart."""

FRESH_SECONDS = 10.0
FRESH_INTERVALS = 3.0
"""A heartbeat is believed for so many seconds, or for so many of its worker's intervals where these are longer."""


@dataclass
class TaskCounts:
    """Events of one task in one queue, counted since the stream was first joined. They never fall.

    :ivar queue: "" where neither the events nor the fleet tell.
    :ivar failed: tasks that ended with an exception, those of C(timeouts) among them.
    :ivar timeouts: tasks that failed by their soft or hard time limit.
    :ivar durations: succeeded runs by class of run time (C(BUCKETS)), one more than there are bounds; not cumulative.
    :ivar duration_sum: seconds of the runs in C(durations).
    """

    task: str
    queue: str
    received: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    timeouts: int = 0
    retried: int = 0
    revoked: int = 0
    rejected: int = 0
    durations: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    duration_sum: float = 0.0

    def took(self, seconds: float) -> None:
        """Count the run time of a succeeded run."""
        self.durations[bisect_left(BUCKETS, seconds)] += 1
        self.duration_sum += seconds

    def copy(self) -> TaskCounts:
        """Return the counts as they are now."""
        return replace(self, durations=list(self.durations))


@dataclass
class HeardWorker:
    """A worker as its events describe it.

    :ivar pid: of its main process; another one is another life.
    :ivar online: false once it has said that it goes.
    :ivar age: seconds since its last heartbeat, None when there was none.
    :ivar interval: seconds between two heartbeats.
    :ivar active: tasks that ran at the last heartbeat.
    :ivar started: tasks started since its process started, at the last heartbeat (Celery's C(processed)).
    :ivar finished: runs that ended, as task events tell, since it was first heard of, over all its lives.
    :ivar missed: starts that heartbeats count and no task event told of, over all its lives.
    :ivar sends_task_events: whether it ever sent one; where not, C(finished) and C(missed) say nothing.
    """

    node: str
    pid: int | None = None
    online: bool = False
    age: float | None = None
    interval: float = 0.0
    active: int | None = None
    started: int | None = None
    finished: int = 0
    missed: int = 0
    sends_task_events: bool = False

    @property
    def fresh(self) -> bool:
        """Whether its last heartbeat is recent enough to be believed."""
        return self.online and self.age is not None and self.age <= max(FRESH_INTERVALS * self.interval, FRESH_SECONDS)


@dataclass
class FleetEvents:
    """What was heard of one fleet.

    :ivar runtime_total: seconds that ended runs took, however they ended.
    :ivar runs_timed: the runs in C(runtime_total): their mean is right even where events were missed.
    :ivar finished: runs that ended, as task events tell.
    :ivar missed: starts that heartbeats count and no task event told of.
    """

    fleet: str
    tasks: tuple[TaskCounts, ...] = ()
    workers: Mapping[str, HeardWorker] = field(default_factory=dict)
    runtime_total: float = 0.0
    runs_timed: int = 0
    finished: int = 0
    missed: int = 0

    @property
    def beats(self) -> dict[str, HeardWorker]:
        """Workers by node name whose C(active) and C(started) are known and recent."""
        return {
            node: worker
            for node, worker in self.workers.items()
            if worker.fresh and worker.active is not None and worker.started is not None
        }


@dataclass(frozen=True)
class StreamHealth:
    """How well the stream is heard. The counts never fall.

    :ivar connected_for: seconds since it was joined (again), None while it is not.
    :ivar problem: why it is not, for the operator.
    :ivar gaps: how often it was lost.
    :ivar gap_seconds: length of all gaps together, the present one included.
    :ivar last_gap_seconds: length of the last gap that ended, None before the first one.
    :ivar events: events heard, of whomever.
    :ivar foreign: events of workers of no fleet that is watched.
    :ivar garbage: messages and events that could not be understood.
    """

    connected_for: float | None = None
    problem: str = ""
    gaps: int = 0
    gap_seconds: float = 0.0
    last_gap_seconds: float | None = None
    events: int = 0
    foreign: int = 0
    garbage: int = 0

    @property
    def connected(self) -> bool:
        """Whether events are heard now."""
        return self.connected_for is not None


@dataclass(frozen=True)
class Snapshot:
    """Everything heard up to an instant."""

    health: StreamHealth
    fleets: Mapping[str, FleetEvents]

    def by_fleet(self, fleet: str) -> FleetEvents:
        """Return what was heard of a fleet; nothing of one that is not watched."""
        return self.fleets.get(fleet) or FleetEvents(fleet)
