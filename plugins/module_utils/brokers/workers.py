# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of Celery workers: the values, and the rules that turn their answers into them."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

EVENT_EXCHANGE = "celeryev"
"""Celery's default for C(event_exchange)."""

ONLINE = "online"
DRAINING = "draining"
SILENT = "silent"

COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "stats": {},
    "active_queues": {},
    # Arguments of tasks come shortened, which keeps big ones off the wire.
    "active": {"safe": True},
    "reserved": {},
}
"""Remote control commands whose answers make up a C(Worker)."""

_POOLS = {"thread": "threads"}


@dataclass(frozen=True)
class Worker:
    """A worker as it answered; None is unknown.

    :ivar name: node name such as C(web-1@host1); None for one that is there but did not say who it is.
    :ivar state: C(online), C(draining) (answers, but consumes from no queue) or C(silent) (does not answer).
    :ivar pool: C(prefork), C(gevent), C(eventlet), C(solo), C(threads), or a class name of the app's own.
    :ivar concurrency: tasks it can run at once now.
    :ivar active: tasks that run.
    :ivar reserved: tasks it received and has not started, those with a later start time not counted.
    :ivar processed: tasks started since the worker started.
    :ivar queues: names of the queues it consumes from.
    :ivar pid: of its main process, on its own host.
    :ivar uptime: seconds.
    """

    name: str | None
    state: str
    pool: str | None = None
    concurrency: int | None = None
    active: int | None = None
    reserved: int | None = None
    processed: int | None = None
    queues: tuple[str, ...] | None = None
    pid: int | None = None
    uptime: float | None = None


@dataclass(frozen=True)
class Found:
    """Who was found by calling: workers, how many more there are without a name, and what could not be told."""

    workers: tuple[Worker, ...]
    nameless: int = 0
    warnings: tuple[str, ...] = ()


def is_pattern(text: str) -> bool:
    """Whether a wanted name is a pattern (C(web-*)) and not one worker's name."""
    return any(character in text for character in "*?[")


def matches(name: str, wanted: Collection[str]) -> bool:
    """Whether a node name is wanted; nothing wanted means everyone."""
    return not wanted or any(name == one or fnmatch.fnmatchcase(name, one) for one in wanted)


def worker_from_answers(name: str, answers: Mapping[str, Any]) -> Worker:
    """Put a worker together from its answers to C(COMMANDS); what was not answered is unknown."""
    stats = _mapping(answers.get("stats"))
    pool = _mapping(stats.get("pool"))
    queues = _queue_names(answers.get("active_queues"))
    totals = stats.get("total")
    uptime = stats.get("uptime")
    return Worker(
        name=name,
        state=DRAINING if queues == () else ONLINE,
        pool=pool_name(pool.get("implementation")),
        concurrency=_concurrency(pool),
        active=_length(answers.get("active")),
        reserved=_length(answers.get("reserved")),
        processed=sum(totals.values()) if isinstance(totals, Mapping) else None,
        queues=queues,
        pid=integer(stats.get("pid")),
        uptime=uptime if isinstance(uptime, (int, float)) else None,
    )


def pool_name(implementation: Any) -> str | None:
    """Return the word that C(--pool) takes for a pool class such as C(celery.concurrency.thread:TaskPool)."""
    if not isinstance(implementation, str) or not implementation:
        return None
    module = implementation.partition(":")[0]
    package, _dot, last = module.rpartition(".")
    return _POOLS.get(last, last) if package == "celery.concurrency" else implementation


def _concurrency(pool: Mapping[str, Any]) -> int | None:
    # max-concurrency is where a prefork pool began; autoscaling and pool_grow change its processes only.
    processes = pool.get("processes")
    if isinstance(processes, (list, tuple)) and processes:
        return len(processes)
    return integer(pool.get("max-concurrency"))


def _queue_names(answer: Any) -> tuple[str, ...] | None:
    if not isinstance(answer, (list, tuple)):
        return None
    return tuple(sorted(str(queue["name"]) for queue in answer if isinstance(queue, Mapping) and queue.get("name")))


def _mapping(answer: Any) -> Mapping[str, Any]:
    return answer if isinstance(answer, Mapping) else {}


def _length(answer: Any) -> int | None:
    return len(answer) if isinstance(answer, (list, tuple)) else None


def integer(value: Any) -> int | None:
    """The whole number that a worker tells; else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
