# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Totals of a fleet that go on while its workers come and go.

A worker counts since its process started, and its counts are gone with it. So what each process counted at the last
look is remembered, and only what it has counted since is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DRAINING,
    ENDING,
    FleetReading,
    WorkerReading,
)

CARRY_AFTER = 30.0
"""Seconds after which a worker that tells nothing any more is taken to take nothing any more either.

The process that takes messages is the one that tells; a queue whose workers are all frozen must not have an unknown
wait for ever.
"""


@dataclass(frozen=True)
class Life(OnAClock):
    """What one process of a worker had counted when it last told; None: it has not told.

    :ivar host: on which it runs.
    :ivar life: its process.
    :ivar at: when it last told of messages, in seconds since the epoch.
    :ivar finished: tasks.
    :ivar departed: messages that it took from any queue, as far as its counts show.
    :ivar taken: messages by queue.
    :ivar cpu_at: when its CPU time was read, in seconds since the epoch.
    """

    host: str
    life: str
    at: float = field(metadata=INSTANT)
    finished: float | None = None
    departed: float | None = None
    taken: Mapping[str, float] | None = None
    cpu_seconds: float | None = None
    cpu_at: float = field(default=0.0, metadata=INSTANT)


@dataclass(frozen=True)
class Totals(OnAClock):
    """Over all lives, those that are over included.

    :ivar at: the last look, in seconds since the epoch; None before the first one.
    :ivar lives: by the worker's name.
    :ivar finished: tasks.
    :ivar departed: messages taken from any queue.
    :ivar taken: messages taken by queue.
    """

    at: float | None = field(default=None, metadata=INSTANT)
    lives: Mapping[str, Life] = field(default_factory=dict)
    finished: float = 0.0
    departed: float = 0.0
    taken: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """Why totals are not up to date, by what they are totals of; empty where they are.

    :ivar finished: workers that do not tell of tasks.
    :ivar departed: workers that tell neither of messages nor of tasks.
    :ivar taken: workers that do not tell of messages by queue.
    """

    finished: tuple[str, ...] = ()
    departed: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def count(before: Totals, at: float, hosts: Sequence[FleetReading]) -> tuple[Totals, Missing]:
    """Return the totals after one more look, and what is missing in them.

    :param at: seconds since the epoch.
    """
    sums = _Sums(before, at)
    for host in hosts:
        if host.workers is None:
            # It may well come back: what its workers count meanwhile is added then.
            sums.keep_host(host.host, host.unread)
            continue
        for worker in host.workers:
            sums.add(host, worker)
    return sums.result()


class _Sums:
    def __init__(self, before: Totals, at: float) -> None:
        self._before = before
        self._at = at
        self._lives: dict[str, Life] = {}
        self._finished = before.finished
        self._departed = before.departed
        self._taken = dict(before.taken)
        self._missing: dict[str, list[str]] = {"finished": [], "departed": [], "taken": []}

    def result(self) -> tuple[Totals, Missing]:
        totals = Totals(self._at, self._lives, self._finished, self._departed, self._taken)
        return totals, Missing(**{name: tuple(reasons) for name, reasons in self._missing.items()})

    def keep_host(self, host: str, why: str) -> None:
        self._lives.update({name: life for name, life in self._before.lives.items() if life.host == host})
        for reasons in self._missing.values():
            reasons.append(why)

    def add(self, host: FleetReading, worker: WorkerReading) -> None:
        known = self._before.lives.get(worker.name)
        finished = None if worker.started is None or worker.active is None else worker.started - worker.active
        last = known if known is not None and known.life == worker.life else None
        if last is not None and _fell(finished, last.finished):
            last = None
        unseen = known is None and self._began_before_the_last_look(worker)
        departed = departures(worker)
        self._note_what_is_missing(worker, last, finished, departed)
        last = last or Life(host.host, worker.life, self._at)
        self._finished += _more(finished, last.finished, unseen)
        self._departed += _more(departed, last.departed, unseen)
        for queue, taken in (worker.taken or {}).items():
            before = None if last.taken is None else last.taken.get(queue, 0.0)
            self._taken[queue] = self._taken.get(queue, 0.0) + _more(taken, before, unseen)
        self._lives[worker.name] = replace(
            last,
            host=host.host,
            at=last.at if departed is None else self._at,
            finished=last.finished if finished is None else max(finished, last.finished or 0),
            departed=last.departed if departed is None else departed,
            taken=last.taken if worker.taken is None else dict(worker.taken),
            cpu_seconds=last.cpu_seconds if worker.cpu_seconds is None else worker.cpu_seconds,
            cpu_at=last.cpu_at if worker.cpu_seconds is None else host.at,
        )

    def _began_before_the_last_look(self, worker: WorkerReading) -> bool:
        # Then its counts are not of the time since that look. Before the first look everything is.
        last = self._before.at
        return last is not None and worker.since is not None and worker.since > self._at - last + 1.0

    def _note_what_is_missing(
        self, worker: WorkerReading, last: Life | None, finished: float | None, departed: float | None
    ) -> None:
        if worker.phase not in (CONSUMING, ENDING, DRAINING):
            return  # It has nothing, and tells nothing yet.
        why = f"{worker.name}: {worker.why or 'it does not tell'}"
        if worker.phase == ENDING or (worker.phase == DRAINING and last is not None):
            return  # On its way out it takes nothing, and its status goes before it does.
        silent = last if last is not None and self._at - last.at >= CARRY_AFTER else None
        if finished is None:
            self._missing["finished"].append(why)
        if departed is None and (silent is None or silent.departed is None):
            self._missing["departed"].append(why)
        if worker.taken is None and (silent is None or silent.taken is None):
            self._missing["taken"].append(why)


def departures(worker: WorkerReading) -> float | None:
    """Return how many messages a worker took from its queues, as well as its counts show; None where they do not.

    Without counts by queue it is the tasks that it started or holds, which leaves out those that wait in the worker
    for their time, and those that it refused.
    """
    if worker.taken is not None:
        return float(sum(worker.taken.values()))
    if worker.started is None:
        return None
    return float(worker.started + (worker.reserved or 0))


def _fell(now: float | None, before: float | None) -> bool:
    """Return whether a count began anew, as in a worker that replaced itself in its process.

    One that is told in two parts, which belong to slightly different instants, may fall by a task or so as well.
    """
    return now is not None and before is not None and now < before / 2


def _more(now: float | None, before: float | None, unseen: bool) -> float:
    if now is None or (before is None and unseen):
        return 0.0
    return max(now - (before or 0.0), 0.0)
