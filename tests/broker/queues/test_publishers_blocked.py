# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker that takes no tasks says so to whoever reads its queues, and nothing is changed by asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from broker_servers import RabbitServer, RedisServer

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.broker_link import BrokerLink
from muejam_bed.shell import wait_until


@contextmanager
def link_to(url: str, told: list[str] | None = None) -> Iterator[Callable[[], str]]:
    told = [] if told is None else told
    with closing(BrokerLink(url, {}, None, 5.0, warn=told.append)) as link:

        def blocked() -> str:
            read = link.read(["celery"])
            assert read.waiting == {"celery": 0}, read.problem
            return read.blocked

        yield blocked


def name_of(vhost_url: str) -> str:
    return vhost_url.rpartition("/")[2]


def test_an_alarm_of_rabbitmq(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with link_to(rabbitmq_vhost) as blocked:
        assert blocked() == ""
        with rabbitmq_server.memory_alarm():
            wait_until(blocked, 10, "the alarm is seen")
            assert "blocks publishers" in blocked(), "still"
            with link_to(rabbitmq_vhost) as other:
                assert "blocks publishers" in other(), "by one that comes later, too"
        wait_until(lambda: not blocked(), 10, "the end of it is seen")
        assert blocked() == ""
    queues = [queue["name"] for queue in rabbitmq_server.api("GET", f"queues/{name_of(rabbitmq_vhost)}")]
    assert queues == [], "asking makes no queue"


def test_a_user_of_rabbitmq_who_may_not_publish(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    rabbitmq_server.add_user("reader", "not-a-real-password")
    vhost = name_of(rabbitmq_vhost)
    told: list[str] = []
    rabbitmq_server.allow("reader", vhost, write="^$")
    with link_to(rabbitmq_server.vhost_url(vhost, user="reader", password="not-a-real-password"), told) as blocked:
        assert [blocked() for _look in range(3)] == ["", "", ""]
    assert len(told) == 1, told
    assert "to write to amq.default" in told[0]
    assert rabbitmq_server.log.count("access to exchange") <= 1, "it is asked once"


def test_a_redis_that_is_full_and_one_that_is_a_replica(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with server.client() as client, link_to(server.url) as blocked:
        assert blocked() == ""
        assert client.keys("*") == [], "asking leaves nothing behind"
        client.config_set("maxmemory", "1")
        assert "Redis is full" in blocked()
        client.config_set("maxmemory", "0")
        client.config_set("min-replicas-to-write", "1")
        assert "min-replicas-to-write" in blocked()
        client.config_set("min-replicas-to-write", "0")
        client.replicaof("127.0.0.1", 1)
        assert "read-only replica" in blocked()
        client.replicaof("NO", "ONE")
        assert blocked() == ""


def test_a_redis_that_cannot_save(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with server.client() as client, link_to(server.url) as blocked:
        # Connected before: then Redis answers no PING either, and whoever comes anew reads that it cannot save.
        assert blocked() == ""
        client.config_set("save", "3600 1")
        client.set("key", "value")
        (server.directory / "dump.rdb").unlink(missing_ok=True)
        (server.directory / "dump.rdb").mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "saving fails")
        assert "cannot save" in blocked()
        client.config_set("stop-writes-on-bgsave-error", "no")
        assert blocked() == ""


def test_a_user_of_redis_who_may_not_write(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with server.client() as client:
        rules = ["on", ">not-a-real-password", "~*", "+@all", "-lpushx"]
        client.execute_command("ACL", "SETUSER", "reader", *rules)
        url = server.url.replace("redis://", "redis://reader:not-a-real-password@", 1)
        told: list[str] = []
        with link_to(url, told) as blocked:
            assert [blocked() for _look in range(3)] == ["", "", ""]
        assert len(told) == 1, told
        assert "+lpushx" in told[0]
        assert len(client.acl_log()) == 1, "it is asked once"
