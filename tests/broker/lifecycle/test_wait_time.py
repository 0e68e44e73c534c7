# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait that is told against the wait that the tasks themselves tell, with a real broker and real workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from broker_servers import RabbitServer, RedisServer
from kombu import Connection
from lifecycle_worker import Worker, Workers
from wait_truth import ONE_AT_A_TIME, SOLO, Load, Sender, Sending, Told, Truth, steady

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.broker_link import BrokerLink
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory, observe
from ansible_collections.muejam.celery.plugins.module_utils.observe.waiting import BROKER_LATE, BY_BROKER, BY_WORKERS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import read_status

POLLING = 1.0
APART = ("burst", "on/off")
STEADY = ("celery",)
THREE = ("celery", "high", "slow")

LOADS = [
    Load(
        "burst and on/off",
        APART,
        [
            Sending(2.3, "burst", 160, 0.05),
            *(sent for start in (0.5, 6.2) for sent in steady("on/off", 50.0, 2.5, 0.04, start)),
        ],
    ),
    # 16 a second come, 2 workers do at most 2 * 1/0.15 = 13: the queue grows.
    Load("steady", STEADY, steady("celery", 16.0, 10.0, 0.15)),
    Load(
        "three queues",
        THREE,
        [
            Sending(1.4, "slow", 30, 0.15),
            *steady("celery", 12.0, 10.0, 0.05),
            *(sent for start in (2.7, 7.1) for sent in steady("high", 30.0, 2.0, 0.05, start)),
        ],
    ),
]
LOOKED_AT = {APART: [(queue,) for queue in APART]}
"""What is looked at by itself; otherwise all queues of a load together."""

# Three workers do 3 s of work a second; the queues of each are those of another fleet or host.
CONSUMED = [("burst", "onoff", "shared"), ("shared", "levels", "burst"), ("levels", "onoff", "shared")]
EVERYTHING = Load(
    "everything",
    ("burst", "onoff", "shared", "levels"),
    [
        Sending(2.3, "burst", 90, 0.08),
        *(sent for start in (0.5, 6.7) for sent in steady("onoff", 30.0, 2.0, 0.06, start)),
        *steady("shared", 12.0, 9.0, 0.12),
        *(Sending(1.2, "levels", 35, 0.1, level) for level in (9, 3, 0)),
    ],
)
OBSERVERS = [("burst",), ("onoff",), ("shared", "onoff"), ("shared", "levels")]
"""The queues of those who look: fleets with a queue in common, none of which has a worker here."""


@dataclass
class Observer:
    """Looks again and again, and remembers."""

    told: Told
    memory: Memory = field(default_factory=Memory)

    def look(self, queues: QueuesReading, hosts: list[FleetReading], source: str) -> float:
        seen, self.memory = observe(self.memory, queues.at, hosts, queues)
        seconds = seen.value("wait_time")
        assert seconds is not None, seen.unknown
        assert seen.sources["wait_time"].startswith(source)
        self.told.waits.append((queues.at, seconds))
        return seconds


def read(link: BrokerLink, observer: Observer) -> QueuesReading:
    queues = link.read(observer.told.queues, observer.memory.waiting.marks)
    assert queues.waiting is not None, queues.problem
    return queues


def reading(worker: Worker) -> WorkerReading:
    status = read_status(str(worker.status_file))
    assert status.finished is not None
    return WorkerReading(
        worker.node, CONSUMING, str(status.pid), status.active, status.reserved, status.finished + status.active,
        status.taken,
    )  # fmt: skip


def past(moment: float) -> bool:
    return time.monotonic() >= moment


def look_until_done(url: str, load: Load, workers: Workers, interval: float, look: Callable[[], float]) -> Truth:
    """Send a load and look at it until all of it has run; return what it tells itself."""
    truth = Truth(workers.directory / "journal")
    assert look() == 0
    sending = Sender(url, load, truth)
    sending.start()
    due = time.monotonic() + interval
    try:
        for _turn in range(int(60 / interval)):
            workers.running[0].wait(partial(past, due), interval + 5, "the next look is due")
            due += interval
            if look() == 0 and len(truth.began()) == load.total:
                return truth
    finally:
        sending.stopped.set()
        sending.join(10)
    raise AssertionError(f"the load is never done: {len(truth.began())} of {load.total} have begun")


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_the_wait_is_right_to_a_polling_interval(workers: Workers, redis_server: RedisServer, load: Load) -> None:
    """Whether the broker counts or the workers do."""
    for _number in range(2):
        workers.start(redis_server.url, *SOLO, "-Q", ",".join(load.queues), settings=ONE_AT_A_TIME)
    for worker in workers.running:
        worker.wait_ready()
    looked_at = LOOKED_AT.get(load.queues, [load.queues])
    observers = [(Observer(Told(queues)), Observer(Told(queues))) for queues in looked_at]
    with closing(BrokerLink(redis_server.url, {}, None, 5.0)) as link:

        def look() -> float:
            longest = 0.0
            for by_broker, by_workers in observers:
                host = FleetReading("test", time.time(), tuple(reading(worker) for worker in workers.running))
                queues = read(link, by_broker)
                # Nothing waits: the broker has said so, whoever counts.
                source = BY_WORKERS if any((queues.waiting or {}).values()) else ""
                by_workers.look(replace(queues, lists={}), [host], source)
                longest = max(longest, by_broker.look(queues, [], BY_BROKER))
            return longest

        truth = look_until_done(redis_server.url, load, workers, POLLING, look)
    for by_broker, by_workers in observers:
        by_broker.told.check(truth, POLLING)
        by_workers.told.check(truth, POLLING, counts_late=0.2)


def others_take(
    workers: Workers, url: str, link: BrokerLink, interval: float, late: float = 0.1, counts_late: float = 0.0
) -> None:
    for queues in CONSUMED:
        workers.start(url, *SOLO, "-Q", ",".join(queues), settings=ONE_AT_A_TIME)
    for worker in workers.running:
        worker.wait_ready()
    observers = [Observer(Told(queues)) for queues in OBSERVERS]
    with closing(link):

        def look() -> float:
            return max(observer.look(read(link, observer), [], BY_BROKER) for observer in observers)

        truth = look_until_done(url, EVERYTHING, workers, interval, look)
    for observer in observers:
        observer.told.check(truth, interval, late, counts_late)


def test_the_wait_is_right_whoever_takes_on_redis(workers: Workers, redis_server: RedisServer) -> None:
    others_take(workers, redis_server.url, BrokerLink(redis_server.url, {}, None, 5.0), POLLING)


def test_the_wait_is_right_whoever_takes_on_rabbitmq(
    workers: Workers, rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    link = BrokerLink(rabbitmq_vhost, {}, None, 5.0, management_url=rabbitmq_server.management_url)
    # The node gathers its counts every second (collect_statistics_interval), from several places in turn, and later
    # when it is busy. How exact the wait is once they are there, the test below tells.
    others_take(workers, rabbitmq_vhost, link, 2 * POLLING, late=BROKER_LATE, counts_late=BROKER_LATE)


# How many messages are sent, and then taken, before each look.
STEPS = [(40, 0), (0, 15), (20, 10), (0, 20), (5, 16), (0, 4)]


def test_the_wait_is_right_to_a_look_when_rabbitmq_has_counted(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    """Without workers: what was sent and taken, and when, is known to the message."""
    observer, waiting, taken = Observer(Told(("celery",))), deque[float](), 0
    link = BrokerLink(rabbitmq_vhost, {}, None, 5.0, management_url=rabbitmq_server.management_url)
    with closing(link), Connection(rabbitmq_vhost) as connection, connection.SimpleQueue("celery") as queue:

        def counted() -> QueuesReading:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                queues = read(link, observer)
                if (queues.waiting or {})["celery"] == len(waiting) and queues.delivered.get("celery") == taken:
                    return queues
                time.sleep(0.1)
            raise AssertionError(f"{len(waiting)} that wait and {taken} that were taken are never counted: {queues}")

        observer.look(counted(), [], BY_BROKER)
        for sent, got in STEPS:
            for _number in range(sent):
                queue.put("")
                waiting.append(time.time())
            for _number in range(got):
                queue.get_nowait().ack()
                waiting.popleft()
            taken += got
            wait = observer.look(counted(), [], BY_BROKER)
            looks = [at for at, _seconds in observer.told.waits]
            oldest = looks[-1] - waiting[0] if waiting else 0.0
            # It came between two looks, so that is how exact it can be.
            assert abs(wait - oldest) <= max(after - before for before, after in zip(looks, looks[1:]))
        assert not waiting
