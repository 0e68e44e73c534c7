# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workers of the watched fleets, as their events name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Optional

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.counts import FleetCounts
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.fields import count_of, seconds_of
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.labels import NAME_MAX, clean_name
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.missed import MissedStarts
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import HeardWorker

NODES_MAX = 1000
"""Workers that are remembered; whoever was silent for longest makes room."""

FORGET_SECONDS = 3600.0
"""Silence after which a worker is forgotten."""

HEARTBEAT_SECONDS = 2.0
"""Celery's interval between two heartbeats of a worker that does not tell its own."""

LONGEST_INTERVAL = 3600.0

FleetOf = Callable[[str], Optional[str]]
"""Returns the fleet that the worker of a name belongs to, None for one that is not to be known."""


class Node:
    """One worker, over all its lives."""

    def __init__(self, name: str, fleet: FleetCounts, at: float) -> None:
        self.fleet = fleet
        self.heard_at = at
        self.worker = HeardWorker(name, interval=HEARTBEAT_SECONDS)
        self._beat_at: float | None = None
        self._starts = MissedStarts()

    def saw_start(self) -> None:
        """A task event told of a start."""
        self.worker.sends_task_events = True
        self._starts.started()

    def saw_end(self, seconds: float | None) -> None:
        """A task event told of the end of a run, which took so long where that is known."""
        self.worker.sends_task_events = True
        self.worker.finished += 1
        self.fleet.saw_end(seconds)

    def beat(self, event: Mapping[str, Any], at: float) -> None:
        """Take a heartbeat, or the greeting of a worker that (re)connected."""
        pid, started = count_of(event.get("pid")), count_of(event.get("processed"))
        worker = self.worker
        if self._beat_at is not None and _is_another_life(worker, pid, started):
            # It began while we listened, so all its starts should have been told of.
            self._starts = MissedStarts(base=0)
        self.heard_at = self._beat_at = at
        worker.online = True
        worker.pid, worker.started, worker.active = pid, started, count_of(event.get("active"))
        worker.interval = seconds_of(event.get("freq"), LONGEST_INTERVAL) or HEARTBEAT_SECONDS
        if started is not None:
            more = self._starts.heartbeat(started, worker.sends_task_events)
            worker.missed += more
            self.fleet.events.missed += more

    def leave(self, at: float) -> None:
        """Take a worker's farewell."""
        self.heard_at = at
        self.worker.online = False

    def heard(self, at: float) -> HeardWorker:
        """Return the worker as it is at the instant C(at)."""
        return replace(self.worker, age=None if self._beat_at is None else max(0.0, at - self._beat_at))


class Nodes:
    """The workers of the watched fleets by name.

    :param fleet_of: tells which fleet the worker of a name belongs to, None for one that is not to be known.
    """

    def __init__(self, fleet_named: Callable[[str], FleetCounts | None], fleet_of: FleetOf) -> None:
        self._fleet_named = fleet_named
        self._fleet_of = fleet_of
        self._known: dict[str, Node] = {}

    def get(self, name: str, at: float) -> Node | None:
        """Return the worker of that name, None when it is in no watched fleet."""
        return self._known.get(name) or self._meet(name, at)

    def _meet(self, name: str, at: float) -> Node | None:
        found = self._fleet_of(name) if len(name) <= NAME_MAX else None
        fleet = None if found is None else self._fleet_named(found)
        if fleet is None or clean_name(name) != name:
            return None
        if len(self._known) >= NODES_MAX:
            del self._known[min(self._known, key=lambda each: self._known[each].heard_at)]
        node = self._known[name] = Node(name, fleet, at)
        return node

    def forget(self, at: float) -> None:
        """Forget who was silent for long, and whose fleet is not watched any more."""
        for name, node in list(self._known.items()):
            if at - node.heard_at > FORGET_SECONDS or self._fleet_named(node.fleet.events.fleet) is not node.fleet:
                del self._known[name]

    def workers(self, fleet: FleetCounts, at: float) -> dict[str, HeardWorker]:
        """Return the workers of a fleet."""
        return {name: node.heard(at) for name, node in self._known.items() if node.fleet is fleet}


def _is_another_life(before: HeardWorker, pid: int | None, started: int | None) -> bool:
    if pid != before.pid:
        return True
    return started is not None and before.started is not None and started < before.started
