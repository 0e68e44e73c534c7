# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait told from counts against the wait that the tasks themselves tell, with a real broker and real workers.

Each task carries when it was sent and writes down when it ran. A worker takes one message at a time, just before it
runs it, so at any instant the tasks that wait are those sent and not begun.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from broker_servers import RedisServer
from lifecycle_worker import Worker, Workers
from task_sender import sender

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.observation.broker_link import BrokerLink
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory, observe
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import read_status

POLLING = 1.0
SOLO = ("--pool", "solo", "--without-heartbeat")
ONE = ("celery",)
THREE = ("celery", "high", "slow")


@dataclass(frozen=True)
class Load:
    """What is sent: (seconds after the start, queue, tasks, seconds each runs)."""

    name: str
    queues: tuple[str, ...]
    sendings: list[tuple[float, str, int, float]]


def steady(queue: str, a_second: float, seconds: float, run: float, start: float = 0.0) -> list[Any]:
    return [(start + number / a_second, queue, 1, run) for number in range(int(a_second * seconds))]


LOADS = [
    Load("burst", ONE, [(2.3, "celery", 200, 0.05)]),
    # 16 a second come, 2 workers do at most 2 * 1/0.15 = 13: the queue grows.
    Load("steady", ONE, steady("celery", 16.0, 12.0, 0.15)),
    Load("on/off", ONE, [sent for start in (0.5, 6.7) for sent in steady("celery", 60.0, 2.5, 0.06, start)]),
    Load(
        "three queues",
        THREE,
        [
            (1.4, "slow", 30, 0.15),
            *steady("celery", 12.0, 10.0, 0.05),
            *(sent for start in (2.7, 7.1) for sent in steady("high", 30.0, 2.0, 0.05, start)),
        ],
    ),
]


@dataclass
class Truth:
    """What was sent and what has run, by its own account."""

    journal: Path
    sent: dict[int, float] = field(default_factory=dict)

    def began(self) -> dict[int, float]:
        began = {}
        try:
            lines = self.journal.read_text().splitlines()
        except FileNotFoundError:
            return {}
        for line in lines:
            word, number, *at = line.split(" ")
            if word == "taken":
                began[int(number)] = float(at[0])
        return began

    def waits(self, at: float, began: dict[int, float]) -> list[float]:
        """Return how long each task had waited that had been sent and not begun at an instant."""
        return [at - sent for number, sent in self.sent.items() if sent <= at < began.get(number, math.inf)]


class Sender(threading.Thread):
    """Sends a load on time."""

    def __init__(self, url: str, load: Load, truth: Truth) -> None:
        super().__init__()
        self.url, self.load, self.truth = url, load, truth
        self.started_at = time.time()
        self.stopped = threading.Event()

    def run(self) -> None:
        numbers = iter(range(10**9))
        with sender(self.url) as app, app.producer_or_acquire() as producer:
            for after, queue, count, seconds in sorted(self.load.sendings):
                if self.stopped.wait(max(self.started_at + after - time.time(), 0.0)):
                    return
                for number in (next(numbers) for _each in range(count)):
                    self.truth.sent[number] = time.time()
                    app.send_task("clocked", [number, seconds], queue=queue, producer=producer)


def reading(worker: Worker) -> WorkerReading:
    status = read_status(str(worker.status_file))
    assert status.finished is not None
    return WorkerReading(
        worker.node, CONSUMING, str(status.pid), status.active, status.reserved, status.finished + status.active,
        status.taken,
    )  # fmt: skip


def past(moment: float) -> bool:
    return time.monotonic() >= moment


def look(memory: Memory, link: BrokerLink, load: Load, workers: Workers) -> tuple[float, float | None, str, Memory]:
    queues = link.read(load.queues)
    assert queues.waiting is not None, queues.problem
    host = FleetReading("test", time.time(), tuple(reading(worker) for worker in workers.running))
    seen, memory = observe(memory, queues.at, [host], queues)
    return queues.at, seen.value("wait_time"), seen.unknown.get("wait_time", ""), memory


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_the_wait_is_right_to_a_polling_interval(workers: Workers, redis_server: RedisServer, load: Load) -> None:
    settings = {"worker_prefetch_multiplier": 1, "task_acks_late": True}
    for _number in range(2):
        workers.start(redis_server.url, *SOLO, "-Q", ",".join(load.queues), settings=settings)
    for worker in workers.running:
        worker.wait_ready()
    truth = Truth(workers.directory / "journal")
    link = BrokerLink(redis_server.url, {}, None, 5.0)
    told: list[tuple[float, float]] = []
    _at, first, why, memory = look(Memory(), link, load, workers)
    assert first == 0, why
    sending = Sender(redis_server.url, load, truth)
    sending.start()
    total = sum(count for _after, _queue, count, _seconds in load.sendings)
    due = time.monotonic() + POLLING
    try:
        while True:
            workers.running[0].wait(partial(past, due), POLLING + 5, "the next look is due")
            due += POLLING
            at, seconds, why, memory = look(memory, link, load, workers)
            assert seconds is not None, why
            told.append((at, seconds))
            if len(truth.began()) == total and seconds == 0:
                break
            assert len(told) < 60, "the load is never done"
    finally:
        sending.stopped.set()
        sending.join(10)
        link.close()
    check(told, truth)


def check(told: list[tuple[float, float]], truth: Truth) -> None:
    began = truth.began()
    looks = [at for at, _seconds in told]

    def oldest_at(at: float) -> float:
        return max(truth.waits(at, began), default=0.0)

    def spacing(moment: float) -> float:
        """Return the seconds between the looks about a moment, a polling interval unless the machine paused."""
        pairs = zip(looks, looks[1:])
        near = (after - before for before, after in pairs if before - POLLING <= moment <= after + POLLING)
        return max(near, default=POLLING)

    lines, wrong = [], 0
    for at, seconds in told:
        oldest = oldest_at(at)
        # A task is taken, counted and begun in three steps, between which a look may fall.
        off = min(abs(seconds - oldest_at(at + late)) for late in (-0.1, 0.0, 0.1))
        wrong += off > max(POLLING, 0.1 * oldest, spacing(at), spacing(at - oldest))
        lines.append(f"{at:.2f}: told {seconds:6.2f} s, truth {oldest:6.2f} s, off {off:5.2f} s")
    assert not wrong, "\n".join(lines)
    assert max(seconds for _at, seconds in told) > 1.5, "something did wait:\n" + "\n".join(lines)
