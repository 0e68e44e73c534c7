# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon and scheduled runs on a platform in memory, whose workers take their time to start and to drain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from a_policy import POLICY

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import FleetFile
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.one_cycle import (
    OneCycle,
    Outcome,
    counts,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    StuckRule,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading, QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleRequest, ScaleResult
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase


class Service:
    """A daemon that looks every five seconds at a fleet in memory and at a queue of so many tasks."""

    def __init__(self, folder: Path, platform: FakePlatform, restart: bool = False) -> None:
        self.platform = platform
        self.waiting: int | None = 0
        self.lines: list[dict[str, Any]] = []
        fleet = WatchedFleet(
            "web", "redis://localhost/0", policy=POLICY, stuck=StuckRule(after=10 if restart else 300, restart=restart)
        )
        self.configuration = Configuration(
            mode="act", state=str(folder / "state.json"), status=str(folder / "status.json"), fleets=(fleet,)
        )
        self.daemon = Daemon(
            load=lambda: self.configuration,
            platform=platform,
            tell=lambda line: self.lines.append(dict(line)),
            notifier=Notifier({}),
            clock=platform.manager.clock,
            link=lambda fleet, seconds: self,
        )
        self.daemon.begin()

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        at = self.platform.manager.clock.wall()
        if self.waiting is None:
            return QueuesReading(at, None, problem="connection refused")
        return QueuesReading(at, dict.fromkeys(queues, self.waiting), 0)

    def close(self) -> None:
        pass

    def look(self, times: int = 1) -> list[tuple[str, int | None, int | None]]:
        """Look so many times, and return what was decided."""
        before = len(self.lines)
        for _time in range(times):
            self.daemon.run_cycles()
            self.platform.manager.time.pass_by(5)
        return [(line["action"], line["from"], line["to"]) for line in self.lines[before:] if "event" not in line]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines if "event" in line]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(1, 2)


@pytest.fixture
def service(tmp_path: Path, platform: FakePlatform) -> Service:
    return Service(tmp_path, platform)


def test_it_grows_and_shrinks_and_what_drains_does_not_count(service: Service, platform: FakePlatform) -> None:
    platform.manager.start_seconds = 12.0
    platform.manager.drain_seconds = dict.fromkeys(range(1, 10), 60.0)
    service.waiting = 50
    assert service.look(5) == [("up", 2, 4), ("hold", 4, 4), ("hold", 4, 4), ("hold", 4, 4), ("up", 4, 6)]
    service.look(3)
    service.waiting = 0
    decided = service.look(20)
    assert [to for action, _from, to in decided if action == "down"] == [5, 4, 3]
    reading = platform.read("web")
    assert reading.wanted == 3
    assert [worker.phase for worker in reading.workers or ()].count("draining") >= 1
    assert "scale_failed" not in service.events()


def test_what_was_started_does_not_consume_yet_and_counts(service: Service, platform: FakePlatform) -> None:
    platform.manager.start_seconds = 100.0
    service.waiting = 50
    service.look(2)
    assert (service.lines[-1]["workers"], service.lines[-1]["starting"]) == (4, 2)


@pytest.mark.parametrize(
    "fault", [{"refuses": {"start": "it said no"}}, {"load_problem": "bad-setting"}, {"denies": "not root"}]
)
def test_what_could_not_be_done_starts_no_cooldown(
    service: Service, platform: FakePlatform, fault: dict[str, Any]
) -> None:
    for name, value in fault.items():
        setattr(platform.manager, name, value)
    service.waiting = 50
    assert service.look() == [("up", 2, 4)]
    assert service.daemon.watches["web"].errors["scale"] == 1
    for name, value in fault.items():
        setattr(platform.manager, name, type(value)())
    assert service.look(2) == [("up", 2, 4), ("hold", 4, 4)]
    assert service.events()[-1] == "scaled"


def test_a_start_that_was_made_in_part_keeps_the_cooldown(service: Service, platform: FakePlatform) -> None:
    platform.manager.refuses = {"enable": "it said no"}
    service.waiting = 50
    assert service.look(2) == [("up", 2, 4), ("hold", 4, 4)]
    assert service.events().count("scale_failed") == 1


def test_a_fleet_that_somebody_else_holds_waits_and_is_told_of_once(service: Service, platform: FakePlatform) -> None:
    service.waiting, platform.manager.locked = 50, True
    assert {action for action, _from, _to in service.look(4)} == {"up"}
    assert service.events().count("fleet_busy") == 1
    platform.manager.locked = False
    service.look()
    assert service.events()[-2:] == ["fleet_busy_any_more", "scaled"]


def test_a_fleet_that_cannot_be_read_is_not_an_empty_one(service: Service, platform: FakePlatform) -> None:
    platform.manager.unreadable = "the bus is silent"
    service.waiting = 50
    assert service.look(3) == [("hold", None, None)] * 3
    assert platform.manager.calls == []


def test_a_number_that_changed_since_it_was_read_is_decided_on_again(service: Service, platform: FakePlatform) -> None:
    read = platform.read

    def late(fleet: str) -> Any:
        reading = read(fleet)
        platform.manager.add(7)
        platform.read = read  # type: ignore[method-assign]
        return reading

    platform.read = late  # type: ignore[method-assign]
    service.waiting = 50
    assert service.look(2) == [("up", 2, 4), ("up", 3, 5)]
    assert "2 workers were expected, but there are 3" in str(service.lines)


def test_a_worker_that_the_platform_lost_is_told_of_once(service: Service, platform: FakePlatform) -> None:
    service.look()
    read = platform.read

    def evicted(fleet: str) -> FleetReading:
        reading = read(fleet)
        first, *others = reading.workers or ()
        # Of the other one it has heard long ago.
        return replace(reading, workers=tuple(others), lost={first.name: "Evicted: no memory", "web-9": "Evicted"})

    platform.read = evicted  # type: ignore[method-assign]
    service.look(3)
    told = [line["workers"] for line in service.lines if line.get("event") == "workers_ended"]
    assert [list(workers.values()) for workers in told] == [["Evicted: no memory"]]
    assert service.daemon.watches["web"].ended == 1


def test_a_worker_that_crashed_is_started_again(service: Service, platform: FakePlatform) -> None:
    service.look()
    platform.manager.crash(2)
    service.waiting = 5
    service.look(5)
    assert service.events().count("workers_ended") == 1
    assert service.events().count("started_again") == 1
    assert service.daemon.watches["web"].started_again == 1
    service.look()
    assert (platform.read("web").wanted, platform.manager.units[2].phase) == (2, Phase.RUNNING)


def test_one_that_does_not_come_back_is_started_less_and_less_often(service: Service, platform: FakePlatform) -> None:
    platform.manager.broken = {2}
    platform.manager.crash(2)
    service.waiting = 5
    service.look(240)
    assert 5 <= service.daemon.watches["web"].started_again <= 8


def test_a_stuck_worker_is_restarted_by_its_id_drained(tmp_path: Path, platform: FakePlatform) -> None:
    service = Service(tmp_path, platform, restart=True)
    platform.manager.tasks = {2: 1}
    service.waiting = 5
    service.look(3)
    assert platform.manager.calls == [("restart", "web-1")]
    assert service.events()[-1] == "stuck_restarted"
    assert service.lines[-1]["worker"] == "web-1@fake"


def test_what_it_asks_for_is_never_waited_for(service: Service, platform: FakePlatform) -> None:
    platform.manager.start_seconds = 500.0
    service.waiting = 50
    begun = platform.manager.clock.monotonic()
    service.look()
    assert platform.manager.clock.monotonic() == begun + 5


class Runs:
    """Scheduled runs of the module, one a minute, with nothing between them but the state file."""

    def __init__(self, folder: Path, platform: FakePlatform) -> None:
        self.platform = platform
        self.waiting = 0
        self.path = str(folder / "web.json")

    def run(self, apply: bool = True, check: bool = False) -> Outcome:
        clock = self.platform.manager.clock
        asked = OneCycle(FleetFile(self.path, "web"), POLICY, apply=apply, check_mode=check)

        def act(workers: int, expected: int) -> ScaleResult:
            return self.platform.scale(ScaleRequest("web", workers, expected), check=check)

        at = clock.wall()
        queues = QueuesReading(at, {"celery": self.waiting}, 0)
        reading = replace(self.platform.read("web"), at=at)
        try:
            return asked.run(at, (reading,), queues, act)
        finally:
            self.platform.manager.time.pass_by(60)


@pytest.fixture
def runs(tmp_path: Path, platform: FakePlatform) -> Runs:
    tmp_path.chmod(0o700)
    return Runs(tmp_path, platform)


def test_a_scheduled_run_scales_and_waits(runs: Runs, platform: FakePlatform) -> None:
    runs.waiting = 50
    outcome = runs.run()
    assert outcome.scaled.started == ["web-3", "web-4"]
    assert platform.read("web").wanted == 4
    runs.waiting = 0
    platform.manager.drain_seconds = dict.fromkeys(range(1, 10), 30.0)
    runs.run()
    outcome = runs.run()
    assert (outcome.scaled.before, outcome.scaled.after, outcome.scaled.draining) == (4, 3, [])


def test_a_scheduled_run_that_only_advises_or_rehearses_does_nothing(runs: Runs, platform: FakePlatform) -> None:
    runs.waiting = 50
    assert runs.run(apply=False).scaled is None
    assert runs.run(check=True).scaled.started == ["web-3", "web-4"]
    assert platform.manager.calls == []


def test_a_scheduled_run_that_fails_begins_no_cooldown(runs: Runs, platform: FakePlatform) -> None:
    runs.waiting, platform.manager.refuses = 50, {"start": "it said no"}
    with pytest.raises(OperationError, match="it said no") as caught:
        runs.run()
    assert caught.value.details["decision"]["to"] == 4
    platform.manager.refuses = {}
    outcome = runs.run()
    assert (outcome.decision.after, outcome.log_line["withdrawn"]) == (4, True)


def test_a_scheduled_run_starts_a_crashed_worker_again(runs: Runs, platform: FakePlatform) -> None:
    platform.manager.crash(2)
    platform.manager.time.pass_by(30)
    runs.waiting = 5
    outcome = runs.run()
    assert outcome.started_again == ("web-2@fake",)
    assert outcome.scaled.started == ["web-2"]


def test_a_scheduled_run_of_a_fleet_that_cannot_be_read_changes_nothing(runs: Runs, platform: FakePlatform) -> None:
    runs.waiting, platform.manager.unreadable = 50, "the bus is silent"
    outcome = runs.run()
    assert (outcome.decision.before, outcome.decision.after, outcome.scaled) == (None, None, None)


def test_workers_that_drain_are_named_by_their_ids(runs: Runs, platform: FakePlatform) -> None:
    platform.manager.add(3, phase=Phase.DRAINING, enabled=False)
    reading = platform.read("web")
    told = counts(runs.run(apply=False), reading)
    assert (told["before"], told["after"], told["draining"]) == (2, 2, ["web-3"])
