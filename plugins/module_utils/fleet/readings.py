# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of a fleet's workers and queues at one instant, before anything is made of it.

None is unknown everywhere, and never stands for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import POLICY

STARTING = "starting"
CONSUMING = "consuming"
ENDING = "ending"
DRAINING = "draining"
DOWN = "down"


@dataclass(frozen=True)
class WorkerReading:
    """One worker as its platform saw it.

    :ivar name: Celery's name of it, unique in the fleet, such as C(web-1@host).
    :ivar phase: C(starting) (on its way up), C(consuming), C(ending) (its process ends, and nobody told it to),
        C(draining) (on its way out) or C(down) (wanted, but it does not run).
    :ivar life: another text for another process of the same worker; counters start anew with it.
    :ivar active: tasks that run.
    :ivar reserved: tasks received and not started, without those that wait for their time.
    :ivar started: tasks started since its process started; finished are C(started - active).
    :ivar taken: messages taken from each queue since its process started.
    :ivar cpu_seconds: CPU time used so far, by its main process and all below it.
    :ivar cpu_rate: CPU seconds that it uses in a second, where its platform measures that and not the time so far.
    :ivar cores: CPU seconds it may use in a second.
    :ivar memory: bytes it uses.
    :ivar memory_allowed: bytes it may use.
    :ivar since: seconds for which it has been consuming.
    :ivar concurrency: tasks that it runs at once.
    :ivar scheduled: tasks received that wait for their time.
    :ivar silent: whether it ought to tell what it does and does not, as one that hangs.
    :ivar down_for: seconds for which it has been down, where that is known.
    :ivar retried: whether its platform will start it again by itself.
    :ivar restarts: how often the platform did so since somebody else started it.
    :ivar state: what the platform says of one that is down, such as C(failed, exit-code).
    :ivar why: why something of the above is None.
    :ivar id: what its platform calls it, and understands.
    """

    name: str
    phase: str
    life: str = ""
    active: int | None = None
    reserved: int | None = None
    started: int | None = None
    taken: Mapping[str, int] | None = None
    cpu_seconds: float | None = None
    cores: float | None = None
    memory: float | None = None
    memory_allowed: float | None = None
    since: float | None = None
    why: str = ""
    concurrency: int | None = None
    scheduled: int | None = None
    silent: bool = False
    down_for: float | None = None
    retried: bool = False
    restarts: int = 0
    state: str = ""
    id: str = ""
    cpu_rate: float | None = None


@dataclass(frozen=True)
class FleetReading:
    """The workers of a fleet in one place, a host or a cluster.

    :ivar at: seconds since the epoch.
    :ivar workers: None where they could not be read.
    :ivar problem: why C(workers) is None.
    :ivar cores: CPU cores of the place.
    :ivar memory: bytes of memory of the place.
    :ivar exists: whether the place has such a fleet; None where that could not be found out.
    :ivar wanted_workers: how many workers there are to be, where the platform keeps that number itself. There may be
        more workers for a while, as while they are replaced, or fewer, as while none more can be had.
    :ivar pause: what somebody holds the fleet at here, over or not; None where nobody does.
    :ivar scaled_by: who sets that number, where the platform notes it: C(policy) is the autoscaler. Empty where it
        notes nobody.
    :ivar lost: by name, how workers ended for good though nobody told them to, for as long as the platform knows of
        them. They are no workers any more; others take their places.
    """

    host: str
    at: float
    workers: tuple[WorkerReading, ...] | None
    problem: str = ""
    cores: float | None = None
    memory: float | None = None
    exists: bool | None = None
    wanted_workers: int | None = None
    pause: Pause | None = None
    scaled_by: str = ""
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> int | None:
        """How many workers there are to be, those that are down among them; None where they are not known."""
        if self.workers is None or self.wanted_workers is not None:
            return None if self.workers is None else self.wanted_workers
        return sum(worker.phase != DRAINING for worker in self.workers)

    @property
    def let_go(self) -> str:
        """Who else sets the number, so that no autoscaler may; empty where it may."""
        return "" if self.scaled_by == POLICY else self.scaled_by

    @property
    def unread(self) -> str:
        """Why the workers are not known, with the host's name; empty where they are."""
        return "" if self.workers is not None else f"{self.host}: {self.problem or 'its workers could not be read'}"


@dataclass(frozen=True)
class ListReading:
    """A list of messages in which the broker shows what arrived: a queue, or one priority of it.

    :ivar waiting: messages that wait in it.
    :ivar mark: what to give the broker at the next reading, to count from here; empty where it cannot.
    :ivar arrived: messages that arrived since the mark that was given; C(waiting) where all that wait have, None where
        that is not known.
    """

    waiting: int
    mark: str = ""
    arrived: int | None = None


Marks = Mapping[str, Mapping[str, str]]
"""Marks of the last reading by queue and list."""


@dataclass(frozen=True)
class QueuesReading:
    """The queues of a fleet.

    :ivar at: seconds since the epoch.
    :ivar waiting: by queue name, messages that no worker has taken, all priorities together; None where the broker
        could not be read.
    :ivar unacknowledged: messages taken and not acknowledged, all queues together.
    :ivar problem: why something of the above is None.
    :ivar blocked: why the broker takes no tasks at present; empty where it does, or does not tell.
    :ivar by_priority: C(waiting) by priority step, where the broker tells.
    :ivar lists: by queue and list, what arrived; only queues whose arrivals the broker shows, and only lists in which
        messages wait.
    :ivar delivered: by queue, messages that the broker delivered for the first time, since whenever; only queues of
        which it counts that.
    :ivar uncounted: why the broker tells neither of some queues.
    """

    at: float
    waiting: Mapping[str, int] | None
    unacknowledged: int | None = None
    problem: str = ""
    by_priority: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    blocked: str = ""
    lists: Mapping[str, Mapping[str, ListReading]] = field(default_factory=dict)
    delivered: Mapping[str, int] = field(default_factory=dict)
    uncounted: str = ""
