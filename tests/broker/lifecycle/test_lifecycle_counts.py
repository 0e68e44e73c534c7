# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker with the lifecycle module counts: messages by queue, tasks that ended; and the queue in its events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from broker_servers import RedisServer
from kombu import Exchange
from lifecycle_worker import Worker, Workers
from task_sender import sender

from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import read_status

POOLS = {
    "prefork": ("--pool", "prefork", "--concurrency", "2"),
    "threads": ("--pool", "threads", "--concurrency", "2"),
    "gevent": ("--pool", "gevent", "--concurrency", "4"),
    "solo": ("--pool", "solo"),
}
QUEUES = {
    "celery": {"exchange": "celery", "routing_key": "celery"},
    # Two queues of one exchange, whose names are not the keys that bring messages to them.
    "blue": {"exchange": "colours", "exchange_type": "topic", "routing_key": "blue.#"},
    "red": {"exchange": "colours", "exchange_type": "topic", "routing_key": "red.*"},
}


def taken(worker: Worker) -> dict[str, int]:
    """Return the messages taken by queue, those of queues without one left out."""
    counts: dict[str, int] = worker.status().get("taken", {})
    return {queue: count for queue, count in counts.items() if count}


@pytest.mark.parametrize("broker_url", ["redis", "rabbitmq"], indirect=True)
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_every_message_counts_for_its_queue(workers: Workers, broker_url: str, pool: str) -> None:
    settings: dict[str, Any] = {"task_queues": QUEUES, "worker_prefetch_multiplier": 20}
    worker = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
    worker.wait(lambda: worker.status().get("taken") == dict.fromkeys(QUEUES, 0), 5, "queues without messages")
    with sender(broker_url, task_queues=QUEUES) as app:
        colours = Exchange("colours", type="topic")
        for number, key in enumerate(("blue.sky.bright", "red.rose", "red.brick")):
            app.send_task("work", [number], exchange=colours, routing_key=key, declare=[colours])
        app.send_task("no-such-task", [4], queue="celery")
        app.send_task("work", [5], queue="celery", countdown=600)
        app.send_task("limited", [6], queue="celery")
        app.send_task("limited", [7], queue="celery")
        worker.order(app.control.revoke, "unwanted")
        app.send_task("work", [8], queue="celery", task_id="unwanted")
        with app.producer_or_acquire() as producer:
            producer.publish("no task at all", exchange="celery", routing_key="celery", content_type="text/plain")
    worker.wait(lambda: taken(worker) == {"celery": 6, "blue": 1, "red": 2}, 15, "all nine are counted")
    # Five ran; the unknown, the later, the revoked and the odd one never started.
    worker.wait(lambda: worker.status()["finished"] == 5, 10, "those that ran are finished")


def test_a_queue_added_later_counts(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"])
    with sender(redis_server.url) as app:
        worker.order(app.control.add_consumer, "late")
        app.send_task("work", [1], queue="late")
        worker.wait(lambda: taken(worker) == {"late": 1}, 10, "its message is counted")


def test_counts_go_on_over_a_reconnect(workers: Workers, start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    worker = workers.start_ready(server.url, *POOLS["prefork"])
    with sender(server.url) as app:
        app.send_task("work", [1])
        worker.wait(lambda: taken(worker) == {"celery": 1}, 10, "the first message")
    server.kill()
    worker.wait_state("reconnecting")
    start_redis(settings={"port": str(server.port)})
    worker.wait_state("consuming", 30)
    with sender(server.url) as app:
        app.send_task("work", [2])
        worker.wait(lambda: taken(worker) == {"celery": 2}, 10, "the second message, once")


def test_counts_are_of_now_while_messages_come_in(workers: Workers, redis_server: RedisServer) -> None:
    """What waits and what was taken always make up what was sent, but for the one message on its way."""
    settings = {"worker_prefetch_multiplier": 1, "task_acks_late": True}
    worker = workers.start_ready(redis_server.url, *POOLS["solo"], settings=settings)
    with sender(redis_server.url) as app:
        for number in range(60):
            app.send_task("work", [number, 0.05])
    sums: list[int] = []
    client = redis_server.client()

    def all_taken() -> bool:
        before = client.llen("celery")
        status = read_status(str(worker.status_file))
        after = client.llen("celery")
        assert status.taken is not None
        if before == after:
            sums.append(before + status.taken["celery"])
        return status.finished == 60

    worker.wait(all_taken, 30, "all are done")
    client.close()
    assert len(sums) > 20
    assert set(sums) <= {59, 60}
    assert sums.count(60) > 0.6 * len(sums), sums


@pytest.mark.parametrize("pool", POOLS)
def test_finished_never_falls_and_ends_at_the_truth(workers: Workers, redis_server: RedisServer, pool: str) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS[pool])
    with sender(redis_server.url) as app:
        for number in range(30):
            app.send_task("work", [number, 0.02])
        app.send_task("work", [], {})  # fails for want of arguments
    seen: list[int] = []

    def done() -> bool:
        status = worker.status()
        seen.append(status["finished"])
        assert status["finished"] <= status["processed"]
        assert status["finished"] >= len(workers.journal()) - 31
        return bool(status["finished"] == 31)

    worker.wait(done, 30, "all are finished")
    assert seen == sorted(seen)
    assert worker.status()["processed"] == 31


class Ear:
    """Hears all task events of a broker in a thread of its own."""

    def __init__(self, app: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.ready = threading.Event()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.listen, args=(app,))
        self.thread.start()
        assert self.ready.wait(20), "nobody listens"

    def listen(self, app: Any) -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": self.events.append})
            with receiver.consumer_context() as (heard_by, _channel, _consumers):
                while not self.stopped.is_set():
                    with suppress(TimeoutError):
                        heard_by.drain_events(timeout=0.2)
                    # With Redis it subscribes when it drains for the first time.
                    self.ready.set()

    def of_tasks(self) -> dict[str, set[Any]]:
        """Return the queues heard by the type of the event."""
        heard: dict[str, set[Any]] = {}
        for event in [event for event in self.events if event["type"].startswith("task-")]:
            heard.setdefault(event["type"], set()).add(event.get("queue"))
        return heard


@contextmanager
def ear(app: Any) -> Iterator[Ear]:
    listening = Ear(app)
    try:
        yield listening
    finally:
        listening.stopped.set()
        listening.thread.join(20)


EXPECTED = {"task-received", "task-started", "task-succeeded", "task-failed", "task-retried", "task-revoked"}


@pytest.mark.parametrize("broker_url", ["redis", "rabbitmq"], indirect=True)
@pytest.mark.parametrize("pool", POOLS)
def test_events_name_the_queue(workers: Workers, broker_url: str, pool: str) -> None:
    worker = workers.start_ready(broker_url, "-E", "-Q", "celery,high", *POOLS[pool])
    with sender(broker_url) as app, ear(app) as heard:
        app.send_task("work", [1, 0.1], queue="high")
        app.send_task("work", [], queue="high")
        app.send_task("again", [2], queue="high")
        worker.order(app.control.revoke, "unwanted")
        app.send_task("work", [3], queue="high", task_id="unwanted")
        app.send_task("no-such-task", [4], queue="high")
        worker.wait(lambda: heard.of_tasks().keys() >= EXPECTED, 20, "an event of each kind")
        worker.wait(lambda: len(workers.journal()) == 2, 20, "the second try")
        assert {kind: queues for kind, queues in heard.of_tasks().items() if kind in EXPECTED} == {
            kind: {"high"} for kind in EXPECTED
        }


def test_no_events_are_sent_where_they_are_off(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"])
    with sender(redis_server.url) as app, ear(app) as heard:
        app.send_task("work", [1])
        worker.wait(lambda: worker.status()["finished"] == 1, 10, "the task is done")
        beats = len(heard.events)
        worker.wait(lambda: len(heard.events) > beats, 10, "a heartbeat later")
        assert heard.of_tasks() == {}
