# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Priorities: 9 runs before 5 before 1 on both brokers, with workers that have the lifecycle module."""

from __future__ import annotations

from typing import Any

import pytest
from broker_servers import RedisServer
from lifecycle_worker import Workers
from task_sender import sender

EXPECTED = [f"{priority}{number}" for priority in (9, 5, 1) for number in range(2)]
OWN_STEPS = {"priority_steps": list(range(10)), "sep": ":", "global_keyprefix": "app:"}


def send_mixed(app: Any, each: int = 2) -> None:
    """Send tasks of priority 1, 5 and 9, the most urgent last; a task's number begins with its priority."""
    for priority in (1, 5, 9):
        for number in range(each):
            app.send_task("work", [int(f"{priority}{number}")], priority=priority)


@pytest.mark.parametrize(("pool", "options"), [("prefork", OWN_STEPS), ("gevent", {})], ids=["prefork", "gevent"])
def test_high_first_on_redis(workers: Workers, redis_server: RedisServer, pool: str, options: dict[str, Any]) -> None:
    settings = {"broker_transport_options": options, "worker_prefetch_multiplier": 1, "task_acks_late": True}
    # A gevent worker that prefetches one message takes one every two seconds.
    expected = EXPECTED if pool == "prefork" else ["90", "50", "10"]
    with sender(redis_server.url, broker_transport_options=options) as app:
        send_mixed(app, each=len(expected) // 3)
        worker = workers.start_ready(
            redis_server.url,
            *("--pool", pool, "--concurrency", "1"),
            settings=settings,
            environment={"CELERY_LIFECYCLE_PRIORITY": "high_first"} if options else None,
        )
        worker.wait(lambda: len(workers.journal()) == len(expected), 20, "all run")
        assert workers.journal() == expected

        # From inside a worker, too, a message goes into the list in which any other program looks for it.
        app.send_task("chained", [100, 9])
        worker.wait(lambda: "100" in workers.journal(), 10, "a task sent by a task")


def test_a_returned_task_keeps_its_priority(workers: Workers, redis_server: RedisServer) -> None:
    settings = {"worker_prefetch_multiplier": 8, "task_acks_late": True}
    worker = workers.start_ready(redis_server.url, "--pool", "prefork", "--concurrency", "1", settings=settings)
    with sender(redis_server.url) as app:
        app.send_task("work", [1], priority=9, countdown=600)
        app.send_task("work", [2], priority=1, countdown=600)
        worker.wait(lambda: worker.log.count(" received") == 2, 10, "the worker holds them")
    worker.term()
    assert worker.wait_exit() == 0
    # kombu before 5.4 would by itself give back every message to the queue's first list.
    assert redis_server.cli("LLEN", "celery\x06\x169") == "1"
    assert redis_server.cli("LLEN", "celery") == "1"


def test_low_first_is_left_to_kombu(workers: Workers, redis_server: RedisServer) -> None:
    with sender(redis_server.url) as app:
        send_mixed(app)
    worker = workers.start_ready(
        redis_server.url,
        *("--pool", "prefork", "--concurrency", "1"),
        settings={"worker_prefetch_multiplier": 1, "task_acks_late": True},
        environment={"CELERY_LIFECYCLE_PRIORITY": "low_first"},
    )
    worker.wait(lambda: len(workers.journal()) == 6, 20, "all run")
    assert workers.journal() == list(reversed([f"{priority}{number}" for priority in (9, 5, 1) for number in (1, 0)]))


def test_high_first_on_rabbitmq(workers: Workers, rabbitmq_vhost: str) -> None:
    settings = {"task_queue_max_priority": 10, "worker_prefetch_multiplier": 1, "task_acks_late": True}
    with sender(rabbitmq_vhost, task_queue_max_priority=10) as app:
        send_mixed(app)
    worker = workers.start_ready(rabbitmq_vhost, "--pool", "prefork", "--concurrency", "1", settings=settings)
    worker.wait(lambda: len(workers.journal()) == 6, 20, "all run")
    assert workers.journal() == EXPECTED
