# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues of a real RabbitMQ, made by kombu and read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from broker_servers import RabbitServer
from broker_traffic import traffic

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from muejam_bed.shell import wait_until


def read(url: str, names: list[str] | None, warnings: list[str] | None = None, **options: Any) -> list[QueueReading]:
    notes: list[str] = []
    with open_broker(url, warn=notes.append, **options) as broker:
        readings = broker.read_queues(names, warn=notes.append)
    if warnings is None:
        assert notes == []
    else:
        warnings += notes
    return readings


def eventually(check: Callable[[], list[QueueReading]], wanted: Callable[[list[QueueReading]], bool]) -> None:
    """Quorum queues and the statistics of the management plugin show a change a moment later."""
    last: list[list[QueueReading]] = []

    def holds() -> bool:
        last.append(check())
        return wanted(last[-1])

    wait_until(holds, 20, "the queues show it")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="classic"),
        pytest.param({"x-max-priority": 10}, id="priority"),
        pytest.param({"x-queue-type": "quorum"}, id="quorum"),
    ],
)
def test_reports_what_the_broker_holds(rabbitmq_vhost: str, arguments: dict[str, Any]) -> None:
    with traffic(rabbitmq_vhost) as app:
        queue = app.declare("celery", arguments=arguments)
        app.declare("idle", arguments=arguments)
        app.send(queue, 5, 9)
        app.send(queue, 4, 1)
        eventually(lambda: read(rabbitmq_vhost, ["celery"]), lambda found: found[0].waiting == 9)
        app.take(queue, 2)
        eventually(lambda: read(rabbitmq_vhost, ["celery"]), lambda found: found[0].waiting == 7)
        idle, missing, celery = read(rabbitmq_vhost, ["idle", "mistyped", "celery"])
    assert celery.waiting == 7
    # A quorum queue counts one who has taken a message as a consumer until the message is acknowledged.
    assert celery.consumers == (2 if "x-queue-type" in arguments else 0)
    assert (celery.exists, celery.waiting_by_priority, celery.unacknowledged) == (True, None, None)
    assert idle == QueueReading("idle", exists=True, waiting=0, consumers=0)
    assert missing == QueueReading("mistyped", exists=False)


def test_many_missing_queues(rabbitmq_vhost: str) -> None:
    readings = read(rabbitmq_vhost, [f"missing{number}" for number in range(200)])
    assert {reading.exists for reading in readings} == {False}
    assert {reading.waiting for reading in readings} == {None}


def test_consumers(rabbitmq_vhost: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        queue = app.declare("celery")
        queue.consume("one", callback=lambda message: None)
        queue.consume("two", callback=lambda message: None)
        assert read(rabbitmq_vhost, ["celery"])[0].consumers == 2


@pytest.mark.parametrize("vhost", ["a/b c", "größe"])
def test_vhost_with_special_characters(rabbitmq_server: RabbitServer, vhost: str) -> None:
    url = rabbitmq_server.add_vhost(vhost)
    try:
        with traffic(url) as app:
            app.send(app.declare("celery"), 2)
        management = rabbitmq_server.management_url
        eventually(lambda: read(url, None, management_url=management), lambda found: found[0].waiting == 2)
        assert read(rabbitmq_server.url, ["celery"])[0].exists is False
    finally:
        rabbitmq_server.delete_vhost(vhost)


@pytest.mark.parametrize("names", ["ca_certs cert_reqs", "ssl_ca_certs ssl_cert_reqs"])
def test_tls(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, names: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        app.declare("celery")
    url = rabbitmq_server.vhost_url(rabbitmq_vhost.rpartition("/")[2], tls=True)
    authority, requirement = names.split()
    settings = {authority: str(rabbitmq_server.tls.authority), requirement: "required"}
    assert read(url, ["celery"], ssl=settings)[0].waiting == 0


def test_unacknowledged_from_the_management_api(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        queue = app.declare("celery")
        app.declare("idle")
        app.declare("worker@host.celery.pidbox", exchange="celery.pidbox", kind="fanout")
        app.declare("celeryev.0-1-2", exchange="celeryev", kind="topic")
        app.send(queue, 5)
        app.take(queue, 3)
        management = rabbitmq_server.management_url
        eventually(
            lambda: read(rabbitmq_vhost, None, management_url=management),
            lambda found: [reading.unacknowledged for reading in found] == [3, 0],
        )
        readings = read(rabbitmq_vhost, ["mistyped", "celery"], management_url=management)
        assert readings[0] == QueueReading("mistyped", exists=False)
        assert readings[1] == QueueReading("celery", exists=True, waiting=2, unacknowledged=3, consumers=0)
        # Without a login of its own the URL takes that of the broker.
        plain = f"http://127.0.0.1:{rabbitmq_server.management_port}/"
        assert read(rabbitmq_vhost, ["celery"], management_url=plain)[0].unacknowledged == 3


def test_exclusive_queue_of_another_connection(rabbitmq_vhost: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        app.declare("celery")
        app.channel.queue_declare("private", exclusive=True)
        notes: list[str] = []
        private, celery = read(rabbitmq_vhost, ["private", "celery"], notes)
        assert private == QueueReading("private", exists=True)
        assert celery.waiting == 0
        assert notes[0].startswith("private: unknown, because the broker says: RESOURCE_LOCKED")
        with pytest.raises(OperationError, match="RESOURCE_LOCKED"):
            read(rabbitmq_vhost, ["private"])


def test_user_who_may_only_read(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        app.send(app.declare("celery"), 2)
    vhost = rabbitmq_vhost.rpartition("/")[2]
    rabbitmq_server.add_user("reader", "not-a-real-password")
    rabbitmq_server.allow("reader", vhost, configure="", write="", read=".*")
    url = rabbitmq_server.vhost_url(vhost, user="reader", password="not-a-real-password")
    assert read(url, ["celery"])[0].exists is True


def test_changes_nothing(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    vhost = rabbitmq_vhost.rpartition("/")[2]
    with traffic(rabbitmq_vhost) as app:
        app.send(app.declare("celery"), 2)
        read(rabbitmq_vhost, ["celery", "mistyped"])
        assert [queue["name"] for queue in rabbitmq_server.api("GET", f"queues/{vhost}")] == ["celery"]
        assert app.declare("celery").queue_declare(passive=True).message_count == 2
