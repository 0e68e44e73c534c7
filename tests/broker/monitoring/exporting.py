# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An autoscaler of made-up fleets, which serves their metrics as the real one does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import FleetMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics_server import serve
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.task_metrics import TaskMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import (
    FleetEvents,
    StreamHealth,
    TaskCounts,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform

BROKER = "redis://queue:6379/0"
BETWEEN_LOOKS = 60.0
"""Seconds of the fleets' own time: so far apart that the wait is only known between bounds."""

# It grows at each look, and shrinks never.
POLICY = {
    "limits": {"cooldown_up": 0},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 11}, {"metric": "wait_time", "above": "30s"}]},
}


class Busy(FakePlatform):
    """A busy host, its queue, and what is heard of it. With each look tasks have ended and a worker has crashed."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.looks = 0
        self.counts = TaskCounts("shop.mail", "celery")

    def advance(self) -> None:
        """Let time pass until the next look."""
        self.looks += 1
        for what in ("received", "started", "succeeded", "failed", "timeouts", "retried", "revoked", "rejected"):
            setattr(self.counts, what, 10 * self.looks)
        self.counts.took(0.7)

    @property
    def now(self) -> float:
        """Seconds."""
        return 1_767_225_600.0 + self.looks * BETWEEN_LOOKS

    def read(self, fleet: str) -> FleetReading:
        """Read the workers of a fleet; one of them is paused."""
        workers = tuple(
            WorkerReading(
                f"{fleet}-{number}@{self.host}",
                "consuming",
                f"{number}:1",
                active=1,
                reserved=1,
                scheduled=1,
                started=10 * self.looks + 1,
                taken={"celery": 10 * self.looks + 2},
                cpu_seconds=3.0 * self.looks,
                cores=1.0,
                memory=3e8 + 1e6 * self.looks,
                memory_allowed=5e8,
                concurrency=1,
                restarts=self.looks if number == 3 else 0,
            )
            for number in (1, 2, 3)
        )
        held = Pause(3) if (self.host, fleet) == ("app2", "mail") else None
        return FleetReading(self.host, self.now, workers, cores=4.0, memory=8e9, pause=held)

    def queues(self) -> QueuesReading:
        """Read a queue in which ever more tasks wait."""
        waiting = 40 + 20 * self.looks
        by_priority = {"celery": {"0": waiting, "9": 0}}
        return QueuesReading(self.now, {"celery": waiting}, 6, by_priority=by_priority)


class Link:
    """The way to the queue of a host."""

    def __init__(self, busy: Busy) -> None:
        self._busy = busy

    def read(self, queues: object, marks: object = None) -> QueuesReading:
        """Read them."""
        return self._busy.queues()

    def close(self) -> None:
        """Be done with it."""


class Heard:
    """What the events of a host's workers tell."""

    def __init__(self, busy: Busy) -> None:
        self._busy = busy

    def events(self, fleet: str) -> FleetEvents:
        """Return what was heard of a fleet."""
        return FleetEvents(fleet, (self._busy.counts,), missed=self._busy.looks)

    def health(self) -> Iterable[tuple[str, StreamHealth]]:
        """Return how well it is heard."""
        looks = self._busy.looks
        yield BROKER, StreamHealth(connected_for=1.0, gaps=looks, gap_seconds=looks, events=looks, garbage=looks)


class Exporting:
    """An autoscaler with the fleets C(web) and C(mail), which take from one queue.

    :ivar port: where it serves its metrics.
    """

    def __init__(self, host: str, folder: Path) -> None:
        self._busy = busy = Busy(host)
        policy = parse_policy(POLICY)
        fleets = tuple(WatchedFleet(name, BROKER, policy=policy, task_events=True) for name in ("web", "mail"))
        files = {what: str(folder / f"{host}.{what}") for what in ("state", "status")}
        configuration = Configuration(mode="advise", fleets=fleets, **files)
        self._daemon = Daemon(
            load=lambda: configuration,
            platform=busy,
            tell=lambda line: None,
            notifier=Notifier({}),
            clock=Clock(lambda: busy.now, lambda: busy.now),
            link=lambda fleet, seconds: Link(busy),
        )
        self._daemon.begin()
        self.look()
        collectors = FleetMetrics(self._daemon), TaskMetrics(self._daemon, Heard(busy))  # type: ignore[arg-type]
        self.port = serve("127.0.0.1", 0, collectors)

    def look(self) -> None:
        """Let time pass, and look at all fleets."""
        self._busy.advance()
        self._daemon.run_cycles()
