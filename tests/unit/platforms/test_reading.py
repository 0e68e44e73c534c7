# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workers of a host from units, status files and control groups."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import FleetState, Phase, Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.platform import SystemdPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.reading import Places, read_host
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Systemd

MIB = float(2**20)
NOW = 1000.0


class FakeSystemd(Systemd):
    """Answers with a state or a failure instead of asking systemctl."""

    def __init__(self, answer: FleetState | OperationError) -> None:
        super().__init__()
        self.answer = answer

    def watch_fleet(self, fleet: str) -> FleetState:
        if isinstance(self.answer, OperationError):
            raise self.answer
        return self.answer


class Host:
    """A host of files; C(read) reads it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.groups = directory / "cgroup"
        self.groups.mkdir()
        (self.groups / "cgroup.controllers").write_text("cpu memory\n")
        self.units: list[Unit] = []

    def unit(self, number: int, phase: Phase = Phase.RUNNING, **values: Any) -> None:
        group = f"/system.slice/web@{number}.service"
        told = {"main_pid": 100 + number, "main_start_at": 7, "active_enter_at": 990_000_000, "enabled": True}
        name = f"celery-worker-web@{number}.service"
        self.units.append(Unit(name, number, phase, **{**told, "control_group": group, **values}))

    def group(self, number: int, limit: str = "max", quota: str = "max 100000") -> None:
        group = self.groups / "system.slice" / f"web@{number}.service"
        group.mkdir(parents=True)
        for name, text in {
            "cpu.stat": "usage_usec 2500000\n",
            "memory.current": f"{int(300 * MIB)}\n",
            "memory.stat": "inactive_file 0\n",
            "memory.max": f"{limit}\n",
            "cpu.max": f"{quota}\n",
        }.items():
            (group / name).write_text(text)

    def status(self, number: int, **values: Any) -> None:
        told = {
            "version": 1,
            "node": f"web-{number}@host",
            "pid": 100 + number,
            "state": "consuming",
            "active": 2,
            "reserved": 3,
            "processed": 50,
            "finished": 48,
            "taken": {"celery": 53},
            "pool": "prefork",
            "concurrency": 4,
            "scheduled": 6,
            "monotonic": NOW - 0.5,
            "written": NOW - 0.2,
        }
        self.path(number).write_text(json.dumps({**told, **values}))

    def path(self, number: int) -> Path:
        return self.directory / f"{number}.json"

    def read(self, exists: bool = True) -> FleetReading:
        places = Places(
            status_path=lambda _fleet, number: str(self.path(number)),
            groups=self.groups,
            monotonic=lambda: NOW,
            wall=lambda: 5000.0,
            host=lambda: "host",
        )
        return read_host("web", FakeSystemd(FleetState("web", exists, units=tuple(self.units))), places)

    def only(self) -> WorkerReading:
        workers = self.read().workers
        assert workers is not None
        (worker,) = workers
        return worker


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_worker_that_tells_everything(host: Host) -> None:
    host.unit(1)
    host.group(1, limit=str(int(512 * MIB)), quota="50000 100000")
    host.status(1)
    worker = host.only()
    assert worker == WorkerReading(
        name="web-1@host",
        phase="consuming",
        life="101:7",
        active=2,
        reserved=3,
        started=50,
        taken={"celery": 53},
        cpu_seconds=2.5,
        cores=0.5,
        memory=300 * MIB,
        memory_allowed=512 * MIB,
        since=10.0,
        concurrency=4,
        scheduled=6,
        id="celery-worker-web@1.service",
    )
    assert worker.why == ""


def test_what_has_ended_is_certain(host: Host) -> None:
    host.unit(1)
    host.group(1)
    # Celery has counted the start of a task that it does not call active yet, or the other way round.
    host.status(1, processed=51, finished=48, active=2)
    worker = host.only()
    assert (worker.started or 0) - (worker.active or 0) == 48


@pytest.mark.parametrize(
    ("pool", "concurrency", "quota", "cores"),
    [("prefork", 1, None, 1.0), ("gevent", 100, None, 1.0), ("solo", 1, None, 1.0), ("prefork", 1, 0.25, 0.25)],
)
def test_cores(host: Host, pool: str, concurrency: int, quota: float | None, cores: float) -> None:
    host.unit(1, cpu_quota=quota)
    host.group(1)
    host.status(1, pool=pool, concurrency=concurrency)
    assert host.only().cores == cores


def test_a_worker_is_not_allowed_more_cores_than_the_host_has(host: Host) -> None:
    host.unit(1)
    host.group(1)
    host.status(1, concurrency=5000)
    reading = host.read()
    assert reading.workers is not None
    assert reading.workers[0].cores == reading.cores


def test_phases(host: Host) -> None:
    for number, phase in enumerate((Phase.RUNNING, Phase.STARTING, Phase.DRAINING, Phase.DOWN), 1):
        host.unit(number, phase)
        host.group(number)
        host.status(number)
    host.unit(5, Phase.DOWN, enabled=False)
    workers = host.read().workers
    assert workers is not None
    assert [worker.phase for worker in workers] == ["consuming", "starting", "draining", "down"]
    assert workers[3].started is None
    assert (workers[3].state, workers[3].retried) == ("unknown, success", False)


def test_no_status(host: Host) -> None:
    host.unit(1)
    host.group(1)
    worker = host.only()
    assert worker.started is None
    assert worker.taken is None
    assert worker.why == "it has written no status file"
    assert worker.cpu_seconds == 2.5


@pytest.mark.parametrize(
    ("values", "why", "taken"),
    [
        ({"pid": 999}, "another process", None),
        ({"written": NOW - 9, "monotonic": NOW - 9}, "9 s old", None),
        # The event loop stands still, and so do the counts of messages, which are of now.
        ({"monotonic": NOW - 9}, "9 s old", {"celery": 53}),
    ],
)
def test_a_status_that_says_nothing_any_more(host: Host, values: Any, why: str, taken: Any) -> None:
    host.unit(1)
    host.group(1)
    host.status(1, **values)
    worker = host.only()
    assert (worker.active, worker.reserved, worker.started) == (None, None, None)
    assert worker.taken == taken
    assert why in worker.why


def test_without_control_groups_the_processes_are_read(host: Host) -> None:
    import os

    host.unit(1, main_pid=os.getpid(), memory_max=int(400 * MIB), cpu_quota=0.5)
    (host.groups / "cgroup.controllers").unlink()
    host.status(1, pid=os.getpid())
    worker = host.only()
    assert (worker.cpu_seconds or 0) > 0
    assert (worker.memory or 0) > MIB
    assert (worker.cores, worker.memory_allowed) == (0.5, 400 * MIB)
    assert worker.why == ""


def test_a_worker_of_which_nothing_is_left_has_reasons(host: Host) -> None:
    host.unit(1, main_pid=0)
    worker = host.only()
    assert worker.cpu_seconds is None
    assert "its control group is gone" in worker.why


def test_a_fleet_that_is_not_there_is_unknown(host: Host) -> None:
    reading = host.read(exists=False)
    assert reading.workers is None
    assert "no fleet web" in reading.problem


def test_a_systemd_that_does_not_answer_is_part_of_the_reading() -> None:
    failed = FakeSystemd(OperationError("read the workers", "no answer", "Look."))
    reading = read_host("web", failed)
    assert reading.workers is None
    assert "no answer" in reading.problem


def test_a_worker_of_another_host_is_in_no_fleet_of_this_one() -> None:
    platform = SystemdPlatform()
    here = socket.gethostname()
    names = (f"web-1@{here}", f"big-web-12@{here}", "web-1@elsewhere", f"web@{here}", f"web-x@{here}", "web-1")
    assert [platform.fleet_of(name) for name in names] == ["web", "big-web", None, None, None, None]
