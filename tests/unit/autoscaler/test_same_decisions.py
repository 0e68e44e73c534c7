# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One recorded run, decided by the daemon, by the module and by replay: the same decisions everywhere."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import FleetFile
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.one_cycle import OneCycle
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import read_configuration
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DRAINING,
    STARTING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleResult
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.remote import RemotePlatform

BEGIN = 1767225600.0 + 7 * 3600
EVERY = 15.0
CYCLES = 400

POLICIES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "quick": {
        "limits": {"min_workers": 1, "max_workers": 12, "cooldown_up": "30s", "cooldown_down": "1m"},
        "scale_up": {
            "any": [
                {"metric": "queue_depth", "above": 40, "for": "30s"},
                {"metric": "wait_time", "above": "20s"},
                {"metric": "cpu", "above": 80, "for": "1m"},
            ]
        },
        "scale_down": {
            "all": [{"metric": "queue_depth", "below": 10, "for": "1m"}, {"metric": "cpu", "below": 60, "for": "1m"}]
        },
        "schedule": {
            "timezone": "Europe/Berlin",
            "windows": [{"name": "peak", "time": "08:30-09:00", "min_workers": 3, "max_workers": 8}],
        },
    },
    "target": {"limits": {"min_workers": 1, "max_workers": 12}, "target": {"wait_time": "20s"}},
}


@dataclass(frozen=True)
class Look:
    """What there was to be read at one instant."""

    at: float
    host: FleetReading
    queues: QueuesReading


def recorded() -> list[Look]:
    """Two bursts and calm, with workers that come, go and restart, a broker and a host that cannot be read."""
    looks, done, waiting, workers = [], dict.fromkeys(range(1, 13), 0), 0.0, 2
    for cycle in range(CYCLES):
        at = BEGIN + cycle * EVERY
        burst = 60 <= cycle < 110 or 220 <= cycle < 240
        waiting += EVERY * (2.5 if burst else 0.4 + 0.3 * math.sin(cycle / 9))
        ready = max(1, workers - (cycle % 50 == 0))
        taken = min(waiting, ready * EVERY / 2)
        waiting -= taken
        for number in range(1, ready + 1):
            done[number] += round(taken / ready)
        busy = min(1.0, taken / (ready * EVERY / 2))
        read = [
            WorkerReading(
                name=f"web-{number}@app1",
                phase=CONSUMING if number <= ready else STARTING,
                # A worker that is restarted counts anew.
                life=f"{number}:{cycle // 170}",
                active=round(busy),
                reserved=0,
                started=done[number] % 500 + round(busy),
                taken={"web": done[number] % 500 + round(busy)},
                cpu_seconds=done[number] * 1.5,
                cores=1.0,
                memory=2e8,
                memory_allowed=1e9,
                since=cycle * EVERY if number <= ready else None,
            )
            for number in range(1, workers + 1)
        ]
        if cycle % 70 > 66:
            read.append(WorkerReading("web-12@app1", DRAINING, "12:x", active=1, reserved=0, started=7))
        host = FleetReading("app1", at, tuple(read), cores=8.0, memory=16e9)
        queues = QueuesReading(at, {"web": round(waiting)}, sum(worker.active or 0 for worker in read))
        if 90 <= cycle < 95:
            queues = QueuesReading(at, None, problem="no answer")
        if 300 <= cycle < 303:
            host = replace(host, workers=None, problem="systemd hangs")
        looks.append(Look(at, host, queues))
        if cycle % 20 == 19:
            workers = max(1, min(11, workers + (3 if waiting > 60 else -1)))
    return looks


@dataclass
class Tape:
    """The recorded run as somebody sees it who looks at the broker, the host and the clock."""

    now: Look

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        return self.now.queues

    def close(self) -> None:
        pass


class Host(FakePlatform):
    """The host of a recorded run."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def read(self, fleet: str) -> FleetReading:
        return self.tape.now.host


@contextmanager
def scaler(path: Path) -> Iterator[None]:
    """A scaler that does what it is asked for."""

    def serve() -> None:
        while True:
            try:
                way, _peer = listener.accept()
            except OSError:
                return
            with way:
                request = json.loads(way.makefile("rb").readline())
                answer = {"ok": True, "before": request["expected_workers"], "after": request["workers"]}
                way.sendall(json.dumps(answer).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def daemons(policy: dict[str, Any], folder: Path, works: bool) -> list[dict[str, Any]]:
    """What the daemon writes down. Where nothing works there is no scaler."""
    with scaler(folder / "scale.sock") if works else nullcontext():
        return _daemons(policy, folder)


def _daemons(policy: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    looks = recorded()
    tape = Tape(looks[0])
    lines: list[dict[str, Any]] = []
    configuration = read_configuration(
        {
            "mode": "act",
            "state": str(folder / "state.json"),
            "status": str(folder / "status.json"),
            "scaler": str(folder / "scale.sock"),
            "fleets": [{"name": "web", "broker_url": "redis://127.0.0.1/0", "queues": ["web"], "policy": policy}],
        },
        "test",
    )
    clock = Clock(wall=lambda: tape.now.at, monotonic=lambda: tape.now.at - BEGIN)
    daemon = Daemon(
        load=lambda: configuration,
        platform=RemotePlatform(configuration.scaler, Host(tape)),
        tell=lambda line: lines.append(dict(line)),
        notifier=Notifier({}),
        clock=clock,
        link=lambda fleet, seconds: tape,
    )
    daemon.begin()
    for tape.now in looks:
        daemon.run_cycles()
    return [line for line in lines if "metrics" in line]


def modules(policy: dict[str, Any], folder: Path, works: bool) -> list[dict[str, Any]]:
    """What the module returns, run by run, with nothing between runs but its file."""

    def act(workers: int, expected: int) -> ScaleResult:
        if not works:
            raise OperationError("scale fleet web", "systemd refused", "See to it.", before=expected, after=expected)
        return ScaleResult(True, expected, workers, [], [], [], [], [])

    lines = []
    for look in recorded():
        cycle = OneCycle(FleetFile(str(folder / "web.json"), "web"), parse_policy(policy))
        try:
            lines.append(cycle.run(look.at, (look.host,), look.queues, act).log_line)
        except OperationError as error:
            lines.append(error.details["log_line"])
    return lines


def decisions(lines: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(line["at"], line["action"], line["from"], line["to"], tuple(line["reasons"])) for line in lines]


def replayed(policy: dict[str, Any], lines: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    written = [json.dumps(line) for line in lines]
    return decisions([json.loads(line) for line in replay(parse_policy(policy), written)])


@pytest.mark.parametrize(
    ("name", "works"),
    [*((name, True) for name in POLICIES), ("quick", False), ("target", False)],
    ids=lambda value: {True: "carried out", False: "never carried out"}.get(value, value),
)
def test_daemon_module_and_replay_decide_the_same(name: str, works: bool, tmp_path: Path) -> None:
    policy = POLICIES[name]
    of_daemon = daemons(policy, tmp_path, works)
    of_module = modules(policy, tmp_path, works)
    decided = decisions(of_daemon)
    assert len(decided) == CYCLES
    assert {"up", "down", "hold"} <= {action for _at, action, *_rest in decided}, "the run shows too little"
    assert decisions(of_module) == decided
    assert replayed(policy, of_daemon) == decided
    assert replayed(policy, of_module) == decided
    seen = [{**line, "mode": "", "restarted": False, "withdrawn": False} for line in of_module]
    assert seen == [{**line, "mode": "", "restarted": False, "withdrawn": False} for line in of_daemon]
