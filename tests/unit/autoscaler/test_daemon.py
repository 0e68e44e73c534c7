# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of the service, with its clock, its broker and its host as parameters; the scaler's socket is a real one."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from a_policy import POLICY

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    StuckRule,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.remote import RemotePlatform


class World:
    """A fleet, its queue and its clock, as the daemon sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall = 1_767_225_600.0
        self.monotonic = 500.0
        self.set_meanwhile = 0.0
        self.waiting: int | None = 0
        self.blocked = ""
        self.workers: int | None = 2
        self.idle = True
        self.more: tuple[WorkerReading, ...] = ()
        self.pause: Pause | None = None
        self.lines: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.refuses = False
        self.busy = False
        self.stays = False
        self.silent = False
        self.broken = False
        self.configuration = Configuration(
            mode="act",
            interval=5.0,
            state=str(folder / "state.json"),
            status=str(folder / "status.json"),
            scaler=str(folder / "scale.sock"),
            fleets=(WatchedFleet("web", "redis://localhost/0", policy=POLICY),),
        )

    def load(self) -> Configuration:
        return self.configuration

    def read_host(self, fleet: str) -> FleetReading:
        self.wall += self.set_meanwhile
        self.set_meanwhile = 0.0
        if self.broken:
            raise ZeroDivisionError("a fault of ours")
        if self.workers is None:
            return FleetReading("a", self.wall, None, "systemd did not answer")
        workers = tuple(
            WorkerReading(
                f"{fleet}-{number}@a",
                "consuming",
                life=f"{number}:1",
                active=0 if self.idle else 1,
                reserved=0,
                started=0 if self.idle else 1,
                taken={"celery": 0},
                cpu_seconds=self.monotonic / 2,
                cores=1,
                id=f"celery-worker-{fleet}@{number}.service",
            )
            for number in range(1, self.workers + 1)
        )
        return FleetReading("a", self.wall, workers + self.more, cores=2, memory=4e9, pause=self.pause)

    def link(self, fleet: WatchedFleet, seconds: float) -> World:
        return self

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        if self.waiting is None:
            return QueuesReading(self.wall, None, problem="connection refused")
        return QueuesReading(self.wall, dict.fromkeys(queues, self.waiting), 0, blocked=self.blocked)

    def close(self) -> None:
        pass

    def daemon(self) -> Daemon:
        daemon = Daemon(
            self.load,
            RemotePlatform(self.configuration.scaler, Here(self)),
            lambda line: self.lines.append(json.loads(json.dumps(line))),
            Notifier({}),
            Clock(lambda: self.wall, lambda: self.monotonic),
            self.link,
        )
        daemon.begin()
        return daemon

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def cycles(self, daemon: Daemon, count: int) -> list[dict[str, Any]]:
        """Run cycles five seconds apart and return their lines."""
        before = len(self.lines)
        for _turn in range(count):
            daemon.run_cycles()
            self.pass_time(5)
        return [line for line in self.lines[before:] if "event" not in line]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines if "event" in line]

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.requests.append(dict(request))
        if self.silent:
            return None
        if self.busy:
            return {"ok": False, "busy": True, "error": "another scaling or restart of this fleet is running"}
        if self.refuses:
            return {"ok": False, "error": "systemd said no"}
        before = self.workers
        if not self.stays:
            self.workers = request.get("workers", self.workers)
        return {"ok": True, "before": before, "after": self.workers, "started": [], "stopped": []}


class Here(FakePlatform):
    """The fleet of a world, to be read alone."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def read(self, fleet: str) -> FleetReading:
        return self.world.read_host(fleet)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(made.configuration.scaler)
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, made), daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(listener: socket.socket, world: World) -> None:
    while True:
        try:
            way, _peer = listener.accept()
        except OSError:
            return
        with way:
            request = json.loads(way.makefile("rb").readline())
            way.sendall(json.dumps(world.answer(request)).encode() + b"\n")


def again(world: World) -> list[dict[str, Any]]:
    """Return what replay decides on the log."""
    decisions = [line for line in world.lines if "event" not in line]
    return [json.loads(line) for line in replay(POLICY, (json.dumps(line) for line in decisions))]


def same(world: World) -> bool:
    keys = ("at", "action", "from", "to", "reasons")
    decided = [{key: line[key] for key in keys} for line in world.lines if "event" not in line]
    return decided == again(world)


def test_it_grows_and_shrinks_and_replay_decides_the_same(world: World) -> None:
    daemon = world.daemon()
    world.waiting = 50
    grown = world.cycles(daemon, 5)
    assert [line["action"] for line in grown] == ["up", "hold", "hold", "hold", "up"]
    world.waiting = 0
    shrunk = world.cycles(daemon, 4)
    assert [line["action"] for line in shrunk] == ["hold", "hold", "down", "hold"]
    assert [request["workers"] for request in world.requests] == [4, 6, 5]
    assert same(world)


def test_advice_is_not_acted_on(world: World) -> None:
    world.configuration = replace(world.configuration, mode="advise")
    world.waiting = 50
    assert world.cycles(world.daemon(), 1)[0]["action"] == "up"
    assert world.requests == []


def test_observing_decides_nothing(world: World) -> None:
    world.configuration = replace(world.configuration, mode="observe")
    line = world.cycles(world.daemon(), 1)[0]
    assert "action" not in line
    assert line["metrics"]["queue_depth"] == 0


def test_what_could_not_be_done_starts_no_cooldown(world: World) -> None:
    daemon = world.daemon()
    world.waiting, world.refuses = 50, True
    assert [line["action"] for line in world.cycles(daemon, 3)] == ["up", "up", "up"]
    assert world.events().count("scale_failed") == 3
    assert daemon.watches["web"].errors["scale"] == 3
    world.refuses = False
    assert [line["action"] for line in world.cycles(daemon, 2)] == ["up", "hold"]
    assert same(world)


def test_a_missing_scaler_is_an_error_and_no_end(world: World) -> None:
    world.configuration = replace(world.configuration, scaler=str(world.folder / "nobody"))
    world.waiting = 50
    daemon = world.daemon()
    world.cycles(daemon, 2)
    assert world.events().count("scale_failed") == 2


def test_an_unreadable_broker_or_host_changes_nothing(world: World) -> None:
    daemon = world.daemon()
    world.waiting = None
    lines = world.cycles(daemon, 8)
    assert {line["action"] for line in lines} == {"hold"}
    assert "connection refused" in json.dumps(lines[0]["unknown"])
    world.waiting, world.workers = 50, None
    lines = world.cycles(daemon, 2)
    assert [(line["action"], line["to"]) for line in lines] == [("hold", None)] * 2
    assert world.requests == []
    assert same(world)


def test_a_broker_that_takes_no_tasks_shrinks_nothing_and_is_an_event(world: World) -> None:
    daemon = world.daemon()
    world.workers, world.blocked = 6, "Redis is full"
    lines = world.cycles(daemon, 60)
    assert {line["action"] for line in lines} == {"hold"}
    assert {line["blocked"] for line in lines} == {"Redis is full"}
    assert daemon.status()["fleets"][0]["blocked"] == "Redis is full"
    assert [event for event in world.events() if "blocked" in event] == ["broker_blocked"]
    world.blocked = ""
    lines = world.cycles(daemon, 60)
    assert "down" in {line["action"] for line in lines}
    assert [event for event in world.events() if "blocked" in event] == ["broker_blocked", "broker_blocked_no_more"]
    assert same(world)


def test_a_broker_that_takes_no_tasks_and_is_then_lost_does_not_take_them_again(world: World) -> None:
    daemon = world.daemon()
    world.blocked = "Redis is full"
    world.cycles(daemon, 1)
    world.waiting = None
    world.cycles(daemon, 2)
    world.waiting = 0
    world.cycles(daemon, 1)
    assert [event for event in world.events() if "blocked" in event] == ["broker_blocked"]
    world.blocked = ""
    world.cycles(daemon, 1)
    assert [event for event in world.events() if "blocked" in event] == ["broker_blocked", "broker_blocked_no_more"]


def test_a_pause_holds_over_a_restart_until_its_end(world: World) -> None:
    daemon = world.daemon()
    world.waiting, world.pause = 50, Pause(3, world.wall + 40, "alice")
    first = world.cycles(daemon, 2)
    assert [(line["action"], line["to"]) for line in first] == [("bounds", 3), ("hold", 3)]
    assert first[1]["pause"] == {"workers": 3, "until": "2026-01-01T00:00:40+00:00", "by": "alice"}
    assert first[1]["reasons"] == ["paused at 3 until 2026-01-01T00:00:40+00:00 (by alice)"]
    [fleet] = daemon.status()["fleets"]
    assert fleet["pause"]["by"] == "alice"
    daemon = world.daemon()
    rest = world.cycles(daemon, 7)
    assert [line["to"] for line in rest] == [3, 3, 3, 3, 3, 3, 5]
    assert rest[-1]["action"] == "up"
    assert "pause" not in rest[-1]
    assert "pause" not in daemon.status()["fleets"][0]
    assert same(world)


def test_what_a_pause_holds_at_may_be_outside_of_the_limits_and_is_lifted(world: World) -> None:
    daemon = world.daemon()
    world.waiting, world.pause = 50, Pause(0)
    assert [line["to"] for line in world.cycles(daemon, 3)] == [0, 0, 0]
    world.pause = Pause(12)
    assert [line["to"] for line in world.cycles(daemon, 2)] == [12, 12]
    world.pause = None
    assert world.cycles(daemon, 1)[0]["reasons"] == ["12 workers are above the ceiling of 9 (the limits)"]
    assert [request["workers"] for request in world.requests] == [0, 12, 9]
    assert same(world)


def test_status_has_the_window_in_force_and_the_next_edge(world: World) -> None:
    windows = [{"name": "night", "time": "18:00-08:00", "max_workers": 4}]
    once = {"name": "sale", "from": "2026-01-01 02:00", "until": "2026-01-01 03:00", "min_workers": 6}
    policy = parse_policy({"limits": {"max_workers": 9}, "schedule": {"windows": [*windows, once]}})
    fleet = replace(world.configuration.fleets[0], policy=policy)
    world.configuration = replace(world.configuration, fleets=(fleet,))
    daemon = world.daemon()
    world.cycles(daemon, 1)
    night = {"name": "night", "min_workers": 2, "max_workers": 4}
    sale = {"name": "sale", "min_workers": 6, "max_workers": 9}
    [shown] = daemon.status()["fleets"]
    assert shown["window"] == {**night, "until": "2026-01-01T02:00:00+00:00"}
    assert shown["next_edge"] == {**sale, "at": "2026-01-01T02:00:00+00:00"}
    world.pass_time(7195)
    world.cycles(daemon, 1)
    [shown] = daemon.status()["fleets"]
    assert shown["window"] == {**sale, "until": "2026-01-01T03:00:00+00:00"}
    assert shown["next_edge"] == {**night, "at": "2026-01-01T03:00:00+00:00"}


def test_cooldowns_survive_a_restart_and_runs_do_not(world: World) -> None:
    world.waiting = 50
    daemon = world.daemon()
    assert world.cycles(daemon, 1)[0]["action"] == "up"
    # As after kill -9: nothing is said before the end.
    daemon = world.daemon()
    lines = world.cycles(daemon, 2)
    assert [line["action"] for line in lines] == ["hold", "hold"]
    assert lines[0]["restarted"] is True
    assert "restarted" not in lines[1]
    assert same(world)


def test_what_could_not_be_done_before_a_restart_is_replayed_as_such(world: World) -> None:
    world.waiting, world.refuses = 50, True
    assert world.cycles(world.daemon(), 1)[0]["action"] == "up"
    # No cooldown has begun, whoever goes on.
    [line] = world.cycles(world.daemon(), 1)
    assert (line["action"], line["restarted"], line["withdrawn"]) == ("up", True, True)
    assert same(world)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_is_set_changes_no_decision(world: World, seconds: float) -> None:
    daemon = world.daemon()
    world.waiting = 50
    first = world.cycles(daemon, 2)
    world.wall += seconds
    rest = world.cycles(daemon, 4)
    assert [line["action"] for line in [*first, *rest]] == ["up", "hold", "hold", "hold", "up", "hold"]
    assert rest[0]["clock_stepped"] == pytest.approx(seconds)
    assert "clock_stepped" in world.events()
    assert same(world)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_is_set_in_the_middle_of_a_cycle_counts_from_the_next_on(world: World, seconds: float) -> None:
    daemon = world.daemon()
    first = world.cycles(daemon, 1)[0]
    world.set_meanwhile = seconds
    lines = world.cycles(daemon, 3)
    assert [line["at"] - first["at"] for line in lines] == pytest.approx([5, 10 + seconds, 15 + seconds])
    assert [line.get("clock_stepped", 0) for line in lines] == pytest.approx([0, seconds, 0])
    assert [line["metrics"]["cpu"] for line in lines] == pytest.approx([50, 50, 50])
    assert same(world)


@pytest.mark.parametrize("content", ["", "{", '{"version": 1}', "\0" * 100, '{"format": "of something else"}'])
def test_a_state_that_cannot_be_used_is_set_aside_and_nobody_shrinks_at_once(world: World, content: str) -> None:
    Path(world.configuration.state).write_text(content, encoding="utf-8")
    world.workers = 5
    lines = world.cycles(world.daemon(), 5)
    assert "state_unusable" in world.events()
    assert {line["action"] for line in lines} == {"hold"}
    assert lines[0]["state_lost"] is True
    assert same(world)
    assert list(world.folder.glob("state.json.unusable-*"))
    assert json.loads(Path(world.configuration.state).read_text(encoding="utf-8"))


def test_a_state_that_cannot_be_saved_is_told_once_and_counted(world: World) -> None:
    folder = world.folder / "gone"
    world.configuration = replace(world.configuration, state=str(folder / "state.json"))
    world.waiting = 5
    daemon = world.daemon()
    world.cycles(daemon, 3)
    assert world.events().count("state_not_saved") == 1
    assert daemon.log.counts["state_not_saved"] == 3
    folder.mkdir()
    world.cycles(daemon, 1)
    assert "state_not_saved_any_more" in world.events()


def test_a_bad_configuration_is_refused_and_the_old_one_stays(world: World) -> None:
    daemon = world.daemon()
    good = world.configuration

    def bad() -> Configuration:
        raise OperationError("use the configuration", "it is bad", "Correct it.")

    daemon.load = bad
    daemon.reload()
    daemon.reload_if_asked()
    assert daemon.reload_failed
    assert daemon.configuration is good
    other = parse_policy({"limits": {"min_workers": 3, "max_workers": 9}})
    daemon.load = lambda: replace(good, fleets=(replace(good.fleets[0], policy=other),))
    daemon.reload()
    daemon.reload_if_asked()
    assert not daemon.reload_failed
    assert world.cycles(daemon, 1)[0]["action"] == "bounds"


@pytest.mark.parametrize(
    ("phase", "restarted"), [(None, True), ("down", True), ("starting", False), ("draining", False)]
)
def test_a_stuck_worker_is_told_of_and_restarted_where_that_is_asked_for(
    world: World, phase: str | None, restarted: bool
) -> None:
    world.more = (WorkerReading("web-9@a", phase),) if phase else ()
    fleet = replace(world.configuration.fleets[0], stuck=StuckRule(after=10, restart=True))
    world.configuration = replace(world.configuration, fleets=(fleet,))
    world.waiting = 5
    daemon = world.daemon()
    world.cycles(daemon, 3)
    assert "stuck" in world.events()
    restarts = [request for request in world.requests if request["do"] == "restart"]
    wanted = [{"do": "restart", "fleet": "web", "worker": "celery-worker-web@1.service"}]
    assert restarts == (wanted if restarted else [])


class Heard(Notifier):
    """Keeps when it was told that the loop turns."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__({})
        self.signs: list[float] = []
        self._monotonic = monotonic

    def tell(self, *assignments: str) -> None:
        if "WATCHDOG=1" in assignments:
            self.signs.append(self._monotonic())


def test_a_sign_of_life_is_given_each_second_also_between_looks(world: World) -> None:
    heard = Heard(lambda: world.monotonic)

    def sleep(seconds: float) -> None:
        world.pass_time(seconds)
        if world.monotonic >= begun + 60:
            daemon.stop()

    clock = Clock(lambda: world.wall, lambda: world.monotonic, sleep)
    remote = RemotePlatform(world.configuration.scaler, Here(world))
    daemon = Daemon(world.load, remote, lambda line: world.lines.append(dict(line)), heard, clock, world.link)
    begun = world.monotonic
    daemon.run()
    between = [after - before for before, after in itertools.pairwise(heard.signs)]
    assert len(heard.signs) >= 60
    assert max(between) <= 1.25


def test_a_stuck_worker_of_a_fleet_that_somebody_else_holds_waits_and_is_told_of_once(world: World) -> None:
    fleet = replace(world.configuration.fleets[0], stuck=StuckRule(after=10, restart=True))
    world.configuration = replace(world.configuration, fleets=(fleet,))
    world.waiting, world.busy = 5, True
    daemon = world.daemon()
    world.cycles(daemon, 6)
    assert world.events().count("fleet_busy") == 1
    assert "restart_failed" not in world.events()
    assert daemon.watches["web"].errors["restart"] == 0
    world.busy, world.refuses = False, True
    world.cycles(daemon, 1)
    assert world.events()[-2:] == ["fleet_busy_any_more", "restart_failed"]
    assert world.lines[-1]["worker"] == "web-1@a"
    world.refuses, world.busy = False, True
    world.cycles(daemon, 1)
    world.busy = False
    world.cycles(daemon, 1)
    assert world.events()[-3:] == ["fleet_busy", "fleet_busy_any_more", "stuck_restarted"]


def test_nobody_is_stuck_while_the_broker_takes_no_tasks(world: World) -> None:
    fleet = replace(world.configuration.fleets[0], stuck=StuckRule(after=10, restart=True))
    world.configuration = replace(world.configuration, fleets=(fleet,))
    world.waiting, world.blocked = 5, "Redis is full"
    daemon = world.daemon()
    world.cycles(daemon, 6)
    assert "stuck" not in world.events()
    assert world.requests == []
    world.blocked = ""
    world.cycles(daemon, 3)
    assert "stuck" in world.events()


def test_runs_begin_anew_after_a_time_without_a_policy(world: World) -> None:
    daemon = world.daemon()
    world.cycles(daemon, 1)
    with_policy = world.configuration
    for configuration, waiting in ((replace(with_policy, mode="observe"), 500), (with_policy, 0)):
        daemon.load = lambda configuration=configuration: configuration
        daemon.reload()
        daemon.reload_if_asked()
        world.waiting = waiting
        line = world.cycles(daemon, 4)[0]
    assert line["action"] == "hold"
    assert line["restarted"] is True


def test_advice_that_nobody_follows_starts_no_cooldown(world: World) -> None:
    world.configuration = replace(world.configuration, mode="advise")
    world.waiting = 50
    assert [line["action"] for line in world.cycles(world.daemon(), 3)] == ["up", "up", "up"]
    assert same(world)


def test_a_cycle_that_fails_ends_nothing(world: World) -> None:
    daemon = world.daemon()
    world.broken = True
    world.cycles(daemon, 2)
    assert world.events().count("cycle_failed") == 2
    assert daemon.watches["web"].errors["cycle"] == 2


def test_an_answer_that_never_came_keeps_the_cooldown(world: World) -> None:
    daemon = world.daemon()
    world.waiting = 50
    world.silent = True
    assert [line["action"] for line in world.cycles(daemon, 2)] == ["up", "hold"]
    assert world.events().count("scale_failed") == 1


def down(number: int, state: str = "failed, exit-code", **values: Any) -> WorkerReading:
    return WorkerReading(f"web-{number}@a", "down", state=state, **values)


def starts(world: World) -> int:
    return sum(request["do"] == "scale" for request in world.requests)


@pytest.mark.parametrize("state", ["inactive, success", "failed, exit-code", "failed, start-limit-hit"])
def test_a_wanted_worker_that_is_down_is_started_again_less_and_less_often(world: World, state: str) -> None:
    world.workers, world.more = 1, (down(2, state),)
    daemon = world.daemon()
    lines = world.cycles(daemon, 3)
    assert world.requests == [], "somebody may be restarting it by hand"
    assert {(line["workers"], line["action"]) for line in lines} == {(1, "hold")}
    assert f"web-2@a is down ({state}) and does not count" in lines[0]["reasons"]
    world.stays = True
    world.cycles(daemon, 1)
    assert world.requests == [{"do": "scale", "fleet": "web", "workers": 2, "expected_workers": 2}]
    told = next(line for line in world.lines if line.get("event") == "started_again")
    assert (told["workers"], told["starts"]) == ({"web-2@a": state}, {"web-2@a": 1})
    assert daemon.watches["web"].started_again == 1
    world.cycles(daemon, 6)
    assert starts(world) == 2
    world.cycles(daemon, 12)
    assert starts(world) == 3
    world.cycles(daemon, 240)
    assert 6 <= starts(world) <= 8, "in 20 minutes, one in five minutes at most"
    assert same(world)


def test_the_floor_means_workers_that_run(world: World) -> None:
    world.workers, world.more, world.stays = 0, (down(1), down(2)), True
    daemon = world.daemon()
    lines = world.cycles(daemon, 4)
    assert {(line["action"], line["from"], line["to"]) for line in lines} == {("bounds", 0, 1)}
    assert [request["workers"] for request in world.requests] == [2]
    assert same(world)


def test_a_decision_that_nobody_carries_out_is_not_counted_at_each_look(world: World) -> None:
    world.workers, world.more, world.stays = 0, (down(1),), True
    daemon = world.daemon()
    world.cycles(daemon, 4)
    assert [request["workers"] for request in world.requests] == [1]
    assert daemon.watches["web"].decisions == {"bounds": 1}
    world.workers, world.more, world.waiting, world.refuses = 2, (), 50, True
    world.cycles(daemon, 10)
    assert world.events().count("scale_failed") > 1
    assert daemon.watches["web"].decisions["up"] == 0
    world.refuses, world.stays = False, False
    world.cycles(daemon, 1)
    assert daemon.watches["web"].decisions["up"] == 1


def test_a_fleet_grows_past_a_worker_that_is_down(world: World) -> None:
    world.workers, world.more, world.waiting, world.stays = 3, (down(4),), 50, True
    line = world.cycles(world.daemon(), 1)[0]
    assert (line["action"], line["from"], line["to"]) == ("up", 3, 5)
    assert world.requests == [{"do": "scale", "fleet": "web", "workers": 5, "expected_workers": 4}]


def test_those_that_are_down_and_started_by_growth_are_told_of_and_remembered(world: World) -> None:
    world.workers, world.more, world.waiting, world.stays = 3, (down(4),), 50, True
    daemon = world.daemon()
    world.refuses = True
    world.cycles(daemon, 1)
    assert "started_again" not in world.events()
    world.refuses = False
    world.cycles(daemon, 1)
    assert world.events()[-2:] == ["scaled", "started_again"]
    assert (world.lines[-1]["workers"], world.lines[-1]["starts"]) == (
        {"web-4@a": "failed, exit-code"},
        {"web-4@a": 1},
    )
    assert daemon.watches["web"].started_again == 1
    # It stays down: the pause began with that start.
    world.waiting = 5
    world.cycles(daemon, 5)
    assert starts(world) == 2
    world.cycles(daemon, 2)
    assert starts(world) == 3
    assert same(world)


def test_growth_that_only_takes_those_that_are_down_starts_no_cooldown_before_they_are_started(world: World) -> None:
    world.workers, world.more, world.waiting, world.stays = 1, (down(2), down(3)), 50, True
    lines = world.cycles(world.daemon(), 4)
    assert [line["action"] for line in lines] == ["up", "up", "up", "up"]
    assert [request["workers"] for request in world.requests] == [3]
    assert same(world)


@pytest.mark.parametrize("mode", ["advise", "observe"])
def test_nobody_is_started_where_nothing_is_to_be_changed(world: World, mode: str) -> None:
    world.configuration = replace(world.configuration, mode=mode)
    world.workers, world.more = 1, (down(2),)
    line = world.cycles(world.daemon(), 6)[0]
    assert line["down"] == {"web-2@a": "failed, exit-code"}
    assert world.requests == []


def test_a_worker_that_systemd_tries_again_is_left_to_it(world: World) -> None:
    world.workers, world.waiting, world.more = 1, 5, (down(2, "auto-restart, exit-code", retried=True),)
    lines = world.cycles(world.daemon(), 6)
    assert (lines[-1]["workers"], lines[-1]["starting"]) == (2, 1)
    assert world.requests == []


def test_a_worker_that_ended_is_told_of_once(world: World) -> None:
    world.more = (WorkerReading("web-9@a", "consuming", active=0, started=0, reserved=0),)
    daemon = world.daemon()
    world.cycles(daemon, 1)
    for reading in (
        WorkerReading("web-9@a", "ending"),
        down(9, "auto-restart, exit-code", retried=True, restarts=0),
        WorkerReading("web-9@a", "starting", restarts=1),
        WorkerReading("web-9@a", "consuming", active=0, started=0, reserved=0, restarts=1),
    ):
        world.more = (reading,)
        world.cycles(daemon, 1)
    assert world.events().count("workers_ended") == 1
    assert daemon.watches["web"].ended == 1
    world.more = (replace(world.more[0], restarts=2),)
    world.cycles(daemon, 1)
    assert daemon.watches["web"].ended == 2, "it died and came back between two looks"


def test_a_lock_that_somebody_else_holds_is_no_failure_and_told_once(world: World) -> None:
    world.waiting, world.busy = 50, True
    daemon = world.daemon()
    assert [line["action"] for line in world.cycles(daemon, 8)] == ["up"] * 8
    assert world.events().count("fleet_busy") == 1
    assert "scale_failed" not in world.events()
    assert daemon.watches["web"].errors["scale"] == 0
    world.busy = False
    world.cycles(daemon, 1)
    assert world.events()[-2:] == ["fleet_busy_any_more", "scaled"]
    assert same(world)
