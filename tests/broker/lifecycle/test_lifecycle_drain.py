# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping a worker with the lifecycle module: nothing lost, nothing run twice, and Celery's own ways kept.

LIFECYCLE_FULL=1 runs every pool with every broker and acknowledgement, and stops LIFECYCLE_STOPS workers in
each, with LIFECYCLE_TASKS tasks a stop.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time

import pytest
from broker_servers import RedisServer
from lifecycle_worker import Worker, Workers
from task_sender import sender

from muejam_bed.shell import wait_until

FULL = bool(os.environ.get("LIFECYCLE_FULL"))
STOPS = int(os.environ.get("LIFECYCLE_STOPS", "2"))
TASKS_A_STOP = int(os.environ.get("LIFECYCLE_TASKS", "32"))
POOLS = {
    "prefork": ("--pool", "prefork", "--concurrency", "2"),
    "autoscale": ("--pool", "prefork", "--autoscale", "4,1"),
    "threads": ("--pool", "threads", "--concurrency", "2"),
    "gevent": ("--pool", "gevent", "--concurrency", "4"),
    "solo": ("--pool", "solo"),
}
EVERY = [(pool, broker, late) for pool in POOLS for broker in ("redis", "rabbitmq") for late in (True, False)]
CHOSEN = [
    ("prefork", "redis", True),
    ("prefork", "rabbitmq", False),
    ("autoscale", "redis", True),
    ("threads", "redis", True),
    ("gevent", "redis", True),
    ("gevent", "rabbitmq", True),
    ("solo", "rabbitmq", True),
]


def left_behind(request: pytest.FixtureRequest, url: str) -> int:
    """Return how many messages of the queue are waiting or unacknowledged when no worker is there."""
    if url.startswith("redis"):
        server: RedisServer = request.getfixturevalue("redis_server")
        return int(server.cli("LLEN", "celery")) + int(server.cli("HLEN", "unacked"))
    with sender(url) as app, app.connection_for_read() as connection:
        return int(connection.default_channel.queue_declare("celery", passive=True).message_count)


@pytest.mark.parametrize(("pool", "broker_url", "late"), EVERY if FULL else CHOSEN, indirect=["broker_url"])
def test_every_task_runs_exactly_once(
    request: pytest.FixtureRequest, workers: Workers, pool: str, broker_url: str, late: bool
) -> None:
    """Stop a busy worker again and again; the next one is already there when the last one drains."""
    settings = {"task_acks_late": late, "worker_prefetch_multiplier": 4}
    total = TASKS_A_STOP * (STOPS + 1)
    chance = random.Random(f"{pool} {broker_url.partition(':')[0]} {late}")
    # A gevent worker looks up only every two seconds; there must be work left for the workers after it.
    # Four processes are through with short ones before the next worker is there.
    longest = 0.5 if pool in ("gevent", "autoscale") else 0.15
    with sender(broker_url) as app:
        for number in range(total):
            app.send_task("work", [number, chance.uniform(0.01, longest)])

    stopped: list[Worker] = []
    while len(stopped) < STOPS:
        worker = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
        worker.wait(lambda log=worker.log_file: log.read_text().count(" succeeded") > 2, 30, "the worker is busy")
        worker.term()
        worker.wait_asked_to_drain()
        stopped.append(worker)
    last = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
    for worker in stopped:
        assert worker.wait_exit(60) == 0, worker.log
    last.wait(lambda: len(set(workers.journal())) == total, 90, f"all {total} tasks done")
    last.wait(lambda: last.status()["active"] == 0, 10, "the last task is finished")
    last.term()
    assert last.wait_exit() == 0

    counted = workers.counted()
    twice = {number: count for number, count in counted.items() if count > 1}
    assert not twice, f"run more than once: {twice}\n" + "\n".join(worker.log[-3000:] for worker in workers.running)
    assert len(counted) == total
    assert left_behind(request, broker_url) == 0


def test_a_draining_worker_says_so_and_takes_nothing(workers: Workers, broker_url: str) -> None:
    worker = workers.start_ready(broker_url, *POOLS["prefork"], settings={"worker_prefetch_multiplier": 2})
    with sender(broker_url) as app:
        for number in range(4):
            app.send_task("work", [number, 15.0 if number < 2 else 0.1])
        worker.wait(lambda: worker.status()["active"] == 2, 10, "two tasks run")
        worker.wait(lambda: worker.status()["reserved"] == 2, 10, "two tasks are reserved")
        worker.term()
        worker.wait_state("draining")
        worker.wait(lambda: worker.manager.said("STATUS=draining: 2 running, 0 reserved"), 10, "status line")
        inspect = app.control.inspect(destination=[worker.node], timeout=1, limit=1)
        worker.wait(lambda: inspect.active_queues() == {worker.node: []}, 10, "an answer: consuming from nothing")
        app.send_task("work", [99])
        since = time.monotonic()
        worker.wait(lambda: worker.manager.pings(since) >= 3, 10, "pings while draining")
        assert not worker.manager.said("STOPPING=1")
    assert worker.wait_exit(30) == 0
    worker.wait_said("STOPPING=1")
    assert sorted(workers.journal()) == ["0", "1"]


BUSY = {"prefork": 2, "threads": 2, "gevent": 4, "solo": 1}
GIVING = [
    ("prefork", "redis", True),
    ("prefork", "rabbitmq", False),
    ("threads", "redis", False),
    ("threads", "rabbitmq", True),
    ("gevent", "redis", False),
    ("gevent", "rabbitmq", True),
    ("solo", "redis", True),
]


@pytest.mark.parametrize(
    ("pool", "broker_url", "late"),
    [case for case in EVERY if case[0] in BUSY] if FULL else GIVING,
    indirect=["broker_url"],
)
def test_what_has_not_begun_goes_back(
    request: pytest.FixtureRequest, workers: Workers, pool: str, broker_url: str, late: bool
) -> None:
    """Also what waits for its ETA or its rate limit; a drain is as long as what runs."""
    settings = {"task_acks_late": late, "worker_prefetch_multiplier": 8}
    first = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
    busy = BUSY[pool]
    waiting, later, limited = range(10, 18), range(20, 22), range(30, 33)
    with sender(broker_url) as app:
        for number in later:
            app.send_task("work", [number], countdown=600)
        for number in limited:
            app.send_task("limited", [number])
        first.wait(lambda: first.log.count(" received") == 5, 10, "the worker holds them")
        for number in range(busy):
            app.send_task("work", [number, 5.0])
        first.wait(lambda: len(workers.journal("begun")) == busy, 20, "all processes are busy")
        for number in waiting:
            app.send_task("work", [number, 60.0])
    if pool in ("prefork", "threads"):
        first.wait(lambda: first.status()["reserved"] > 0, 10, "some are reserved")
    first.term()
    # One of those that wait would have taken a minute.
    assert first.wait_exit(45) == 0, first.log
    assert workers.counted() == dict.fromkeys(range(busy), 1), first.log
    done = [int(number) for number in workers.journal() if int(number) >= 30]
    expected = len(waiting) + len(later) + len(limited) - len(done)
    wait_until(lambda: left_behind(request, broker_url) == expected, 10, "what has not begun is back")


def test_a_task_goes_back_to_its_place(workers: Workers, redis_server: RedisServer) -> None:
    """The order within a priority and the priorities stay, on every version of kombu."""
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"], settings={"worker_prefetch_multiplier": 8})
    with sender(redis_server.url) as app:
        for number in range(4):
            app.send_task("work", [number], priority=9 * (number % 2), countdown=600)
        worker.wait(lambda: worker.log.count(" received") == 4, 10, "the worker holds them")
        worker.order(app.control.cancel_consumer, "celery")
        app.send_task("work", [4], priority=9)
    worker.term()
    assert worker.wait_exit(20) == 0
    lists = [redis_server.cli("LRANGE", name, "0", "-1") for name in ("celery", "celery\x06\x169")]
    # The next one is on the right.
    assert [re.findall(r'"argsrepr": "\[(.)\]"', text) for text in lists] == [["2", "0"], ["4", "3", "1"]]


HELD = [("prefork", "redis"), ("gevent", "rabbitmq")]


@pytest.mark.parametrize(
    ("pool", "broker_url"),
    [(pool, broker) for pool, broker, late in EVERY if late] if FULL else HELD,
    indirect=["broker_url"],
)
def test_held_back_tasks_return_to_the_broker(workers: Workers, pool: str, broker_url: str) -> None:
    """Tasks that wait in the worker for their ETA, or for their rate limit, run elsewhere, once."""
    settings = {"task_acks_late": True, "worker_prefetch_multiplier": 8}
    first = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
    with sender(broker_url) as app:
        for number in range(3):
            app.send_task("work", [number], countdown=6)
        # One a second.
        for number in range(10, 18):
            app.send_task("limited", [number])
    first.wait(lambda: first.log.count(" received") == 11, 10, "the worker holds them")
    first.term()
    assert first.wait_exit(15) == 0
    before = len(workers.journal())
    assert before < 8, "the drain does not wait for what only waits"

    second = workers.start_ready(broker_url, *POOLS[pool], settings=settings)
    second.wait(lambda: len(workers.journal()) >= 11, 60, "they all run")
    second.term()
    assert second.wait_exit() == 0
    assert sorted(workers.journal(), key=int) == [str(number) for number in (0, 1, 2, *range(10, 18))]


def test_a_solo_worker_finishes_its_task(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["solo"], settings={"task_acks_late": True})
    with sender(redis_server.url) as app:
        app.send_task("work", [1, 3.0])
    worker.wait(lambda: workers.journal("begun") == ["1"], 5, "the task runs")
    worker.term()
    worker.wait_state("draining")
    assert worker.wait_exit(10) == 0
    assert workers.journal() == ["1"]
    assert redis_server.cli("ZCARD", "unacked_index") == "0"


def test_the_second_term_is_celerys(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"], settings={"worker_prefetch_multiplier": 4})
    with sender(redis_server.url) as app:
        for number in range(6):
            app.send_task("work", [number, 8.0])
    worker.wait(lambda: worker.status()["reserved"] == 4, 10, "tasks are reserved")
    worker.term()
    worker.wait_state("draining")
    assert "Warm shutdown" not in worker.log
    worker.term()
    worker.wait(lambda: "Warm shutdown" in worker.log, 6, "Celery's handler")
    assert worker.wait_exit(30) == 0
    assert len(workers.journal()) == 2, "a warm shutdown finishes what runs and gives back what is reserved"
    assert redis_server.cli("LLEN", "celery") == "4"


def test_term_before_ready_is_celerys(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start(redis_server.url, *POOLS["prefork"], fault="slow")
    worker.wait(lambda: "Connected to" in worker.log, 30, "the worker is about to be ready")
    worker.term()
    worker.wait(lambda: "Warm shutdown" in worker.log, 6, "Celery's handler")
    worker.fault_file.unlink()
    assert worker.wait_exit(30) == 0
    assert not worker.manager.said("READY=1")


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_term_without_a_broker_is_celerys(workers: Workers, redis_server: RedisServer, pool: str) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS[pool])
    redis_server.kill()
    worker.wait_state("reconnecting")
    worker.term()
    assert worker.wait_exit(30) == 0


def test_a_broker_lost_while_draining_ends_in_a_warm_shutdown(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"])
    with sender(redis_server.url) as app:
        app.send_task("work", [1, 4.0])
    worker.wait(lambda: worker.status()["active"] == 1, 5, "the task runs")
    worker.term()
    worker.wait_state("draining")
    redis_server.kill()
    # Celery 5.3 takes half a minute to stop without its broker, with this module or without.
    assert worker.wait_exit(60) == 0
    assert workers.journal() == ["1"], "the running task was finished"


def test_a_remapped_term_drains_and_then_stops_celerys_way(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(
        redis_server.url,
        *POOLS["prefork"],
        settings={"worker_soft_shutdown_timeout": 5.0},
        environment={"REMAP_SIGTERM": "SIGQUIT"},
    )
    with sender(redis_server.url) as app:
        for number in range(4):
            app.send_task("work", [number, 4.0 if number < 2 else 0.1])
    worker.wait(lambda: worker.status()["active"] == 2, 5, "tasks run")
    worker.term()
    worker.wait_exit(30)
    assert sorted(workers.journal()) == ["0", "1"]
    assert "Drained in" in worker.log
    assert "Cold shutdown" in worker.log


def test_a_remote_shutdown_drains(workers: Workers, redis_server: RedisServer) -> None:
    settings = {"worker_prefetch_multiplier": 2, "task_acks_late": True}
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"], settings=settings)
    with sender(redis_server.url) as app:
        for number in range(4):
            app.send_task("work", [number, 15.0 if number < 2 else 0.1])
        worker.wait(lambda: worker.status()["reserved"] == 2, 10, "tasks are reserved")
        answers = app.control.broadcast("shutdown", destination=[worker.node], reply=True, timeout=10)
        assert list(answers[0][worker.node]) == ["ok"]
        worker.wait_state("draining")
    assert worker.wait_exit(30) == 0
    assert sorted(workers.journal()) == ["0", "1"]
    assert redis_server.cli("LLEN", "celery") == "2"


def test_a_worker_drained_from_outside_says_so(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *POOLS["prefork"])
    with sender(redis_server.url) as app:
        worker.order(app.control.cancel_consumer, "celery")
        worker.wait_state("draining")
        worker.wait(lambda: worker.age() < 2, 5, "a fresh status file")
        worker.order(app.control.add_consumer, "celery")
        worker.wait_state("consuming")
        worker.order(app.control.cancel_consumer, "celery")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
