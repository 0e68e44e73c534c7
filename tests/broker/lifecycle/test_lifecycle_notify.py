# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker with the lifecycle module tells its service manager: ready, alive, reconnecting, stopping."""

from __future__ import annotations

import json
import os
import ssl
import stat
import time
from collections.abc import Callable
from typing import Any

import pytest
from broker_servers import RabbitServer, RedisServer
from lifecycle_worker import Workers
from task_sender import sender

LOST_SECONDS = float(os.environ.get("LIFECYCLE_LOST_SECONDS", "4"))  # longer than a stuck loop is given
ONE_PROCESS = ("--pool", "prefork", "--concurrency", "1")


@pytest.mark.parametrize(
    ("broker_url", "abstract"), [("redis", False), ("rabbitmq", True)], indirect=["broker_url"], ids=str
)
def test_from_start_to_stop(workers: Workers, broker_url: str, abstract: bool) -> None:
    worker = workers.start(
        broker_url,
        "--pool",
        "prefork",
        "--concurrency",
        "2",
        "-Q",
        "celery,high",
        abstract=abstract,
        mingle=True,
        fault="slow",
    )
    worker.wait(lambda: worker.status().get("state") == "starting", 30, "state starting")
    assert not worker.manager.said("READY=1")
    worker.fault_file.unlink()
    worker.wait_ready()

    with sender(broker_url) as app:
        app.send_task("environment", [1])
        worker.wait(lambda: workers.journal("environment"), 5, "a task sent right after READY=1 runs")
    assert workers.journal("environment") == [""], "pool processes do not talk to the service manager"

    worker.wait(lambda: worker.manager.said("STATUS=consuming celery,high: 0 running, 1 done"), 5, "status line")
    worker.wait(lambda: worker.status()["processed"] == 1, 5, "status file")
    status = worker.status()
    assert status["monotonic"] <= status["written"] <= time.monotonic()
    assert {key: status[key] for key in status.keys() - {"monotonic", "written", "at"}} == {
        "version": 1,
        "node": worker.node,
        "pid": worker.process.pid,
        "state": "consuming",
        "active": 0,
        "reserved": 0,
        "scheduled": 0,
        "processed": 1,
        "finished": 1,
        "taken": {"celery": 1, "high": 0},
        "pool": "prefork",
        "concurrency": 2,
        "config": "a-fingerprint",
        "blocked": False,
    }
    assert abs(status["at"] - time.time()) < 3
    assert stat.S_IMODE(worker.status_file.stat().st_mode) == 0o644
    since = time.monotonic()
    worker.wait(lambda: worker.manager.pings(since) >= 4, 5, "watchdog pings")
    assert worker.age() < 3
    assert not worker.manager.said("STOPPING=1")

    worker.term()
    assert worker.wait_exit() == 0
    worker.wait_said("STOPPING=1")
    assert worker.manager.receive().count("READY=1") == 1
    assert worker.manager.receive().count("STOPPING=1") == 1
    assert not worker.status_file.exists()
    assert "muejam_celery_lifecycle:" not in worker.log, worker.log


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_stuck_loop_sends_no_pings(workers: Workers, redis_server: RedisServer, pool: str) -> None:
    worker = workers.start_ready(redis_server.url, "--pool", pool, "--concurrency", "1")
    worker.wait(lambda: worker.manager.pings() >= 2, 10, "pings before the fault")
    worker.fault_file.write_text("stuck")

    worker.wait(lambda: worker.age() > 4, 20, "the status file grows old")
    since = time.monotonic()
    worker.wait(lambda: worker.age() > 6, 10, "time without a ping passes")
    assert worker.manager.pings(since) == 0

    worker.fault_file.unlink()
    since = time.monotonic()
    worker.wait(lambda: worker.manager.pings(since) >= 2, 10, "pings after the fault")
    assert worker.age() < 4


def test_a_full_pool_of_greenlets_is_no_stuck_loop(workers: Workers, redis_server: RedisServer) -> None:
    """The main loop stands still until a greenlet is free; a drain begins no task that waited for that."""
    worker = workers.start_ready(redis_server.url, "--pool", "gevent", "--concurrency", "1")
    with sender(redis_server.url) as app:
        for number in range(3):
            app.send_task("work", [number, 20.0])
    worker.wait(lambda: worker.status()["reserved"] == 1, 10, "one runs, one waits for it")
    since = time.monotonic()
    worker.wait(lambda: worker.manager.pings(since) >= 10, 15, "pings")
    worker.term()
    assert worker.wait_exit(45) == 0
    assert workers.journal("begun") == ["0"]
    assert redis_server.cli("LLEN", "celery") == "2"


@pytest.mark.parametrize("pool", ["prefork", "gevent"] if os.environ.get("LIFECYCLE_FULL") else ["prefork"])
def test_a_lost_broker_is_no_dead_worker(workers: Workers, start_redis: Callable[..., RedisServer], pool: str) -> None:
    server = start_redis()
    worker = workers.start_ready(server.url, "--pool", pool, "--concurrency", "1")
    server.kill()
    worker.wait_state("reconnecting")
    since = time.monotonic()
    worker.wait(lambda: time.monotonic() - since > LOST_SECONDS, LOST_SECONDS + 5, "the broker is away")
    assert worker.manager.pings(since) >= LOST_SECONDS, "the worker is alive while it reconnects"
    assert worker.status()["state"] == "reconnecting"
    assert worker.age() < 3

    start_redis(settings={"port": str(server.port)})
    worker.wait_state("consuming", 30)
    with sender(server.url) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 10, "a task after the reconnect")
    assert worker.manager.receive().count("READY=1") == 1
    worker.term()
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_busy_solo_worker_is_alive(workers: Workers, broker_url: str) -> None:
    worker = workers.start_ready(broker_url, "--pool", "solo")
    with sender(broker_url) as app:
        app.send_task("work", [1, 6.0])
    worker.wait(lambda: worker.status()["active"] == 1, 5, "the running task is counted")
    since = time.monotonic()

    def still_fresh() -> bool:
        assert worker.age() < 3
        assert worker.status()["state"] == "consuming"
        return time.monotonic() - since > 4.5

    worker.wait(still_fresh, 10, "the task goes on")
    assert worker.manager.pings(since) >= 3
    assert worker.status()["pool"] == "solo"
    worker.wait(lambda: worker.status()["active"] == 0, 10, "the task ends")


def test_a_connected_worker_that_gets_nothing_reconnects(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *ONE_PROCESS)
    worker.fault_file.write_text("deaf")
    worker.wait(lambda: "no message was asked for or answered" in worker.log, 15, "the silence is noticed")
    worker.fault_file.unlink()
    worker.wait_state("consuming", 30)
    with sender(redis_server.url) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 10, "a task after the reconnect")


def test_a_faulty_surrounding_never_breaks_the_worker(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start(
        redis_server.url,
        *ONE_PROCESS,
        environment={
            "CELERY_LIFECYCLE_STATUS_FILE": "/nonexistent/status.json",
            "NOTIFY_SOCKET": "/nonexistent/notify",
            "CELERY_LIFECYCLE_TRANSPORT_OPTIONS": '{"password": "not-a-real-password"',
            "CELERY_LIFECYCLE_PRIORITY": "sideways",
        },
    )
    with sender(redis_server.url) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 30, "a task runs")
    worker.wait(lambda: "reporting the worker's state failed" in worker.log, 10, "the status file's failure is logged")
    assert "CELERY_LIFECYCLE_TRANSPORT_OPTIONS is not a JSON object" in worker.log
    assert "CELERY_LIFECYCLE_PRIORITY must be" in worker.log
    assert "not-a-real-password" not in worker.log
    worker.term()
    assert worker.wait_exit() == 0
    assert worker.log.count("reporting the worker's state failed") == 1


def test_tls_of_the_environment(workers: Workers, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    authority = {"ca_certs": str(rabbitmq_server.tls.authority), "cert_reqs": int(ssl.CERT_REQUIRED)}
    vhost = rabbitmq_vhost.rpartition("/")[2]
    worker = workers.start_ready(
        rabbitmq_server.vhost_url(vhost, tls=True),
        *ONE_PROCESS,
        environment={"CELERY_LIFECYCLE_BROKER_USE_SSL": json.dumps(authority)},
    )
    with sender(rabbitmq_vhost) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 10, "a task that came over TLS")


def test_transport_options_of_the_environment_win(workers: Workers, redis_server: RedisServer) -> None:
    settings: dict[str, Any] = {
        "broker_transport_options": {"global_keyprefix": "app:", "visibility_timeout": 7200},
    }
    worker = workers.start_ready(
        redis_server.url,
        *ONE_PROCESS,
        settings=settings,
        environment={"CELERY_LIFECYCLE_TRANSPORT_OPTIONS": '{"global_keyprefix": "fleet:"}'},
    )
    with sender(redis_server.url, broker_transport_options={"global_keyprefix": "fleet:"}) as app:
        app.send_task("work", [1])
        worker.wait(lambda: workers.journal() == ["1"], 10, "a task under the prefix of the environment")
