# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers with the lifecycle module while RabbitMQ blocks publishers, and last steps that hang."""

from __future__ import annotations

import time
from typing import Any

import pytest
from broker_servers import RabbitServer, RedisServer
from lifecycle_worker import Worker, Workers
from task_sender import sender

POOLS = {
    "prefork": ("--pool", "prefork", "--concurrency", "2"),
    "threads": ("--pool", "threads", "--concurrency", "2"),
    "gevent": ("--pool", "gevent", "--concurrency", "4"),
}


def start_busy(workers: Workers, url: str, pool: str, confirm: bool, *arguments: str) -> Worker:
    """Start a worker that runs two tasks for a while."""
    options = {"confirm_publish": True} if confirm else {}
    settings = {"task_acks_late": True, "broker_transport_options": options}
    worker = workers.start_ready(url, *POOLS[pool], *arguments, settings=settings)
    with sender(url) as app:
        for number in range(2):
            app.send_task("work", [number, 20.0])
    worker.wait(lambda: len(workers.journal("begun")) == 2, 20, "two tasks run")
    return worker


@pytest.mark.parametrize(
    ("pool", "confirm"), [("prefork", True), ("threads", True), ("gevent", True), ("prefork", False)]
)
def test_a_blocked_broker_costs_no_running_task(
    workers: Workers, rabbitmq_server: RabbitServer, rabbitmq_vhost: str, pool: str, confirm: bool
) -> None:
    """It is fed and says what is the matter; it can be stopped during the alarm, after its last task."""
    worker = start_busy(workers, rabbitmq_vhost, pool, confirm, "--task-events")
    assert worker.status()["blocked"] is False
    with rabbitmq_server.memory_alarm():
        worker.wait(lambda: worker.status()["blocked"], 15, "it says that it is blocked")
        worker.wait(lambda: worker.manager.said("the broker blocks what workers publish"), 5, "status line")
        since = time.monotonic()
        # Longer than the event loop may stand still.
        worker.wait(lambda: worker.manager.pings(since) >= 10, 20, "pings during the alarm")
        worker.term()
        worker.wait_asked_to_drain()
        assert worker.wait_exit(45) == 0, worker.log
    assert sorted(workers.journal()) == ["0", "1"], worker.log
    assert "last steps" not in worker.log
    with sender(rabbitmq_vhost) as app, app.connection_for_read() as connection:
        assert connection.default_channel.queue_declare("celery", passive=True).message_count == 0


def test_after_an_alarm_all_is_as_before(workers: Workers, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = {"broker_transport_options": {"confirm_publish": True}}
    worker = workers.start_ready(rabbitmq_vhost, *POOLS["prefork"], settings=settings)
    with rabbitmq_server.memory_alarm():
        worker.wait(lambda: worker.status()["blocked"], 15, "it says that it is blocked")
        worker.wait(lambda: worker.age() < 2, 10, "its loop turns")
    worker.wait(lambda: not worker.status()["blocked"], 15, "it is not blocked any more")
    with sender(rabbitmq_vhost) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 10, "it runs a task")
        inspect = app.control.inspect(destination=[worker.node], timeout=5, limit=1)
        worker.wait(inspect.ping, 20, "it answers")
        with app.connection_for_read() as connection:
            heard: list[str] = []

            def on_heartbeat(event: dict[str, Any]) -> None:
                heard.append(event["hostname"])
                receiver.should_stop = True

            receiver = app.events.Receiver(connection, handlers={"worker-heartbeat": on_heartbeat})
            receiver.capture(limit=None, timeout=10, wakeup=False)
            assert heard == [worker.node]
    worker.term()
    assert worker.wait_exit() == 0


def test_last_steps_that_hang_are_cut_short(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"], environment={"LIFECYCLE_LAST_STEPS": "3"})
    worker.fault_file.write_text("endless")
    worker.term()
    assert worker.wait_exit(30) == 0
    assert "the last steps of the shutdown hang" in worker.log
    assert not worker.status_file.exists()
