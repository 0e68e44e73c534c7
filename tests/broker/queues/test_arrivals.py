# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What arrived in queues between two readings, on real brokers: as many as were sent, whoever takes them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from broker_servers import RabbitServer, RedisServer
from broker_traffic import Traffic, traffic

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import ListReading
from muejam_bed.shell import wait_until

PASSWORD = "not-a-real-password"
QUEUES = ("celery", "idle")


class Reader:
    """Reads two queues of an open broker again and again, each time from the marks of the last reading."""

    def __init__(self, broker: Broker, marks: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.broker = broker
        self.marks = marks or {}
        self.warnings: list[str] = []

    def read(self) -> QueueReading:
        celery, idle = self.broker.read_queues(QUEUES, marks=self.marks, warn=self.warnings.append)
        self.marks = {
            queue.name: {step: one.mark for step, one in (queue.lists or {}).items()} for queue in (celery, idle)
        }
        assert not idle.lists
        return celery

    def arrived(self) -> dict[str, int | None]:
        """By list of the queue, those in which messages wait."""
        lists = self.read().lists
        assert lists is not None
        return {step: one.arrived for step, one in lists.items()}


@pytest.fixture
def app(redis_server: RedisServer) -> Iterator[Traffic]:
    with traffic(redis_server.url) as app:
        for name in QUEUES:
            app.declare(name)
        yield app


@pytest.fixture
def reader(redis_server: RedisServer) -> Iterator[Reader]:
    with open_broker(redis_server.url) as broker:
        yield Reader(broker)


def work_off(app: Traffic, queue: Any, count: int) -> None:
    for message in app.take(queue, count):
        message.ack()


def test_what_was_sent_has_arrived_whoever_takes_it(app: Traffic, reader: Reader) -> None:
    queue = app.declare("celery")
    assert reader.arrived() == {}
    app.send(queue, 6)
    assert reader.arrived() == {"0": None}, "nothing was marked"
    assert reader.arrived() == {"0": 0}
    app.send(queue, 3)
    work_off(app, queue, 5)
    assert reader.arrived() == {"0": 3}
    work_off(app, queue, 2)
    app.send(queue, 40)
    work_off(app, queue, 39)
    # The mark was taken, and with it everything that was older: all that waits has arrived.
    assert reader.read().lists == {"0": ListReading(3, reader.marks["celery"]["0"], 3)}
    app.send(queue, 3, priority=9)
    assert reader.arrived() == {"0": 0, "9": None}
    app.send(queue, 5, priority=9)
    app.send(queue, 1)
    assert reader.arrived() == {"0": 1, "9": 5}


def test_more_than_one_step_looks_at(app: Traffic, reader: Reader) -> None:
    queue = app.declare("celery")
    app.send(queue, 2500)
    reader.read()
    # As many come as are taken, so that the length tells nothing.
    app.send(queue, 1500)
    work_off(app, queue, 1500)
    assert reader.arrived() == {"0": 1500}


def test_messages_of_a_worker_that_died_have_not_arrived(
    app: Traffic, reader: Reader, redis_server: RedisServer
) -> None:
    queue = app.declare("celery")
    app.send(queue, 10)
    reader.read()
    app.take(queue, 4)
    app.send(queue, 3)
    with traffic(redis_server.url) as other:
        # Any other worker gives them back, once they have been unacknowledged for so long.
        other.channel.visibility_timeout = 0
        other.channel.qos.restore_visible(num=100)
        assert redis_server.cli("LLEN", "celery") == "13"
        assert reader.arrived() == {"0": 3}
        other.take(queue(other.channel), 6)
        assert reader.arrived() == {"0": 0}
        # More are given back than there were at the mark.
        app.send(queue, 2)
        other.channel.qos.restore_visible(num=100, interval=1)
        assert redis_server.cli("LLEN", "celery") == "15"
        assert reader.arrived() == {"0": 2}


@pytest.mark.parametrize("kept", [True, False])
def test_marks_over_a_restart_of_redis(start_redis: Callable[..., RedisServer], kept: bool) -> None:
    server = start_redis(settings={"appendonly": "yes", "appendfsync": "always"})
    with traffic(server.url) as app, open_broker(server.url) as broker:
        queue = app.declare("celery")
        app.send(queue, 5)
        before = Reader(broker)
        before.read()
        app.send(queue, 2)
    server.stop()
    directory = {"dir": str(server.directory), "appendonly": "yes"} if kept else {}
    start_redis(settings={"port": str(server.port), **directory})
    with traffic(server.url) as app, open_broker(server.url) as broker:
        after = Reader(broker, before.marks)
        queue = app.declare("celery")
        app.send(queue, 1)
        # Of what was lost nothing is counted, and nothing is taken for a mark that is gone.
        assert after.arrived() == {"0": 3 if kept else 1}
        app.send(queue, 4)
        assert after.arrived() == {"0": 4}


@pytest.mark.parametrize("rights", [["-@scripting"], ["-eval"], ["-lrange"]])
def test_a_user_who_may_run_no_scripts_reads_why_nothing_is_counted(
    app: Traffic, redis_server: RedisServer, rights: list[str]
) -> None:
    app.send(app.declare("celery"), 3)
    redis_server.cli("ACL", "SETUSER", "plain", "on", f">{PASSWORD}", "~*", "&*", "+@all", *rights)
    with open_broker(f"redis://plain:{PASSWORD}@127.0.0.1:{redis_server.port}/0") as broker:
        reader = Reader(broker)
        readings = [reader.read() for _turn in range(3)]
    assert [reading.waiting for reading in readings] == [3, 3, 3]
    assert reader.warnings == []
    if rights == ["-lrange"]:
        assert [reading.uncounted for reading in readings] == ["", "", ""]
        return
    for reading in readings:
        assert reading.lists is None
        assert reading.uncounted.startswith("Redis does not let this user run scripts (")
        assert PASSWORD not in reading.uncounted
    refused = [int(entry["count"]) for entry in redis_server.client().acl_log()]
    assert sum(refused) == 3, "each script is tried once: of lists, of what is unacknowledged, of arrivals"


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_rabbitmq_delivers_is_counted_once(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, kind: str) -> None:
    with (
        traffic(rabbitmq_vhost) as app,
        open_broker(rabbitmq_vhost, management_url=rabbitmq_server.management_url) as broker,
    ):
        queue, _idle = (app.declare(name, arguments={"x-queue-type": kind}) for name in QUEUES)
        reader = Reader(broker)

        def counted(waiting: int, unacknowledged: int, delivered: int) -> None:
            """Wait until a reading shows it: the node gathers its counts now and then."""
            seen: list[QueueReading] = []

            def shown() -> bool:
                seen.append(reader.read())
                now = seen[-1]
                return (now.waiting, now.unacknowledged, now.delivered) == (waiting, unacknowledged, delivered)

            wait_until(shown, 20, lambda: f"it is counted, last was {seen[-1]}")
            assert seen[-1].uncounted == ""

        app.send(queue, 5)
        counted(5, 0, 0)
        taken = app.take(queue, 3)
        counted(2, 3, 3)
        for message in taken:
            message.requeue()
        counted(5, 0, 3)
        # A quorum queue may put them behind the others, so that it takes all to know which these are.
        work_off(app, queue, 5)
        counted(0, 0, 5)
    assert reader.warnings == []


@pytest.mark.parametrize("named", [True, False])
def test_a_login_that_the_management_api_refuses(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, named: bool
) -> None:
    vhost = rabbitmq_vhost.rpartition("/")[2]
    # Without a tag it may use AMQP alone.
    rabbitmq_server.add_user("worker", PASSWORD)
    rabbitmq_server.allow("worker", vhost)
    url = rabbitmq_server.vhost_url(vhost, user="worker", password=PASSWORD)
    login = f"worker:{PASSWORD}@" if named else ""
    management = f"http://{login}127.0.0.1:{rabbitmq_server.management_port}"
    with traffic(url) as app, open_broker(url, management_url=management) as broker:
        app.declare("celery")
        reader = Reader(broker)
        reading = reader.read()
    assert (reading.waiting, reading.unacknowledged, reading.delivered) == (0, None, None)
    assert "it answered 401" in reading.uncounted
    assert "the user needs the tag monitoring or management" in reading.uncounted
    (warning,) = reader.warnings
    assert warning == f"Unacknowledged messages are unknown. {reading.uncounted}"
    assert PASSWORD not in warning
