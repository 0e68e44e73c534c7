# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read real workers on real brokers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from broker_servers import RabbitServer, RedisServer
from task_sender import sender
from worker_processes import Workers

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.roll_call import NOBODY, RollCall, read_workers
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Worker
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from muejam_bed.shell import wait_until

TIMEOUT = 6.0
SLACK = 10.0
"""Seconds that a busy machine may take on top of a limit. Without the limit a reading would not end at all."""


def read(url: str, *wanted: str, timeout: float = TIMEOUT, options: dict[str, Any] | None = None) -> RollCall:
    with open_broker(url, options, timeout=timeout) as broker:
        return read_workers(broker, wanted, timeout)


def timed(url: str, *wanted: str, timeout: float = TIMEOUT) -> tuple[RollCall, float]:
    begin = time.monotonic()
    found = read(url, *wanted, timeout=timeout)
    return found, time.monotonic() - begin


def quickest(url: str, *wanted: str) -> tuple[RollCall, float]:
    """Read three times, as a busy machine may hold up one; return the last answer and the least seconds."""
    readings = [timed(url, *wanted, timeout=20) for _turn in range(3)]
    return readings[-1][0], min(seconds for _found, seconds in readings)


def states(found: RollCall) -> dict[str | None, str]:
    return {worker.name: worker.state for worker in found.workers}


def only(found: RollCall) -> Worker:
    (worker,) = found.workers
    return worker


def test_every_pool_tells_what_it_is(broker_url: str, workers: Workers) -> None:
    workers.start_pools(broker_url, {"threads@h": "threads"}, arguments=["-c", "3", "-Q", "slow,fast"])
    workers.start_pools(broker_url, {"prefork@h": "prefork", "solo@h": "solo"}, arguments=["-c", "2"])
    workers.start_pools(broker_url, {"gevent@h": "gevent"}, arguments=["-c", "50"])
    workers.start_pools(broker_url, {"scaling@h": "prefork"}, arguments=["--autoscale", "5,1"])
    pids = {worker.node: worker.process.pid for worker in workers.started}

    found, seconds = timed(broker_url, timeout=20)

    assert [worker.name for worker in found.workers] == ["gevent@h", "prefork@h", "scaling@h", "solo@h", "threads@h"]
    by_name = {str(worker.name): worker for worker in found.workers}
    assert {name: (worker.pool, worker.concurrency) for name, worker in by_name.items()} == {
        "gevent@h": ("gevent", 50),
        "prefork@h": ("prefork", 2),
        "scaling@h": ("prefork", 1),
        "solo@h": ("solo", 1),
        "threads@h": ("threads", 3),
    }
    assert {name: worker.pid for name, worker in by_name.items()} == pids
    assert {worker.state for worker in found.workers} == {"online"}
    assert {worker.active for worker in found.workers} == {0}
    assert {worker.reserved for worker in found.workers} == {0}
    assert {worker.processed for worker in found.workers} == {0}
    assert by_name["threads@h"].queues == ("fast", "slow")
    assert by_name["gevent@h"].queues == ("celery",)
    assert all(worker.uptime is not None and 0 <= worker.uptime < 120 for worker in found.workers)
    assert found.warnings == ()
    assert seconds < 10, "all answered, so the rest of the timeout must not be waited for"

    found, seconds = timed(broker_url, "s*", "gevent@h", timeout=20)
    assert list(states(found)) == ["gevent@h", "scaling@h", "solo@h"]
    found, seconds = quickest(broker_url, "solo@h", "gevent@h")
    assert list(states(found)) == ["gevent@h", "solo@h"]
    assert seconds < 2, "names that all answered need no heartbeat to be waited for"


def test_active_and_reserved_tasks_are_counted(broker_url: str, workers: Workers) -> None:
    workers.start(broker_url, "a@h", arguments=["-c", "2"])
    with sender(broker_url) as app:
        for number in range(3):
            app.send_task("work", [number, 0.0])
        wait_until(lambda: workers.done == [0, 1, 2], 10, "quick tasks")
        for number in range(5):
            app.send_task("work", [number, 60.0])

    def counts() -> tuple[int | None, int | None, int | None]:
        worker = only(read(broker_url, "a@h"))
        return worker.active, worker.reserved, worker.processed

    wait_until(lambda: counts() == (2, 3, 5), 10, "2 run, 3 are reserved, 5 were started")


def test_a_frozen_worker_is_silent(broker_url: str, workers: Workers) -> None:
    frozen = workers.start(broker_url, "web-1@h", "web-2@h", "web-3@h")[1]
    frozen.freeze()

    found, seconds = timed(broker_url)

    assert states(found) == {"web-1@h": "online", "web-2@h": "silent", "web-3@h": "online"}
    assert found.workers[1] == Worker("web-2@h", "silent")
    assert found.warnings == ()
    assert seconds < TIMEOUT + SLACK

    found, seconds = timed(broker_url, "web-2@h")
    assert states(found) == {"web-2@h": "silent"}
    assert TIMEOUT / 2 < seconds < TIMEOUT + SLACK

    frozen.thaw()
    thawed = {"online"}
    wait_until(lambda: set(states(read(broker_url, timeout=20)).values()) == thawed, 30, "the thawed worker answers")


def test_a_killed_worker_is_not_reported(broker_url: str, workers: Workers) -> None:
    killed = workers.start(broker_url, "a@h", "b@h")[1]
    killed.kill()

    wait_until(lambda: states(read(broker_url)) == {"a@h": "online"}, 10, "the broker notices")
    found, seconds = timed(broker_url, timeout=20)
    assert (states(found), found.warnings) == ({"a@h": "online"}, ())
    assert seconds < 10

    found, seconds = timed(broker_url, "b@h", "a@h", timeout=20)
    assert states(found) == {"a@h": "online", "b@h": "silent"}
    assert seconds < 10, "who is not there is not waited for"


def test_a_worker_without_queues_is_draining(broker_url: str, workers: Workers) -> None:
    workers.start(broker_url, "a@h", "b@h")
    with sender(broker_url) as app:
        app.control.cancel_consumer("celery", destination=["b@h"])
    wait_until(lambda: states(read(broker_url)) == {"a@h": "online", "b@h": "draining"}, 10, "b drains")
    assert only(read(broker_url, "b@h")).queues == ()


def test_no_workers_are_no_workers(broker_url: str) -> None:
    found, seconds = quickest(broker_url)
    assert found == RollCall((), (NOBODY,))
    assert seconds < 2
    found, seconds = quickest(broker_url, "web-1@h")
    assert found.workers == (Worker("web-1@h", "silent"),)
    assert seconds < 2


def test_the_last_worker_leaving_is_noticed(redis_server: RedisServer, workers: Workers) -> None:
    (worker,) = workers.start(redis_server.url, "a@h")
    assert states(read(redis_server.url)) == {"a@h": "online"}
    worker.stop()
    found, seconds = timed(redis_server.url, timeout=20)
    assert found == RollCall((), (NOBODY,))
    assert seconds < 10


def test_a_solo_worker_at_work_is_silent(redis_server: RedisServer, workers: Workers) -> None:
    workers.start(redis_server.url, "a@h", pool="solo")
    with sender(redis_server.url) as app:
        app.send_task("work", [1, 60.0])
    wait_until(lambda: "received" in workers.started[0].log, 10, "the task begins")
    assert states(read(redis_server.url, timeout=5)) == {"a@h": "silent"}


def test_answers_in_pickle_are_read(broker_url: str, workers: Workers) -> None:
    settings = {"task_serializer": "pickle", "accept_content": ["pickle", "json"]}
    workers.start(broker_url, "a@h", settings=settings, arguments=["-c", "2"])
    found, seconds = timed(broker_url, "a@h", timeout=20)
    assert (only(found).state, only(found).concurrency, only(found).active) == ("online", 2, 0)
    assert seconds < 10


def test_an_app_with_its_own_control_exchange(redis_server: RedisServer, workers: Workers) -> None:
    workers.start(redis_server.url, "a@h", settings={"control_exchange": "mine"})
    with open_broker(redis_server.url) as broker:
        assert states(read_workers(broker, control_exchange="mine")) == {"a@h": "online"}
        assert read_workers(broker).workers == ()


def test_a_key_prefix_and_a_database_of_its_own(redis_server: RedisServer, workers: Workers) -> None:
    options = {"global_keyprefix": "shop-"}
    url = redis_server.url.replace("/0", "/5")
    workers.start(url, "a@h", "b@h", settings={"broker_transport_options": options})
    workers.start(url, "plain@h")
    assert states(read(url, options=options)) == {"a@h": "online", "b@h": "online"}
    assert states(read(url)) == {"plain@h": "online"}
    assert read(redis_server.url).workers == ()
    workers.started[1].freeze()
    assert states(read(url, options=options)) == {"a@h": "online", "b@h": "silent"}


def test_redis_does_not_tell_a_frozen_worker_from_a_name_left_behind(
    redis_server: RedisServer, workers: Workers
) -> None:
    frozen, killed = workers.start(redis_server.url, "a@h", "b@h", "c@h")[1:]
    killed.kill()
    frozen.freeze()
    found = read(redis_server.url)
    assert states(found) == {"a@h": "online", "b@h": "silent", "c@h": "silent"}
    (warning,) = found.warnings
    assert "1 of these workers is connected" in warning
    assert "b@h, c@h" in warning


def test_reading_leaves_nothing_behind_on_redis(redis_server: RedisServer, workers: Workers) -> None:
    workers.start(redis_server.url, "a@h", "b@h")
    client = redis_server.client()

    def content() -> set[bytes]:
        # Workers keep refreshing the deadlines of their bindings, and lock what they look through now and then.
        return set(client.keys("*")) - {b"_kombu.binding_deadlines", b"unacked_mutex"}

    before = content()
    for attempt in range(3):
        read(redis_server.url)
        read(redis_server.url, "a@h")
        read(redis_server.url, "nobody@h")
        assert content() == before, f"after attempt {attempt}"
    client.close()


def test_reading_gives_back_no_message_of_a_running_task(redis_server: RedisServer, workers: Workers) -> None:
    """Told a shorter visibility timeout than the app's, a consumer of kombu's would run old tasks a second time."""
    (frozen,) = workers.start(redis_server.url, "a@h")
    frozen.freeze()
    client = redis_server.client()
    message = [{"body": "", "properties": {"delivery_info": {}, "priority": 0}, "headers": {}}, "celery", "celery"]
    client.hset("unacked", "tag", json.dumps(message))
    client.zadd("unacked_index", {"tag": time.time() - 600})
    read(redis_server.url, options={"visibility_timeout": 1})
    assert client.hkeys("unacked") == [b"tag"]
    assert client.llen("celery") == 0
    client.close()


def test_a_worker_without_remote_control_is_heard_on_rabbitmq(rabbitmq_vhost: str, workers: Workers) -> None:
    workers.start(rabbitmq_vhost, "a@h", "b@h", settings={"worker_enable_remote_control": False})

    def heard() -> bool:
        found, seconds = timed(rabbitmq_vhost)
        assert seconds < TIMEOUT + SLACK
        return found.workers == (
            Worker("a@h", "silent", active=0, processed=0),
            Worker("b@h", "silent", active=0, processed=0),
        )

    # They send a heartbeat every two seconds, which one reading may just miss.
    wait_until(heard, 20, "both are heard")


def test_a_frozen_worker_nobody_can_name_on_rabbitmq(rabbitmq_vhost: str, workers: Workers) -> None:
    frozen = workers.start(rabbitmq_vhost, "a@h", "b@h")[1]
    frozen.freeze()
    found = read(rabbitmq_vhost)
    assert states(found) == {"a@h": "online", None: "silent"}
    (warning,) = found.warnings
    assert "celery 1" in warning
    assert states(read(rabbitmq_vhost, "a*")) == {"a@h": "online"}
    workers.started[0].stop()
    assert states(read(rabbitmq_vhost)) == {None: "silent"}


def test_a_broker_that_is_gone_is_an_error(redis_server: RedisServer, rabbitmq_server: RabbitServer) -> None:
    redis_server.kill()
    with pytest.raises(OperationError, match="connect"):
        read(redis_server.url)
    with pytest.raises(OperationError, match=r"\*\*\*\*") as caught:
        read(rabbitmq_server.vhost_url("/", password="not-a-real-password"))
    assert "not-a-real-password" not in str(caught.value)


def test_a_wrong_password_is_an_error(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(password="not-a-real-password")
    with pytest.raises(OperationError, match="password"):
        read(server.url.replace("not-a-real-password", "wrong"))
    assert read(server.url).workers == ()


def test_a_broker_that_freezes_makes_nobody_silent(
    broker_url: str, workers: Workers, request: pytest.FixtureRequest
) -> None:
    workers.start(broker_url, "a@h")
    server = request.getfixturevalue("redis_server" if broker_url.startswith("redis") else "rabbitmq_server")
    with open_broker(broker_url, timeout=TIMEOUT) as broker:
        server.freeze()
        try:
            begin = time.monotonic()
            with pytest.raises(OperationError, match="answer"):
                read_workers(broker, (), TIMEOUT)
            assert time.monotonic() - begin < TIMEOUT + SLACK
        finally:
            server.thaw()
