# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of Celery workers: the values, and the rules that turn their answers into them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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

_NUMBERED = re.compile(r"(?P<head>[^@]*?)(?P<number>[0-9]{1,6})(?P<tail>(?:@.*)?)")
"""A node name whose part before the @ ends in a number."""

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
        pid=_integer(stats.get("pid")),
        uptime=uptime if isinstance(uptime, (int, float)) else None,
    )


def pool_name(implementation: Any) -> str | None:
    """Return the word that C(--pool) takes for a pool class such as C(celery.concurrency.thread:TaskPool)."""
    if not isinstance(implementation, str) or not implementation:
        return None
    module = implementation.partition(":")[0]
    package, _dot, last = module.rpartition(".")
    return _POOLS.get(last, last) if package == "celery.concurrency" else implementation


@dataclass(frozen=True)
class Silence:
    """Who does not answer.

    :ivar names: those whose names are known.
    :ivar nameless: how many more there are.
    :ivar sure: how many of C(names) are there for certain; the others may be leftovers of killed workers.
    """

    names: tuple[str, ...]
    nameless: int
    sure: int


def silence_among(listening: int, answered: Collection[str], bound: Iterable[str]) -> Silence:
    """Tell who does not answer, from how many listen and which names the broker keeps.

    :param listening: nodes that hear a broadcast.
    :param answered: nodes that answered it.
    :param bound: names with a mailbox. A killed worker leaves its name behind, so a name
        alone proves nothing: only when as many are missing as there are names left, each
        of them is known to be there.
    """
    missing = max(0, listening - len(answered))
    names = tuple(sorted(set(bound) - set(answered))) if missing else ()
    return Silence(names=names, nameless=max(0, missing - len(names)), sure=min(missing, len(names)))


def neighbours(names: Iterable[str], beyond: int = 2, at_most: int = 200) -> tuple[str, ...]:
    """Return names that workers numbered like the given ones would have: C(web-2@a) beside C(web-1@a), C(web-3@a).

    :param beyond: how many numbers past the highest one.
    :param at_most: longest answer.
    """
    known = set(names)
    highest: dict[tuple[str, str], int] = {}
    for name in known:
        numbered = _NUMBERED.fullmatch(name)
        if numbered:
            series = (numbered["head"], numbered["tail"])
            highest[series] = max(highest.get(series, 0), int(numbered["number"]))
    guesses = (
        f"{head}{number}{tail}"
        for (head, tail), top in sorted(highest.items())
        for number in range(max(1, top - at_most), top + beyond + 1)
    )
    return tuple(guess for guess in guesses if guess not in known)[:at_most]


def unseen_consumers(consumers: Mapping[str, int], workers: Iterable[Worker]) -> dict[str, int]:
    """Return how many consumers of each queue belong to nobody who answered.

    :param consumers: consumers of each queue as the broker counts them.
    """
    known = list(workers)
    unseen = {}
    for queue, count in consumers.items():
        excess = count - sum(1 for worker in known if queue in (worker.queues or ()))
        if excess > 0:
            unseen[queue] = excess
    return unseen


def _concurrency(pool: Mapping[str, Any]) -> int | None:
    # max-concurrency is where a prefork pool began; autoscaling and pool_grow change its processes only.
    processes = pool.get("processes")
    if isinstance(processes, (list, tuple)) and processes:
        return len(processes)
    return _integer(pool.get("max-concurrency"))


def _queue_names(answer: Any) -> tuple[str, ...] | None:
    if not isinstance(answer, (list, tuple)):
        return None
    return tuple(sorted(str(queue["name"]) for queue in answer if isinstance(queue, Mapping) and queue.get("name")))


def _mapping(answer: Any) -> Mapping[str, Any]:
    return answer if isinstance(answer, Mapping) else {}


def _length(answer: Any) -> int | None:
    return len(answer) if isinstance(answer, (list, tuple)) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
