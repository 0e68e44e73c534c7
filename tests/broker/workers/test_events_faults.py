# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event stream that is lost comes back by itself, and what was not heard shows as that and not as idleness."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from broker_servers import RedisServer, free_port
from task_sender import sender
from worker_processes import Workers

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis import events as redis_events
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import HeardWorker, StreamHealth
from muejam_bed.shell import wait_until

PASSWORD = "not-a-real-password"
NODE = "web-1@host"
SECONDS = 30.0
"""Within which a busy machine does anything here."""


@contextlib.contextmanager
def listening(url: str) -> Iterator[EventStream]:
    """A stream that has joined."""
    stream = EventStream(url, {"web": ["celery"]})
    stream.start()
    try:
        until(stream, "joined", lambda health: health.connected)
        yield stream
    finally:
        stream.stop()


@pytest.fixture
def stream(redis_server: RedisServer) -> Iterator[EventStream]:
    """A stream with a login of its own, that has joined."""
    redis_server.cli("ACL", "SETUSER", "listener", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    with listening(f"redis://listener:{PASSWORD}@127.0.0.1:{redis_server.port}/0") as stream:
        yield stream


def until(stream: EventStream, what: str, condition: Callable[[StreamHealth], Any]) -> StreamHealth:
    """Wait until a condition holds for the stream's health, and return that."""
    try:
        wait_until(lambda: condition(stream.snapshot().health), SECONDS, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{stream.snapshot()}") from None
    return stream.snapshot().health


def started(stream: EventStream, count: int) -> HeardWorker:
    """Wait until fresh heartbeats tell of so many started tasks, none of which still runs."""

    def told() -> HeardWorker | None:
        worker = stream.snapshot().by_fleet("web").beats.get(NODE)
        return worker if worker and (worker.started, worker.active) == (count, 0) else None

    wait_until(told, SECONDS, f"{count} tasks were started")
    return stream.snapshot().by_fleet("web").workers[NODE]


def missed_and_finished(stream: EventStream) -> tuple[int, int]:
    """The tasks of the fleet that nothing was heard of, and those that ended."""
    found = stream.snapshot().by_fleet("web")
    return found.missed, found.finished


def send(url: str, count: int) -> None:
    with sender(url) as app:
        for _task in range(count):
            app.send_task("quick")


def start_worker(workers: Workers, url: str) -> None:
    workers.start(url, NODE, pool="prefork", arguments=["-E", "--include", "event_tasks", "--concurrency", "2"])


def test_redis_hangs_up(redis_server: RedisServer, stream: EventStream, workers: Workers) -> None:
    start_worker(workers, redis_server.url)
    send(redis_server.url, 5)
    wait_until(lambda: missed_and_finished(stream) == (0, 5), SECONDS, "5 tasks are heard")
    # Not of the worker, which listens for commands.
    redis_server.cli("CLIENT", "KILL", "USER", "listener")
    health = until(stream, "a gap", lambda health: health.gaps == 1 and health.connected)
    assert health.problem == ""
    assert health.last_gap_seconds == health.gap_seconds > 0
    send(redis_server.url, 4)
    started(stream, 9)
    wait_until(lambda: missed_and_finished(stream)[1] == 9, SECONDS, "4 more are heard")


def test_what_happens_during_a_gap_is_counted_as_missed(
    redis_server: RedisServer, stream: EventStream, workers: Workers
) -> None:
    start_worker(workers, redis_server.url)
    with listening(redis_server.url) as witness:
        send(redis_server.url, 5)
        started(stream, 5)
        wait_until(lambda: missed_and_finished(stream) == (0, 5), SECONDS, "5 tasks are heard")
        redis_server.cli("ACL", "SETUSER", "listener", "off")
        redis_server.cli("CLIENT", "KILL", "USER", "listener")
        health = until(stream, "a refusal", lambda health: health.gaps == 1 and "user is disabled" in health.problem)
        assert not health.connected
        assert PASSWORD not in health.problem
        send(redis_server.url, 30)
        wait_until(lambda: missed_and_finished(witness) == (0, 35), SECONDS, "all events are out")
    redis_server.cli("ACL", "SETUSER", "listener", "on")
    until(stream, "joined again", lambda health: health.connected)
    started(stream, 35)

    wait_until(lambda: missed_and_finished(stream) == (30, 5), SECONDS, "30 starts were missed")
    send(redis_server.url, 3)
    started(stream, 38)
    wait_until(lambda: missed_and_finished(stream) == (30, 8), SECONDS, "3 more are heard")


def test_redis_cuts_off_a_reader_that_is_too_slow(
    redis_server: RedisServer, stream: EventStream, workers: Workers
) -> None:
    start_worker(workers, redis_server.url)
    send(redis_server.url, 5)
    started(stream, 5)
    redis_server.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 0 0")
    heard = stream.snapshot().health.events
    # A transaction is one step for the server: nobody could read as fast.
    with redis_server.client() as client, client.pipeline(transaction=True) as burst:
        for _message in range(2000):
            burst.publish("/0.celeryev/task.multi", b'{"body": "' + b"x" * 500)
        burst.execute()
    health = until(stream, "a gap", lambda health: health.gaps == 1 and health.connected)
    assert health.events + health.garbage < heard + 2000
    assert "scheduled to be closed ASAP for overcoming of output buffer limits" in redis_server.log
    send(redis_server.url, 4)
    assert started(stream, 9).missed == 0


def test_redis_ends_and_is_started_again(redis_server: RedisServer, stream: EventStream, workers: Workers) -> None:
    start_worker(workers, redis_server.url)
    send(redis_server.url, 5)
    started(stream, 5)
    redis_server.kill()
    health = until(stream, "a refusal", lambda health: "refused" in health.problem)
    assert (health.connected, health.gaps) == (False, 1)
    assert "listener:********@" in health.problem
    redis_server.process = subprocess.Popen(
        redis_server.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: answers(redis_server), SECONDS, "it is back")
    redis_server.cli("ACL", "SETUSER", "listener", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    health = until(stream, "joined again", lambda health: health.connected)
    assert health.last_gap_seconds == health.gap_seconds > 0
    # The workers count on, and so do we.
    send(redis_server.url, 4)
    started(stream, 9)


def answers(server: RedisServer) -> bool:
    # The socket of the one that was killed is still there.
    with contextlib.suppress(redis.exceptions.RedisError), server.client() as client:
        return bool(client.ping())
    return False


def test_a_server_that_hangs_is_noticed(
    redis_server: RedisServer, stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_events, "QUIET_SECONDS", 2.0)
    # It answers when it is asked, so silence alone is no fault.
    asked = _pings(redis_server)
    wait_until(lambda: _pings(redis_server) > asked + 1, SECONDS, "it was asked")
    assert stream.snapshot().health.gaps == 0
    redis_server.freeze()
    try:
        health = until(stream, "the loss", lambda health: health.gaps == 1)
        assert not health.connected
    finally:
        redis_server.thaw()
    until(stream, "joined again", lambda health: health.connected)


def _pings(server: RedisServer) -> int:
    found = re.search(r"^cmdstat_ping:calls=(\d+)", server.cli("INFO", "commandstats"), re.MULTILINE)
    return int(found.group(1)) if found else 0


def test_noise_on_the_channel_does_no_harm(redis_server: RedisServer, stream: EventStream) -> None:
    for text in ("", "text", "{}", '{"body": "eyJ9"}', "[" * 50_000, "\r\n$3\r\n"):
        redis_server.cli("PUBLISH", "/0.celeryev/task.multi", text)
    with sender(redis_server.url) as app, app.connection_for_write() as connection:
        app.events.Dispatcher(connection, hostname=NODE).send("worker-heartbeat", active=0, processed=3, freq=2)
    wait_until(lambda: NODE in stream.snapshot().by_fleet("web").beats, SECONDS, "the heartbeat")
    health = stream.snapshot().health
    assert (health.garbage, health.events, health.gaps) == (6, 1, 0)


def test_a_large_group_of_events_is_heard_whole(redis_server: RedisServer, stream: EventStream) -> None:
    with sender(redis_server.url) as app, app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, hostname=NODE, buffer_group={"task"}, buffer_limit=1000)
        for number in range(1000):
            dispatcher.send("task-received", uuid=str(number), name="quick", args="x" * 1000)
    wait_until(lambda: stream.snapshot().health.events == 1000, SECONDS, "all events")


@pytest.mark.parametrize("reachable", [True, False])
def test_it_stops_at_once(redis_server: RedisServer, reachable: bool) -> None:
    stream = EventStream(f"redis://127.0.0.1:{redis_server.port if reachable else free_port()}/0", {})
    stream.start()
    until(stream, "a first attempt", lambda health: health.connected or "refused" in health.problem)
    begun = time.monotonic()
    stream.stop()
    # Less than it would take to give up an attempt, with room for a busy machine.
    assert time.monotonic() - begun < 10.0
    assert stream._thread is not None
    assert not stream._thread.is_alive()
