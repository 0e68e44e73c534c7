# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fleet from cycle to cycle: what is remembered of it, and what was seen last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import Cycle, run_cycle
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.coming import Coming
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.stuck import StuckWatch
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import WatchedFleet
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, OBSERVE
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import QUEUE_DEPTH
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import promised_wait
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    ENDING,
    STARTING,
    FleetReading,
    Marks,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats, Memory

_UP = (STARTING, CONSUMING)

ReadFleet = Callable[[str], FleetReading]
"""Reads the workers of the fleet of that name."""


class Link(Protocol):
    """A way to a broker."""

    def read(self, queues: Sequence[str], marks: Marks | None = None) -> QueuesReading:
        """Read queues, and what arrived since the last reading's marks; a failure is part of the reading."""

    def close(self) -> None:
        """Be done with it."""


@dataclass(frozen=True)
class Look:
    """One look at a fleet and what came of it.

    :ivar monotonic: when it was, on a clock that cannot be set.
    :ivar stuck: seconds for which each stuck worker has idled while tasks waited.
    """

    cycle: Cycle
    host: FleetReading
    queues: QueuesReading
    monotonic: float
    stuck: dict[str, float]

    @property
    def workers(self) -> tuple[WorkerReading, ...]:
        """The workers, none where they could not be read."""
        return self.host.workers or ()

    @property
    def wanted(self) -> int | None:
        """How many workers there shall be; None where nobody says."""
        return None if self.cycle.decision is None else self.cycle.decision.after

    def ended_since(self, before: Look | None) -> dict[str, str]:
        """Return the workers that ended since the look before without having been told to, and how, by name."""
        known = {worker.name: worker for worker in before.workers} if before else {}
        ended = {
            worker.name: worker.state or ("it ends" if worker.phase == ENDING else "it was started again")
            for worker in self.workers
            if worker.name in known and _ended(known[worker.name], worker)
        }
        lost = {name: how for name, how in self.host.lost.items() if name in known and known[name].phase in _UP}
        return {**ended, **lost}

    @property
    def broker_told(self) -> bool:
        """Whether it is known if the broker takes tasks: one that was not read is not one that takes them."""
        return bool(self.queues.blocked) or self.queues.waiting is not None


@dataclass
class FleetWatch:
    """What the autoscaler keeps of one fleet. C(decisions) and C(errors) count since it started.

    :ivar fresh: whether no cycle was run since the autoscaler started.
    :ivar state_lost: whether there was a state and it could not be used.
    :ivar blocked: whether its broker took no tasks at the last cycle.
    :ivar stuck: names of the workers that were stuck at the last cycle.
    :ivar let_go: who else set the number of its workers at the last cycle, so that it was only looked at; empty where
        nobody did.
    :ivar ended: how many workers ended without having been told to, and C(started_again) how many were started again,
        since the autoscaler started.
    """

    fleet: WatchedFleet
    link: Link
    remembered: Remembered
    fresh: bool = True
    state_lost: bool = False
    last: Look | None = None
    idle: StuckWatch = field(default_factory=StuckWatch)
    coming: Coming = field(default_factory=Coming)
    decisions: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    stuck: set[str] = field(default_factory=set)
    blocked: bool = False
    let_go: str = ""
    ended: int = 0
    started_again: int = 0

    def look(self, mode: str, at: float, monotonic: float, read_fleet: ReadFleet, heartbeats: Heartbeats) -> Look:
        """Read everything, and decide unless it is only to be observed. What is remembered is left to the caller."""
        # The workers first: what they have taken may be older than what waits, never newer (see observe/flow.py).
        host = read_fleet(self.fleet.name)
        queues = self.link.read(self.fleet.queues, self.remembered.observed.waiting.marks)
        self.let_go = host.let_go if mode == ACT and self.fleet.policy else ""
        policy = None if mode == OBSERVE or self.let_go else self.fleet.policy
        cycle = run_cycle(policy, self.remembered, at, (host,), queues, heartbeats)
        # Of a broker that takes nothing nobody knows what it would hand out.
        waiting = None if cycle.seen.blocked else cycle.seen.value(QUEUE_DEPTH)
        self.idle = self.idle.then(monotonic, waiting, host.workers or ())
        self.last = Look(cycle, host, queues, monotonic, self.idle.stuck(monotonic, self.fleet.stuck.after))
        return self.last

    def of(self, fleet: WatchedFleet, link: Link) -> FleetWatch:
        """Return the watch of the same fleet under another configuration."""
        if _looks_at(fleet) == _looks_at(self.fleet):
            return replace(self, fleet=fleet, link=link)
        # What held in other queues does not hold in these.
        remembered = replace(self.remembered.restarted(), observed=Memory())
        return replace(self, fleet=fleet, link=link, remembered=remembered, fresh=True)

    def take_over(self, other: Remembered) -> None:
        """Go on from what another service has done to the fleet, with what was seen here meanwhile."""
        self.remembered = other.restarted() if self.last is None else self.remembered.taking_over(other)

    def status(self) -> dict[str, Any]:
        """Return what a person wants to know of the fleet."""
        status: dict[str, Any] = {
            "fleet": self.fleet.name,
            "policy": self.fleet.policy is not None,
            "decisions": dict(self.decisions),
            "errors": dict(self.errors),
            **({"let_go": self.let_go} if self.let_go else {}),
        }
        if self.last:
            status.update(self.last.cycle.as_json(), stuck=self.last.stuck, queues=self.last.queues.waiting)
            status["waiting_by_priority"] = self.last.queues.by_priority
            if self.last.host.workers is not None:
                status["worker_memory"] = {
                    worker.name: {"life": worker.life, "bytes": worker.memory} for worker in self.last.workers
                }
            if self.remembered.withdrawn:
                status["withdrawn"] = True
            if self.fleet.policy:
                status["promised_wait"] = promised_wait(self.fleet.policy)
                status.update(self.coming.at(self.fleet.policy, self.last.cycle.seen.at))
        return status


def _looks_at(fleet: WatchedFleet) -> tuple[object, ...]:
    return fleet.broker_url, fleet.transport_options, fleet.queues


def _ended(before: WorkerReading, now: WorkerReading) -> bool:
    """Return whether a worker has ended between two looks, without having been told to."""
    if before.phase in _UP and (now.phase in (ENDING, DOWN) or now.restarts > before.restarts):
        return True
    return before.phase in (ENDING, DOWN) and now.restarts > before.restarts + 1
