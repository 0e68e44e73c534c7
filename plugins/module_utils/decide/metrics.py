# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of metrics: what a fleet is judged by, in which unit, and where it comes from.

Whoever names a metric reads it here: policies, observations, recordings, the status, the metrics endpoint, the
simulator, and the tables of docs/policy.md, which `make docs` writes. A new metric is a row here, its value in
observe/observing.py, and its value in simulation/model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

QUEUE_DEPTH = "queue_depth"
BACKLOG = "backlog"
WAIT_TIME = "wait_time"
CPU = "cpu"
MEMORY = "memory"
TASKS_PROCESSED = "tasks_processed"
RUNNING = "running"
PROCESSED_TOTAL = "processed_total"
RUNTIME_TOTAL = "runtime_total"
SCHEDULED = "scheduled"
CONCURRENCY = "concurrency"


class Unit(str, Enum):
    """What a metric is counted in."""

    MESSAGES = "messages"
    TASKS = "tasks"
    SECONDS = "seconds"
    PERCENT = "per cent"


class Source(str, Enum):
    """Whom a metric is unknown without."""

    BROKER = "broker"
    WORKERS = "workers"
    PLATFORM = "platform"


@dataclass(frozen=True)
class Metric:
    """One metric.

    :ivar in_rules: whether conditions of a policy may name it.
    :ivar growth_of: the total whose growth during a condition's C(for) it is; such a metric is not observed itself.
    :ivar waiting: whether it is nothing while no task waits, and more the more of them wait or the longer one does.
        What is said of how a fleet of no workers comes back goes by it.
    :ivar column: its title in C(celery-autoscaler status); empty where it has no column.
    """

    unit: Unit
    source: Source
    text: str
    in_rules: bool = False
    waiting: bool = False
    growth_of: str = ""
    column: str = ""

    @property
    def in_percent(self) -> bool:
        """Whether it goes from 0 to 100."""
        return self.unit is Unit.PERCENT

    @property
    def counts(self) -> bool:
        """Whether it is a number of tasks, and so a whole one."""
        return self.unit in (Unit.MESSAGES, Unit.TASKS)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        QUEUE_DEPTH: Metric(
            Unit.MESSAGES,
            Source.BROKER,
            "waiting in the fleet's queues, all priorities; read from the broker",
            in_rules=True,
            waiting=True,
            column="WAITING",
        ),
        BACKLOG: Metric(
            Unit.TASKS,
            Source.BROKER,
            "C(queue_depth), and what the fleet's workers hold and have not finished: what runs, is prefetched, or "
            "waits for its rate limit. Tasks that workers hold until their time (C(eta), C(countdown)) are no part of "
            "it, see below",
            in_rules=True,
            waiting=True,
        ),
        RUNNING: Metric(Unit.TASKS, Source.WORKERS, "that run now", column="RUNNING"),
        WAIT_TIME: Metric(
            Unit.SECONDS,
            Source.BROKER,
            "age of the oldest waiting task, from what came into the queue and what left it, as the broker counts; "
            "needs no timestamps in tasks. Unknown until it was watched for long enough, and only between two bounds "
            "where two looks are far apart, see below",
            in_rules=True,
            waiting=True,
            column="WAIT",
        ),
        CPU: Metric(
            Unit.PERCENT,
            Source.PLATFORM,
            "CPU time used of what the fleet may use: its quota, else a core for each pool process, never more than "
            "the host has",
            in_rules=True,
            column="CPU",
        ),
        MEMORY: Metric(
            Unit.PERCENT,
            Source.PLATFORM,
            "resident memory of the memory allowed: C(memory_max), else the host's",
            in_rules=True,
            column="MEMORY",
        ),
        TASKS_PROCESSED: Metric(
            Unit.TASKS,
            Source.WORKERS,
            "finished during C(for), as the workers themselves count. Both ends of that time must be known; an unknown "
            "count begins it anew; a count that falls is a worker that started anew, and counts as activity. Without "
            "C(for): since the look before",
            in_rules=True,
            growth_of=PROCESSED_TOTAL,
        ),
        PROCESSED_TOTAL: Metric(Unit.TASKS, Source.WORKERS, "finished so far, also by workers that are gone"),
        RUNTIME_TOTAL: Metric(Unit.SECONDS, Source.WORKERS, "for which tasks have run so far, added up"),
        SCHEDULED: Metric(
            Unit.TASKS, Source.WORKERS, "that workers hold until their time (C(eta), C(countdown)) has come: no load"
        ),
        CONCURRENCY: Metric(
            Unit.TASKS, Source.WORKERS, "that a worker runs at once, on average over the workers that tell"
        ),
    }
)

RULE_METRICS = tuple(name for name, metric in METRICS.items() if metric.in_rules)
OBSERVED = tuple(name for name, metric in METRICS.items() if not metric.growth_of)
BROKER_METRICS = tuple(name for name in RULE_METRICS if METRICS[name].source is Source.BROKER)
WAITING_METRICS = tuple(name for name in RULE_METRICS if METRICS[name].waiting)
