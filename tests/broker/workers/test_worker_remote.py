# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for plain workers and drain them by remote control, with the program that units call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from broker_servers import RabbitServer, RedisServer
from celery import Celery
from redis.exceptions import NoPermissionError
from task_sender import sender
from worker_processes import Workers

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream
from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.roll_call import read_workers
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide
from muejam_bed.shell import wait_until

PROGRAM = "ansible_collections.muejam.celery.plugins.module_utils.unit_hooks"


def start(url: str | None, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CELERY")}
    if url is not None:
        variables["CELERY_BROKER_URL"] = url
    return subprocess.Popen(
        [sys.executable, "-m", PROGRAM, *arguments],
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60.0) -> tuple[int, str]:
    """Return the exit code and what was said on standard error."""
    try:
        output, said = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert output == ""
    return process.returncode, said


def run(url: str | None, *arguments: str, **environment: str) -> tuple[int, str]:
    return finish(start(url, *arguments, **environment))


def send(app: Celery, numbers: range, seconds: Callable[[int], float]) -> None:
    for number in numbers:
        app.send_task("work", [number, seconds(number)])


def test_ready_returns_when_the_worker_consumes(broker_url: str, workers: Workers) -> None:
    with start(broker_url, "ready", "--node", "a@h", "--timeout", "60") as waiting:
        workers.start(broker_url, "other@h")
        assert waiting.poll() is None, "another worker is not the one"
        workers.start(broker_url, "a@h", arguments=["-Q", "slow,fast"])
        code, said = finish(waiting, 20)
    assert (code, said) == (0, "Worker a@h consumes from fast, slow.\n")


def test_a_broker_that_is_known_by_an_authority_of_its_own(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, workers: Workers
) -> None:
    url = rabbitmq_server.vhost_url(rabbitmq_vhost.rpartition("/")[2], tls=True)
    ready = ("ready", "--node", "a@h", "--timeout", "20")
    authority = json.dumps({"ca_certs": str(rabbitmq_server.tls.authority)})
    workers.start(rabbitmq_vhost, "a@h")
    assert run(url, *ready, CELERY_LIFECYCLE_BROKER_USE_SSL=authority)[0] == 0
    code, said = run(url, *ready, CELERY_LIFECYCLE_BROKER_USE_SSL="3")
    assert (code, "is not a JSON object or true" in said) == (2, True)


def test_ready_waits_for_a_broker_that_comes_later(start_redis: Callable[..., RedisServer], workers: Workers) -> None:
    first = start_redis()
    first.stop()
    with start(first.url, "ready", "--node", "a@h", "--timeout", "60") as waiting:
        start_redis(settings={"port": str(first.port)})
        workers.start(first.url, "a@h")
        assert finish(waiting, 15)[0] == 0


def test_ready_gives_up(broker_url: str, workers: Workers) -> None:
    workers.start(broker_url, "drained@h")
    with sender(broker_url) as app:
        app.control.cancel_consumer("celery", destination=["drained@h"])
        wait_until(lambda: "Canceling queue" in workers.started[0].log, 10, "the worker stops consuming")
    code, said = run(broker_url, "ready", "--node", "drained@h", "--timeout", "5")
    assert (code, "consumes from no queue after 5 s" in said) == (1, True)
    code, said = run(broker_url, "ready", "--node", "nobody@h", "--timeout", "4")
    assert (code, "has not answered within 4 s" in said) == (1, True)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_drained_worker_loses_nothing_and_runs_nothing_twice(broker_url: str, pool: str, workers: Workers) -> None:
    tasks = range(80)
    leaving = workers.start(
        broker_url, "a@h", "b@h", pool=pool, arguments=["-c", "2"], settings={"task_acks_late": True}
    )[0]
    with sender(broker_url) as app:
        send(app, tasks, lambda number: 0.02 + 0.16 * (number % 5 == 0))
        wait_until(lambda: len(workers.done) >= 5, 20, "the first tasks")
        code, said = run(broker_url, "drain", "--node", "a@h", "--timeout", "60")
        assert (code, said) == (0, "Worker a@h has finished its tasks.\n"), leaving.log
        leaving.stop()
        wait_until(lambda: len(workers.done) >= len(tasks), 60, "all tasks")
        # One task more, behind all others: what ran twice has run by then.
        send(app, range(80, 81), lambda number: 0.0)
        wait_until(lambda: 80 in workers.done, 20, "the last task")
    assert workers.done == [*tasks, 80]


def test_draining_a_solo_worker_waits_for_its_task(redis_server: RedisServer, workers: Workers) -> None:
    workers.start(redis_server.url, "a@h", pool="solo", settings={"worker_prefetch_multiplier": 1})
    with sender(redis_server.url) as app:
        send(app, range(1), lambda number: 4.0)
        wait_until(lambda: "received" in workers.started[0].log, 10, "the task begins")
        assert run(redis_server.url, "drain", "--node", "a@h", "--timeout", "60")[0] == 0
    assert workers.done == [0]


def test_a_drain_that_takes_too_long_says_what_is_left(broker_url: str, workers: Workers) -> None:
    workers.start(broker_url, "a@h", arguments=["-c", "1"])
    with sender(broker_url) as app:
        send(app, range(3), lambda number: 60.0)
        wait_until(lambda: workers.started[0].log.count("received") == 3, 10, "the tasks are received")
        code, said = run(broker_url, "drain", "--node", "a@h", "--timeout", "5")
    assert code == 1
    assert "running: 1, received and not started: 2" in said


def test_nothing_to_drain_is_no_failure(broker_url: str, workers: Workers) -> None:
    expected = (0, "The process of worker b@h has ended: nothing to drain.\n")
    killed = workers.start(broker_url, "a@h", "b@h")[1]
    number = str(killed.process.pid)
    killed.kill()
    assert run(broker_url, "drain", "--node", "b@h", "--timeout", "30", MAINPID=number) == expected


def test_the_rights_that_are_advised_are_enough(redis_server: RedisServer, workers: Workers) -> None:
    workers.start(redis_server.url, "a@h")
    refused = NoPermissionError("this user has no permissions to run the 'publish' command")
    advice = explain(refused, "read", opening=False, hide=Hide()).next_step
    rights = advice.partition("<user> ")[2].partition(". ")[0].replace("'", "").split()
    redis_server.cli("ACL", "SETUSER", "u", "reset", "on", ">not-a-real-password", *rights)
    url = redis_server.url.replace("redis://", "redis://u:not-a-real-password@")
    told: list[str] = []
    with open_broker(url) as broker:
        assert [worker.state for worker in read_workers(broker).workers] == ["online"]
        assert [queue.name for queue in broker.read_queues(warn=told.append)] == ["celery"]
        assert broker.publishers_blocked(["celery"]) == ""
    assert told == []
    assert "lpushx" not in redis_server.cli("ACL", "LOG"), "whether tasks are taken was asked"
    stream = EventStream(url, {"web": ["celery"]})
    stream.start()
    try:
        wait_until(lambda: stream.snapshot().health.connected, 30, lambda: str(stream.snapshot().health))
    finally:
        stream.stop()
    assert run(url, "drain", "--node", "a@h", "--timeout", "60")[0] == 0


def test_workers_of_an_old_kombu_are_called_behind_sentinels(
    start_redis: Callable[..., RedisServer], workers: Workers
) -> None:
    master = start_redis()
    sentinel = start_redis(sentinel=True, settings={"sentinel monitor": f"shop 127.0.0.1 {master.port} 1"})
    url = f"sentinel://127.0.0.1:{sentinel.port}/0"
    settings = {"broker_transport_options": {"master_name": "shop"}}
    # The app that waits for answers is a new one, which an old worker does not hear.
    workers.start(url, "old@h", settings={**settings, "as_kombu_before_5_4": True}, answers=False)
    workers.start(url, "new@h", settings=settings)

    def found() -> list[tuple[str | None, str]]:
        with open_broker(url, {"master_name": "shop"}) as broker:
            return [(worker.name, worker.state) for worker in read_workers(broker).workers]

    wait_until(lambda: found() == [("new@h", "online"), ("old@h", "online")], 20, "both are heard")
    options = json.dumps({"master_name": "shop"})
    for node in ("old@h", "new@h"):
        code, said = run(url, "drain", "--node", node, "--timeout", "60", CELERY_LIFECYCLE_TRANSPORT_OPTIONS=options)
        assert (code, said) == (0, f"Worker {node} has finished its tasks.\n")


def test_a_worker_that_cannot_be_called_is_not_said_to_be_gone(broker_url: str, workers: Workers) -> None:
    (deaf,) = workers.start(broker_url, "a@h", settings={"worker_enable_remote_control": False})
    number = str(deaf.process.pid)
    code, said = run(broker_url, "drain", "--node", "a@h", "--timeout", "30", MAINPID=number)
    assert code == 1
    assert "worker_enable_remote_control" in said


def test_a_frozen_worker_is_not_drained(broker_url: str, workers: Workers) -> None:
    (frozen,) = workers.start(broker_url, "a@h")
    frozen.freeze()
    code, said = run(broker_url, "drain", "--node", "a@h", "--timeout", "3")
    assert code == 1
    assert "is connected to the broker and has not answered" in said


def test_a_broker_that_freezes_does_not_hold_the_drain(
    broker_url: str, workers: Workers, request: pytest.FixtureRequest
) -> None:
    workers.start(broker_url, "a@h", arguments=["-c", "1"])
    server = request.getfixturevalue("redis_server" if broker_url.startswith("redis") else "rabbitmq_server")
    with sender(broker_url) as app:
        send(app, range(1), lambda number: 60.0)
    with start(broker_url, "drain", "--node", "a@h", "--timeout", "6") as draining:
        wait_until(lambda: "Canceling queue" in workers.started[0].log, 10, "the drain begins")
        server.freeze()
        try:
            code, said = finish(draining, 12)
        finally:
            server.thaw()
    assert code == 1
    assert said.startswith("Could not ")


def test_transport_options_come_by_the_environment(redis_server: RedisServer, workers: Workers) -> None:
    options = {"global_keyprefix": "shop-"}
    workers.start(redis_server.url, "a@h", settings={"broker_transport_options": options})
    arguments = ("ready", "--node", "a@h", "--timeout", "20")
    assert run(redis_server.url, *arguments, CELERY_LIFECYCLE_TRANSPORT_OPTIONS=json.dumps(options))[0] == 0
    assert run(redis_server.url, "ready", "--node", "a@h", "--timeout", "1")[0] == 1


def test_calling_it_wrongly_is_told_apart(redis_server: RedisServer) -> None:
    arguments = ("ready", "--node", "a@h", "--timeout", "1")
    for code, said in (
        run(None, *arguments),
        run(redis_server.url, *arguments, CELERY_LIFECYCLE_TRANSPORT_OPTIONS="[1]"),
        run(redis_server.url, "ready", "--node", "a@h", "--timeout", "-1"),
        run(redis_server.url, "ready", "--timeout", "1"),
    ):
        assert code == 2
        assert "usage:" in said


def test_no_password_is_told(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(password="not-a-real-password")
    url = server.url.replace("not-a-real-password", "neither-is-this")
    code, said = run(url, "ready", "--node", "a@h", "--timeout", "4")
    assert code == 1
    assert "neither-is-this" not in said
    assert "password" in said


def test_a_worker_with_another_separator_is_not_harmed(redis_server: RedisServer, workers: Workers) -> None:
    options = json.dumps({"sep": ":"})
    workers.start(redis_server.url, "a@h", settings={"broker_transport_options": {"sep": ":"}})
    code, said = run(redis_server.url, "ready", "--node", "a@h", "--timeout", "5")
    assert (code, "Give sep: ':' in the transport options" in said) == (1, True), said
    # It answers as before, at once.
    ready = ("ready", "--node", "a@h", "--timeout", "15")
    assert run(redis_server.url, *ready, CELERY_LIFECYCLE_TRANSPORT_OPTIONS=options)[0] == 0
