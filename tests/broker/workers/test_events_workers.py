# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of real workers on real brokers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from broker_servers import Certificates, RabbitServer, RedisServer, rabbitmq_running
from task_sender import sender
from worker_processes import Worker, Workers

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import FleetEvents, TaskCounts
from muejam_bed.shell import wait_until

TASK_EVENTS = ("-E", "--include", "event_tasks", "--concurrency", "2")
SECONDS = 30.0
"""Within which a busy machine does anything here."""


@contextlib.contextmanager
def listening(url: str, fleets: dict[str, Sequence[str]] | None = None, **options: Any) -> Iterator[EventStream]:
    """A stream that has joined."""
    stream = EventStream(url, fleets or {"web": ["celery"]}, **options)
    stream.start()
    try:
        wait_until(lambda: stream.snapshot().health.connected, SECONDS, "joined")
        yield stream
    finally:
        stream.stop()


def start(workers: Workers, url: str, *nodes: str, pool: str = "prefork", **options: Any) -> list[Worker]:
    options.setdefault("arguments", TASK_EVENTS)
    return workers.start(url, *nodes, pool=pool, **options)


def send(url: str, name: str, count: int = 1, **settings: Any) -> None:
    with sender(url, **settings) as app:
        for _task in range(count):
            app.send_task(name)


def web(stream: EventStream) -> FleetEvents:
    return stream.snapshot().by_fleet("web")


def counts(stream: EventStream, task: str) -> TaskCounts:
    found = [each for each in web(stream).tasks if each.task == task]
    return found[0] if found else TaskCounts(task, "")


def until(stream: EventStream, what: str, condition: Callable[[], Any]) -> None:
    """Wait for a condition; say what was heard when it does not come."""
    try:
        wait_until(condition, SECONDS, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{stream.snapshot()}") from None


def test_every_end_of_a_task(broker_url: str, workers: Workers) -> None:
    with listening(broker_url) as stream:
        start(workers, broker_url, "web-1@host")
        with sender(broker_url) as app:
            for name in (*["quick"] * 40, "broken", "flaky", "slow", "stubborn", "unheard-of"):
                app.send_task(name)
            until(stream, "all tasks end", lambda: web(stream).finished >= 46)
            endless = app.send_task("quick", kwargs={"seconds": 60})
            until(stream, "another one begins", lambda: counts(stream, "quick").started == 41)
            app.control.revoke(endless.id, terminate=True)
            until(stream, "its revocation", lambda: counts(stream, "quick").revoked == 1)
        quick = counts(stream, "quick")
        assert (quick.received, quick.succeeded, quick.failed, quick.queue) == (41, 40, 0, "celery")
        broken = counts(stream, "broken")
        assert (broken.failed, broken.timeouts, broken.succeeded) == (1, 0, 0)
        flaky = counts(stream, "flaky")
        assert (flaky.received, flaky.retried, flaky.succeeded) == (2, 1, 1)
        for name in ("slow", "stubborn"):
            assert (counts(stream, name).failed, counts(stream, name).timeouts) == (1, 1)
        # No event of a task that the worker does not know has its name.
        assert counts(stream, "").failed == 1
        found = web(stream)
        assert found.finished == 47
        # All but the one that never ran; two of them for a second each.
        assert found.runs_timed == 46
        assert 1.5 <= found.runtime_total < SECONDS
        assert stream.snapshot().health.garbage == 0
        until(stream, "the heartbeat counts the same", lambda: started_and_active(stream) == (46, 0))
        assert web(stream).missed == 0


def started_and_active(stream: EventStream) -> tuple[int | None, int | None]:
    worker = web(stream).workers["web-1@host"]
    return worker.started, worker.active


def test_two_fleets_share_a_broker_and_their_tasks_queues(broker_url: str, workers: Workers) -> None:
    fleets = {"web": ["shop", "celery"], "mail": ["post"]}
    with listening(broker_url, fleets) as stream:
        with sender(broker_url, task_send_sent_event=True) as app:
            for queue, count in (("shop", 3), ("celery", 2), ("post", 20)):
                for _task in range(count):
                    app.send_task("quick", queue=queue)
        # The client tells of a task after it has sent it, and a worker at hand could be faster.
        until(stream, "all are sent", lambda: stream.snapshot().health.events == 25)
        for node, queues in (("web-1@host", "shop,celery"), ("mail-1@host", "post"), ("other-1@host", "else")):
            start(workers, broker_url, node, arguments=("-Q", queues, *TASK_EVENTS), pool="threads")
        until(stream, "the web tasks end", lambda: web(stream).finished == 5)
        until(stream, "the mail tasks end", lambda: stream.snapshot().by_fleet("mail").finished == 20)
        until(stream, "the others' heartbeats", lambda: stream.snapshot().health.foreign)
        assert {each.queue: each.succeeded for each in web(stream).tasks} == {"shop": 3, "celery": 2}
        (post,) = stream.snapshot().by_fleet("mail").tasks
        assert (post.queue, post.succeeded) == ("post", 20)
        assert set(stream.snapshot().by_fleet("mail").workers) == {"mail-1@host"}


def test_workers_are_known_by_their_heartbeats(broker_url: str, workers: Workers) -> None:
    with listening(broker_url) as stream:
        (worker,) = start(workers, broker_url, "web-1@host", arguments=("--include", "event_tasks"), pool="threads")
        send(broker_url, "quick", 3)

        def beat() -> bool:
            found = web(stream).beats.get("web-1@host")
            return found is not None and (found.started, found.active) == (3, 0)

        until(stream, "three tasks are counted", beat)
        found = web(stream).workers["web-1@host"]
        assert (found.pid, found.interval, found.sends_task_events) == (worker.process.pid, 2.0, False)
        worker.stop()
        until(stream, "its farewell", lambda: not web(stream).workers["web-1@host"].online)
        assert not web(stream).beats
        (worker,) = start(workers, broker_url, "web-1@host", pool="threads")
        until(stream, "it is back", lambda: "web-1@host" in web(stream).beats)
        assert web(stream).beats["web-1@host"].pid == worker.process.pid
        assert web(stream).missed == 0


class TestRedisConnections:
    """All the ways in which kombu may publish."""

    def check(self, workers: Workers, url: str, options: dict[str, Any] | None = None, **given: Any) -> None:
        settings = {"broker_transport_options": options or {}, **given.pop("settings", {})}
        with listening(url, transport_options=options, **given) as stream:
            start(workers, url, "web-1@host", pool="threads", settings=settings, answers=False)
            send(url, "quick", 2, **settings)
            until(stream, "two tasks succeed", lambda: counts(stream, "quick").succeeded == 2)
            until(stream, "a heartbeat", lambda: "web-1@host" in web(stream).beats)

    @pytest.mark.parametrize(
        "options",
        [
            {"global_keyprefix": "{app}[1]*:"},
            {"fanout_patterns": False},
            {"fanout_prefix": False},
            {"fanout_prefix": "mine.", "global_keyprefix": "p:"},
        ],
        ids=str,
    )
    def test_prefixes_and_patterns(self, redis_server: RedisServer, workers: Workers, options: dict[str, Any]) -> None:
        self.check(workers, f"redis://127.0.0.1:{redis_server.port}/3", options)

    def test_another_exchange(self, redis_server: RedisServer, workers: Workers) -> None:
        self.check(workers, redis_server.url, exchange="shop-events", settings={"event_exchange": "shop-events"})

    def test_unix_socket(self, start_redis: Callable[..., RedisServer], workers: Workers) -> None:
        self.check(workers, start_redis(password="not-a-real-password").socket_url)

    def test_tls(self, start_redis: Callable[..., RedisServer], certificates: Certificates, workers: Workers) -> None:
        server = start_redis(tls=certificates)
        authority = str(certificates.authority)
        self.check(workers, f"{server.url}?ssl_cert_reqs=required&ssl_ca_certs={authority}")

    @pytest.mark.parametrize("compatible", [False, True])
    def test_sentinel(self, start_redis: Callable[..., RedisServer], workers: Workers, compatible: bool) -> None:
        master = start_redis()
        sentinel = start_redis(sentinel=True, settings={"sentinel monitor": f"shop 127.0.0.1 {master.port} 1"})
        options = {"master_name": "shop", "sentinel_fanout_compat": compatible}
        self.check(workers, f"sentinel://127.0.0.1:{sentinel.port}/0", options)


def test_nothing_is_left_on_redis(redis_server: RedisServer) -> None:
    with listening(redis_server.url):
        clients = redis_server.cli("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
        assert len(clients) == 1
        # The other one is redis-cli itself.
        assert len(redis_server.cli("CLIENT", "LIST").splitlines()) == 2
    assert redis_server.cli("DBSIZE") == "0"


def test_a_user_who_may_not_subscribe_is_told_what_to_grant(redis_server: RedisServer) -> None:
    redis_server.cli("ACL", "SETUSER", "u", "on", ">not-a-real-password", "~*", "resetchannels", "+@all")
    stream = EventStream(f"redis://u:not-a-real-password@127.0.0.1:{redis_server.port}/0", {"web": ["celery"]})
    stream.start()
    try:
        wait_until(lambda: "NOPERM" in stream.snapshot().health.problem, SECONDS, "refused")
        problem = stream.snapshot().health.problem
        assert "ACL SETUSER <user> +psubscribe '&/0.celeryev/*'" in problem
        assert "not-a-real-password" not in problem
        redis_server.cli("ACL", "SETUSER", "u", "&/0.celeryev/*")
        wait_until(lambda: stream.snapshot().health.connected, SECONDS, "joined")
        assert stream.snapshot().health.gaps == 0
    finally:
        stream.stop()


def test_the_queue_on_rabbitmq_is_bounded_and_goes_with_the_listener(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    vhost = rabbitmq_vhost.rpartition("/")[2]
    # No worker has made the exchange yet; Celery must find it as it would have made it.
    with listening(rabbitmq_vhost):
        (queue,) = rabbitmq_server.api("GET", f"queues/{vhost}")
        assert queue["arguments"] == {
            "x-message-ttl": 5000, "x-expires": 60_000, "x-max-length": 50_000, "x-max-length-bytes": 64 * 1024 * 1024,
        }  # fmt: skip
        assert (queue["exclusive"], queue["auto_delete"], queue["durable"]) == (True, True, False)
        with sender(rabbitmq_vhost) as app, app.connection_for_write() as connection:
            app.events.Dispatcher(connection, hostname="web-1@host").send("worker-heartbeat")
    wait_until(lambda: rabbitmq_server.api("GET", f"queues/{vhost}") == [], SECONDS, "the queue is gone")


def test_the_exchange_that_workers_made_is_taken_as_it_is(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    vhost = rabbitmq_vhost.rpartition("/")[2]
    exchange = {"type": "topic", "durable": False, "auto_delete": False}
    rabbitmq_server.api("PUT", f"exchanges/{vhost}/celeryev", exchange)
    with listening(rabbitmq_vhost) as stream:
        assert stream.snapshot().health.problem == ""


def test_rabbitmq_over_tls(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    vhost = rabbitmq_vhost.rpartition("/")[2]
    authority = {"ca_certs": str(rabbitmq_server.tls.authority)}
    with listening(rabbitmq_server.vhost_url(vhost, tls=True), ssl=authority) as stream:
        with sender(rabbitmq_vhost) as app, app.connection_for_write() as connection:
            dispatcher = app.events.Dispatcher(connection, hostname="web-1@host")
            for number in range(500):
                dispatcher.send("task-received", uuid=str(number), name="quick")
        until(stream, "all are heard", lambda: counts(stream, "quick").received == 500)


def test_rabbitmq_goes_and_comes_back(tmp_path: Path, workers: Workers) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(rabbitmq_running(tmp_path / "rabbitmq"))
        with listening(server.url) as stream:
            start(workers, server.url, "web-1@host", pool="threads")
            until(stream, "a heartbeat", lambda: "web-1@host" in web(stream).beats)
            begun = time.monotonic()
            # The stream's, and the worker's two.
            until(stream, "connections are listed", lambda: len(server.api("GET", "connections")) >= 3)
            for connection in server.api("GET", "connections"):
                with contextlib.suppress(HTTPError):
                    server.api("DELETE", f"connections/{quote(connection['name'], safe='')}")
            until(stream, "the loss", lambda: stream.snapshot().health.gaps == 1)
            until(stream, "it is joined again", lambda: stream.snapshot().health.connected)
            health = stream.snapshot().health
            assert 0 < health.gap_seconds == health.last_gap_seconds <= time.monotonic() - begun
            until(stream, "a heartbeat after", lambda: "web-1@host" in web(stream).beats)
            server.kill()
            until(stream, "the second loss", lambda: stream.snapshot().health.gaps == 2)
            assert "Could not" in stream.snapshot().health.problem
