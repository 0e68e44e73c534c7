# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brokers that cannot be read: each fault has a message of its own, arrives in time and shows no password."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from broker_servers import Certificates, RabbitServer, RedisServer, free_port, rabbitmq_running
from broker_traffic import traffic
from faulty_proxy import faulty_proxy

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import link_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

PASSWORD = "not-a-real-password"
# What a busy machine may take on top of a limit. Without the limit these readings would not end at all.
GRACE = 10.0


def failure(url: str, seconds: float = 3.0, **options: Any) -> str:
    """Return the message of a reading that must fail, within the time that was allowed."""
    options.setdefault("timeout", seconds)
    begun = time.monotonic()
    with pytest.raises(OperationError) as caught, open_broker(url, **options) as broker:
        broker.read_queues(["celery"])
    assert time.monotonic() - begun < options["timeout"] + GRACE
    message = str(caught.value)
    assert PASSWORD not in message
    assert "Traceback" not in message
    return message


class TestRedis:
    def test_nothing_listens(self) -> None:
        port = free_port()
        message = failure(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
        assert f"Could not connect to the broker redis://:********@127.0.0.1:{port}/0" in message
        assert "refused" in message
        assert "Nothing listens there." in message

    def test_no_such_socket(self, tmp_path: Path) -> None:
        assert "check the path of the socket" in failure(f"redis+socket://{tmp_path}/none.sock")

    def test_unknown_host(self) -> None:
        # A resolver may ask a second time.
        assert "could not be resolved" in failure("redis://broker.invalid/0", 30)

    @pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
    def test_wrong_login(self, start_redis: Callable[..., RedisServer], login: str) -> None:
        server = start_redis(password=PASSWORD)
        message = failure(f"redis://{login}127.0.0.1:{server.port}/0")
        assert "Check the user and the password in broker_url" in message
        assert "wrong" not in message

    def test_password_where_none_is_wanted(self, redis_server: RedisServer) -> None:
        message = failure(f"redis://somebody:{PASSWORD}@127.0.0.1:{redis_server.port}/0")
        assert "Check the user and the password in broker_url" in message

    @pytest.mark.parametrize(
        "rights", [["-@all", "+@connection"], ["+@all", "-llen"], ["+@all", "-ping"], ["+@all", "resetkeys", "~other*"]]
    )
    def test_acl(self, redis_server: RedisServer, rights: list[str]) -> None:
        redis_server.cli("LPUSH", "celery", "{}")
        redis_server.cli("ACL", "SETUSER", "u", "reset", "on", f">{PASSWORD}", "~*", *rights)
        message = failure(f"redis://u:{PASSWORD}@127.0.0.1:{redis_server.port}/0")
        assert "ACL SETUSER" in message
        assert "permission" in message

    @pytest.mark.parametrize("db", ["99", "shop"])
    def test_wrong_database(self, redis_server: RedisServer, db: str) -> None:
        assert "Correct the database number" in failure(f"redis://127.0.0.1:{redis_server.port}/{db}")

    def test_plain_to_tls(self, start_redis: Callable[..., RedisServer], certificates: Certificates) -> None:
        server = start_redis(tls=certificates)
        assert "wants TLS" in failure(server.url.replace("rediss", "redis"))

    def test_tls_to_plain(self, redis_server: RedisServer) -> None:
        # A plain server takes the greeting of TLS for the beginning of a line, and waits for the rest of it.
        assert "both sides use TLS" in failure(redis_server.url.replace("redis", "rediss"), timeout=0.5)

    def test_unknown_authority(self, start_redis: Callable[..., RedisServer], certificates: Certificates) -> None:
        assert "certificate was not accepted" in failure(start_redis(tls=certificates).url, ssl=True)

    def test_missing_authority_file(self, start_redis: Callable[..., RedisServer], certificates: Certificates) -> None:
        message = failure(start_redis(tls=certificates).url, ssl={"ca_certs": "/nonexistent/ca.crt"})
        assert "certificate files in ssl" in message

    def test_unknown_word_in_ssl(self) -> None:
        assert "required, optional or none" in failure("rediss://127.0.0.1/0", ssl={"cert_reqs": "maybe"})

    def test_sentinel_without_master_name(self, start_redis: Callable[..., RedisServer]) -> None:
        url = f"sentinel://127.0.0.1:{start_redis(sentinel=True).port}/0"
        assert "Give master_name in transport_options" in failure(url)
        assert "Give master_name in transport_options" in failure(url, transport_options={"master_name": "none"})

    @pytest.mark.parametrize("url", ["sqs://", "memory://", "nonsense://x", "no url at all", "redis://host:port/0"])
    def test_not_a_broker_of_ours(self, url: str) -> None:
        message = failure(url)
        assert message.startswith("Could not ")
        assert "redis" in message

    def test_frozen_before_connecting(self, redis_server: RedisServer) -> None:
        redis_server.freeze()
        assert "did not answer in time" in failure(redis_server.url, timeout=0.5)

    def test_frozen_while_reading(self, redis_server: RedisServer) -> None:
        with open_broker(redis_server.url, timeout=2.0) as broker:
            redis_server.freeze()
            begun = time.monotonic()
            with pytest.raises(OperationError, match="stopped answering before everything was read"):
                broker.read_queues(["celery"])
            assert time.monotonic() - begun < 2 + GRACE

    def test_killed_while_open(self, redis_server: RedisServer) -> None:
        with open_broker(redis_server.url) as broker:
            redis_server.kill()
            with pytest.raises(OperationError, match=r"refused|closed|reset"):
                broker.read_queues(["celery"])

    def test_a_lost_connection_is_not_replaced_while_reading(self, redis_server: RedisServer) -> None:
        """A server that started anew, with everything lost, must not answer the rest of a long reading."""
        pool = redis_server.client().connection_pool
        with contextlib.suppress(redis.exceptions.ConnectionError), link_of(pool) as link:
            assert link.ask([("PING",)]) == [b"PONG"]
            redis_server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            link.ask([("PING",)])
            pytest.fail("it connected again")

    @pytest.mark.parametrize("cut_after", [1, 100, 1000, 5000])
    def test_cut_while_reading(self, redis_server: RedisServer, cut_after: int) -> None:
        client = redis_server.client()
        names = [f"queue{number}" for number in range(2000)]
        client.hset("unacked", mapping={name: json.dumps([{}, name, name]) for name in names})
        with faulty_proxy(redis_server.port) as proxy, open_broker(f"redis://127.0.0.1:{proxy.port}/0") as broker:
            proxy.cut_after = proxy.answered + cut_after
            with pytest.raises(OperationError, match="went away before everything was read"):
                broker.read_queues(names)

    def test_answer_that_trickles(self, redis_server: RedisServer) -> None:
        with faulty_proxy(redis_server.port) as proxy, open_broker(f"redis://127.0.0.1:{proxy.port}/0") as broker:
            proxy.trickle = 0.05
            begun = time.monotonic()
            with pytest.raises(OperationError, match=r"no complete answer within 0\.5 s"):
                broker.read_queues([f"queue{number}" for number in range(50)], timeout=0.5)
            assert time.monotonic() - begun < 0.5 + GRACE

    def test_a_reading_after_a_failed_one(self, redis_server: RedisServer) -> None:
        with traffic(redis_server.url) as app:
            app.send(app.declare("celery"), 2)
        with open_broker(redis_server.url, timeout=2.0) as broker:
            redis_server.freeze()
            with pytest.raises(OperationError):
                broker.read_queues(["celery"])
            redis_server.thaw()
            with open_broker(redis_server.url) as again:
                assert again.read_queues(["celery"])[0].waiting == 2

    def test_management_url(self, redis_server: RedisServer) -> None:
        assert "only RabbitMQ has one" in failure(redis_server.url, management_url="http://localhost:15672")


class TestRabbitMQ:
    def test_nothing_listens(self) -> None:
        assert "Nothing listens there." in failure(f"amqp://u:{PASSWORD}@127.0.0.1:{free_port()}//")

    def test_wrong_login(self, rabbitmq_server: RabbitServer) -> None:
        message = failure(rabbitmq_server.vhost_url("/", password=PASSWORD))
        assert "Check the user and the password in broker_url" in message

    def test_missing_vhost(self, rabbitmq_server: RabbitServer) -> None:
        message = failure(rabbitmq_server.vhost_url("none"))
        assert "The virtual host at the end of broker_url does not exist" in message

    def test_vhost_of_others(self, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
        rabbitmq_server.add_user("stranger", PASSWORD)
        vhost = rabbitmq_vhost.rpartition("/")[2]
        message = failure(rabbitmq_server.vhost_url(vhost, user="stranger", password=PASSWORD))
        assert "rabbitmqctl set_permissions" in message

    def test_plain_to_tls(self, rabbitmq_server: RabbitServer) -> None:
        url = rabbitmq_server.vhost_url("/", tls=True).replace("amqps", "amqp")
        message = failure(url, timeout=2.0)
        assert "wants TLS" in message or "did not answer in time" in message

    def test_tls_to_plain(self, rabbitmq_server: RabbitServer) -> None:
        assert "serves TLS" in failure(rabbitmq_server.url.replace("amqp", "amqps"))

    def test_unknown_authority(self, rabbitmq_server: RabbitServer) -> None:
        assert "certificate was not accepted" in failure(rabbitmq_server.vhost_url("/", tls=True))

    def test_all_queues_without_management(self, rabbitmq_vhost: str) -> None:
        with open_broker(rabbitmq_vhost) as broker, pytest.raises(OperationError, match="management_url"):
            broker.read_queues(None)

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("http://guest:wrong@127.0.0.1:{port}", "401"),
            ("http://127.0.0.1:{free}", "refused"),
            ("127.0.0.1:{port}", "is no URL of RabbitMQ"),
            ("https://127.0.0.1:{port}", "management_url"),
        ],
    )
    def test_management(self, rabbitmq_server: RabbitServer, rabbitmq_vhost: str, url: str, says: str) -> None:
        management = url.format(port=rabbitmq_server.management_port, free=free_port())
        notes: list[str] = []
        with traffic(rabbitmq_vhost) as app:
            app.declare("celery")
        with open_broker(rabbitmq_vhost, management_url=management) as broker:
            (reading,) = broker.read_queues(["celery"], warn=notes.append)
            assert (reading.waiting, reading.unacknowledged) == (0, None)
            assert says in notes[0]
            with pytest.raises(OperationError, match=says):
                broker.read_queues(None)

    def test_frozen_and_killed(self, tmp_path: Path) -> None:
        with rabbitmq_running(tmp_path) as server:
            with traffic(server.url) as app:
                app.declare("celery")
            with open_broker(server.url, timeout=2.0) as broker:
                assert broker.read_queues(["celery"])[0].waiting == 0
                server.freeze()
                begun = time.monotonic()
                with pytest.raises(OperationError, match="stopped answering before everything was read"):
                    broker.read_queues(["celery"])
                assert time.monotonic() - begun < 2 + GRACE
                assert "did not answer in time" in failure(server.url, timeout=0.5)
                server.thaw()
            with open_broker(server.url) as broker:
                server.kill()
                with pytest.raises(OperationError, match="before everything was read"):
                    broker.read_queues(["celery", "other"])
