# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service with made-up fleets, whose numbers a test sets, and whose time passes when the test says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.keeping import HistoryKeeper
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleRequest, ScaleResult
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform

MONDAY = 1_767_600_000.0
"""Monday 2026-01-05 08:00 UTC."""


@dataclass
class MadeUpFleet:
    """One fleet.

    :ivar waiting: tasks by queue and priority; None while the broker is away.
    :ivar workers: None while they cannot be read.
    """

    name: str
    waiting: dict[str, dict[str, int]] | None = field(default_factory=lambda: {"celery": {"0": 0, "9": 0}})
    workers: int | None = 2
    draining: int = 0
    busy: int = 0
    broker_url: str = "redis://:not-a-real-password@broker:6379/0"
    policy: Mapping[str, Any] | None = field(default_factory=dict)

    def watched(self) -> WatchedFleet:
        """As the service is told of it."""
        policy = None if self.policy is None else parse_policy(dict(self.policy))
        return WatchedFleet(self.name, self.broker_url, queues=tuple(self.waiting or ("celery",)), policy=policy)


class _Link:
    def __init__(self, service: MadeUpService, fleet: MadeUpFleet) -> None:
        self._service = service
        self._fleet = fleet

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        waiting = self._fleet.waiting
        if waiting is None:
            return QueuesReading(self._service.now, None, problem="broker:6379: Connection refused")
        sums = {queue: sum(waiting[queue].values()) for queue in queues}
        return QueuesReading(self._service.now, sums, 0, by_priority=waiting)

    def close(self) -> None:
        pass


class MadeUpService(FakePlatform):
    """The service. Workers start and end at once."""

    def __init__(self, folder: Path, fleets: Sequence[MadeUpFleet], **settings: Any) -> None:
        super().__init__()
        self.made_up = {fleet.name: fleet for fleet in fleets}
        self.now = MONDAY
        self.lines: list[Mapping[str, Any]] = []
        files = {what: str(folder / f"{what}.json") for what in ("state", "status")}
        values = {"mode": "act", "interval": 5.0, **settings}
        self.configuration = Configuration(fleets=tuple(fleet.watched() for fleet in fleets), **files, **values)
        self.daemon = Daemon(
            load=lambda: self.configuration,
            platform=self,
            tell=self.lines.append,
            notifier=Notifier({}),
            clock=Clock(lambda: self.now, lambda: self.now, self.pass_by),
            link=lambda fleet, seconds: _Link(self, self.made_up[fleet.name]),
            history=HistoryKeeper(lambda: self.configuration.state),
        )
        self.daemon.begin()

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def look(self, times: int = 1) -> None:
        """Look at all fleets, and let an interval pass after each time."""
        for _time in range(times):
            self.daemon.run_cycles()
            self.pass_by(self.configuration.interval)

    def events(self) -> list[str]:
        """What was written down that is no decision."""
        return [line["event"] for line in self.lines if "event" in line]

    def read(self, fleet: str) -> FleetReading:
        """Read the workers of a fleet."""
        made_up = self.made_up[fleet]
        if made_up.workers is None:
            return FleetReading("host", self.now, None, "systemd did not answer")
        phases = ["consuming"] * made_up.workers + ["draining"] * made_up.draining
        workers = tuple(
            WorkerReading(
                f"{fleet}-{number}@host",
                phase,
                f"{number}:1",
                active=int(number <= made_up.busy),
                reserved=0,
                scheduled=0,
                started=int(number <= made_up.busy),
                taken=dict.fromkeys(made_up.waiting or (), 0),
                cpu_seconds=self.now / 4,
                cores=1.0,
                memory=2e8,
                memory_allowed=5e8,
                concurrency=1,
                id=str(number),
            )
            for number, phase in enumerate(phases, 1)
        )
        return FleetReading("host", self.now, workers, cores=8.0, memory=16e9)

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        """Have as many workers as are asked for."""
        made_up = self.made_up[request.fleet]
        before, made_up.workers = made_up.workers or 0, request.workers
        return ScaleResult(before != request.workers, before, request.workers)
