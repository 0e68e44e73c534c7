# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues of a real Redis, made by kombu and read back; redis-cli is the judge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from broker_servers import Certificates, RedisServer
from broker_traffic import redis_lengths, traffic
from faulty_proxy import faulty_proxy

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading

SEP = "\x06\x16"
STEPS = (0, 3, 6, 9)


def read(url: str, names: list[str] | None, warnings: list[str] | None = None, **options: Any) -> list[QueueReading]:
    notes: list[str] = []
    with open_broker(url, warn=notes.append, **options) as broker:
        readings = broker.read_queues(names, warn=notes.append)
    if warnings is None:
        assert notes == []
    else:
        warnings += notes
    return readings


def one(url: str, name: str, warnings: list[str] | None = None, **options: Any) -> QueueReading:
    (reading,) = read(url, [name], warnings, **options)
    return reading


@pytest.fixture
def no_scripts(redis_server: RedisServer) -> str:
    """URL of a user who may not run scripts."""
    redis_server.cli("ACL", "SETUSER", "plain", "on", ">not-a-real-password", "~*", "&*", "+@all", "-@scripting")
    return f"redis://plain:not-a-real-password@127.0.0.1:{redis_server.port}/0"


@pytest.fixture(params=["scripts", "no scripts"])
def url(request: pytest.FixtureRequest, redis_server: RedisServer) -> str:
    """URL of the same server, with and without the right to run scripts."""
    if request.param == "scripts":
        return redis_server.url
    refused: str = request.getfixturevalue("no_scripts")
    return refused


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"global_keyprefix": "shop[*]:"}, id="prefix"),
        pytest.param({"priority_steps": list(range(10)), "sep": ":"}, id="steps and sep"),
        pytest.param({"unacked_key": "taken", "unacked_index_key": "taken_index"}, id="unacked_key"),
    ],
)
def test_reports_what_redis_cli_shows(redis_server: RedisServer, url: str, options: dict[str, Any]) -> None:
    steps = options.get("priority_steps", STEPS)
    sep = options.get("sep", SEP)
    prefix = options.get("global_keyprefix", "")
    with traffic(url, options) as app:
        celery, reports, idle = app.declare("celery"), app.declare("reports"), app.declare("idle")
        for priority, count in ((0, 5), (3, 4), (5, 3), (9, 7)):
            app.send(celery, count, priority)
        app.send(reports, 2, 6)
        app.take(celery, 6)
        app.take(reports, 1)
        readings = read(url, ["reports", "idle", "celery", "mistyped"], transport_options=options)
        assert [reading.name for reading in readings] == ["reports", "idle", "celery", "mistyped"]
        for reading in readings:
            shown = redis_lengths(redis_server, prefix + reading.name, sep, steps)
            assert reading.waiting_by_priority == shown
            assert reading.waiting == sum(shown.values())
            assert reading.consumers is None
        assert [reading.exists for reading in readings] == [True, True, True, False]
        assert [reading.unacknowledged for reading in readings] == [1, 0, 6, 0]
        assert [reading.waiting for reading in readings] == [1, 0, 13, 0]
        hash_length = int(redis_server.cli("HLEN", prefix + options.get("unacked_key", "unacked")))
        assert sum(reading.unacknowledged or 0 for reading in readings) == hash_length
        assert idle.name == "idle"


def test_asked_twice_answered_twice(redis_server: RedisServer) -> None:
    with traffic(redis_server.url) as app:
        app.send(app.declare("celery"), 3)
    assert [reading.waiting for reading in read(redis_server.url, ["celery", "celery"])] == [3, 3]
    assert read(redis_server.url, []) == []


class TestConnecting:
    def check(self, url: str, warnings: list[str] | None = None, **options: Any) -> None:
        plain = {key: value for key, value in options.items() if key != "timeout"}
        with traffic(url, plain.get("transport_options"), plain.get("ssl")) as app:
            app.send(app.declare("celery"), 3)
        assert one(url, "celery", warnings, **options).waiting == 3

    def test_password_with_special_characters(self, start_redis: Callable[..., RedisServer]) -> None:
        self.check(start_redis(password="not@a:real/password%").url)

    def test_user_who_may_only_read(self, redis_server: RedisServer) -> None:
        with traffic(redis_server.url) as app:
            app.send(app.declare("celery"), 3)
        redis_server.cli(
            "ACL", "SETUSER", "reader", "on", ">not-a-real-password", "-@all", "+@read", "+@connection", "+eval",
            "%R~celery*", "%R~_kombu.*", "%R~unacked*", "+select",
        )  # fmt: skip
        url = f"redis://reader:not-a-real-password@127.0.0.1:{redis_server.port}/0"
        assert one(url, "celery").waiting == 3

    def test_database_number(self, redis_server: RedisServer) -> None:
        self.check(redis_server.url[:-1] + "5")
        assert redis_server.cli("LLEN", "celery", db=5) == "3"
        assert one(redis_server.url, "celery").exists is False

    def test_unix_socket(self, start_redis: Callable[..., RedisServer]) -> None:
        self.check(start_redis(password="not-a-real-password").socket_url)

    def test_unix_socket_with_database_number(self, redis_server: RedisServer) -> None:
        self.check(redis_server.socket_url + "?virtual_host=4")
        assert redis_server.cli("LLEN", "celery", db=4) == "3"

    @pytest.mark.parametrize("names", ["ssl_ca_certs ssl_cert_reqs", "ca_certs cert_reqs"])
    def test_tls(self, start_redis: Callable[..., RedisServer], certificates: Certificates, names: str) -> None:
        server = start_redis(tls=certificates)
        with traffic(server.url, ssl={"ssl_ca_certs": str(certificates.authority)}) as app:
            app.send(app.declare("celery"), 3)
        authority, requirement = names.split()
        settings = {authority: str(certificates.authority), requirement: "required"}
        assert one(server.url, "celery", ssl=settings).waiting == 3
        assert one(server.url.replace("rediss", "redis"), "celery", ssl=settings).waiting == 3

    def test_tls_that_verifies_nothing_is_pointed_out(
        self, start_redis: Callable[..., RedisServer], certificates: Certificates
    ) -> None:
        server = start_redis(tls=certificates)
        notes: list[str] = []
        assert one(server.url, "celery", notes).waiting == 0
        assert len(notes) == 1
        assert "certificate is not verified" in notes[0]
        assert one(server.url, "celery", ssl={"cert_reqs": "none"}).waiting == 0

    def test_sentinel(self, start_redis: Callable[..., RedisServer]) -> None:
        master = start_redis(password="not-a-real-password")
        watch = {
            "sentinel monitor": f"shop 127.0.0.1 {master.port} 1",
            "sentinel auth-pass": "shop not-a-real-password",
        }
        sentinel = start_redis(sentinel=True, settings=watch)
        url = f"sentinel://:not-a-real-password@127.0.0.1:{sentinel.port}/0"
        self.check(url, transport_options={"master_name": "shop", "global_keyprefix": "p:"})
        assert master.cli("LLEN", "p:celery") == "3"

    def test_second_address_when_the_first_is_dead(self, redis_server: RedisServer) -> None:
        from broker_servers import free_port

        self.check(f"redis://127.0.0.1:{free_port()}/0;{redis_server.url}")


class TestExists:
    def test_bound_to_an_exchange_of_another_name(self, url: str) -> None:
        with traffic(url) as app:
            app.declare("images", exchange="media", key="image")
            app.declare("sounds", exchange="media2", key="sound.#", kind="topic")
        assert [reading.exists for reading in read(url, ["images", "sounds", "image"])] == [True, True, False]

    def test_list_without_binding(self, url: str, redis_server: RedisServer) -> None:
        redis_server.cli("LPUSH", f"orphan{SEP}9", "{}")
        assert one(url, "orphan").exists is True

    def test_more_bindings_than_one_step_takes(self, url: str, redis_server: RedisServer) -> None:
        members = [f"key{number}{SEP}{SEP}queue{number}" for number in range(3000)]
        redis_server.client().sadd("_kombu.binding.shared", *members)
        for number in range(300):
            redis_server.client().sadd(f"_kombu.binding.own{number}", f"k{SEP}{SEP}other{number}")
        assert [reading.exists for reading in read(url, ["queue2999", "other299", "queue3000"])] == [True, True, False]

    def test_search_refused(self, redis_server: RedisServer) -> None:
        with traffic(redis_server.url) as app:
            app.declare("celery")
        redis_server.cli("ACL", "SETUSER", "u", "on", ">not-a-real-password", "~*", "+@all", "-scan")
        notes: list[str] = []
        url = f"redis://u:not-a-real-password@127.0.0.1:{redis_server.port}/0"
        known, unknown = read(url, ["celery", "mistyped"], notes)
        assert (known.exists, unknown.exists, unknown.waiting) == (True, None, 0)
        assert len(notes) == 1
        assert "mistyped: whether they exist is unknown" in notes[0]

    def test_search_gives_up_in_time_for_the_rest(self, redis_server: RedisServer) -> None:
        with traffic(redis_server.url) as app:
            app.send(app.declare("celery"), 2)
        client = redis_server.client()
        client.mset({f"celery-task-meta-{number}": "" for number in range(200_000)})
        notes: list[str] = []
        # 200 steps of 50 ms do not fit into half of five seconds.
        with (
            faulty_proxy(redis_server.port, delay=0.05) as proxy,
            open_broker(f"redis://127.0.0.1:{proxy.port}/0") as broker,
        ):
            readings = broker.read_queues(["celery", "mistyped"], timeout=5.0, warn=notes.append)
        assert [(reading.exists, reading.waiting) for reading in readings] == [(True, 2), (None, 0)]
        assert re.search(r"no complete answer within (1|2)\b", notes[0])


class TestUnacknowledged:
    def test_sent_to_the_queue_without_an_exchange(self, url: str) -> None:
        with traffic(url) as app:
            queue = app.declare("celery")
            for _turn in range(3):
                app.producer.publish({}, exchange="", routing_key="celery")
            app.take(queue, 2)
            assert one(url, "celery").unacknowledged == 2

    def test_topic_exchange(self, url: str) -> None:
        with traffic(url) as app:
            images = app.declare("images", exchange="media", key="image.*", kind="topic")
            sounds = app.declare("sounds", exchange="media", key="sound.#", kind="topic")
            app.send(images, 4, key="image.png")
            app.send(sounds, 4, key="sound.loud.mono")
            app.take(images, 3)
            app.take(sounds, 1)
            assert [reading.unacknowledged for reading in read(url, ["images", "sounds"])] == [3, 1]

    @pytest.mark.parametrize(
        "name", ['quo"te', "back\\slash", 'both\\", "x', "größe", "語", "a b", "x]", ', "', "\\\\"]
    )
    def test_names_that_json_escapes(self, url: str, name: str) -> None:
        with traffic(url) as app:
            queue = app.declare(name)
            plain = app.declare("plain")
            app.send(queue, 4)
            app.send(plain, 2)
            app.take(queue, 3)
            app.take(plain, 1)
            readings = read(url, [name, "plain"])
        assert [(reading.waiting, reading.unacknowledged) for reading in readings] == [(1, 3), (1, 1)]
        assert [reading.exists for reading in readings] == [True, True]

    def test_very_long_names(self, url: str) -> None:
        name = "long-" * 100
        with traffic(url) as app:
            queue = app.declare(name)
            app.send(queue, 2)
            app.take(queue, 1)
            assert one(url, name).unacknowledged == 1

    def test_route_to_several_queues_is_unknown(self, url: str) -> None:
        with traffic(url) as app:
            first = app.declare("first", exchange="news", key="all")
            app.declare("second", exchange="news", key="all")
            other = app.declare("other")
            app.send(first, 2)
            app.send(other, 2)
            app.take(first, 1)
            app.take(other, 2)
            notes: list[str] = []
            readings = read(url, ["first", "second", "other"], notes)
        assert [reading.unacknowledged for reading in readings] == [None, None, 2]
        assert [reading.waiting for reading in readings] == [1, 2, 0]
        assert len(notes) == 1
        assert notes[0].startswith("first, second: the unacknowledged messages are unknown")

    def test_route_that_lost_its_binding(self, url: str, redis_server: RedisServer) -> None:
        with traffic(url) as app:
            queue = app.declare("celery")
            app.send(queue, 2)
            app.take(queue, 2)
            redis_server.cli("DEL", "_kombu.binding.celery")
            notes: list[str] = []
            readings = read(url, ["celery", "other"], notes)
        assert [reading.unacknowledged for reading in readings] == [None, 0]
        assert "celery/celery" in notes[0]

    @pytest.mark.parametrize("entry", ["", "not json", "[1, 2]", '{"a": "b", "c"]', "[{}, 1, 2]", '[{}, "a" "b"]'])
    def test_entry_that_kombu_did_not_write_is_not_counted_silently(
        self, url: str, redis_server: RedisServer, entry: str
    ) -> None:
        with traffic(url) as app:
            queue = app.declare("celery")
            app.send(queue, 2)
            app.take(queue, 1)
            redis_server.client().hset("unacked", "tag", entry)
            notes: list[str] = []
            assert one(url, "celery", notes).unacknowledged is None
        assert "1 of the entries of the hash unacked" in notes[0]

    @pytest.mark.parametrize("form", ['[{}, "celery",  "celery"]', '[{},"celery","celery"]', '[{}, null, "celery"]\n'])
    def test_json_of_another_writer(self, url: str, redis_server: RedisServer, form: str) -> None:
        with traffic(url) as app:
            app.declare("celery")
        redis_server.client().hset("unacked", "tag", form)
        assert one(url, "celery").unacknowledged == 1

    def test_hash_that_may_not_be_read(self, redis_server: RedisServer) -> None:
        with traffic(redis_server.url) as app:
            queue = app.declare("celery")
            app.send(queue, 3)
            app.take(queue, 1)
            redis_server.cli("ACL", "SETUSER", "u", "on", ">not-a-real-password", "+@all", "~celery*", "~_kombu.*")
            notes: list[str] = []
            url = f"redis://u:not-a-real-password@127.0.0.1:{redis_server.port}/0"
            reading = one(url, "celery", notes)
        assert (reading.waiting, reading.unacknowledged, reading.exists) == (2, None, True)
        assert len(notes) == 1
        assert notes[0].startswith("Unacknowledged messages are unknown")

    def test_without_acknowledgement_emulation(self, redis_server: RedisServer) -> None:
        notes: list[str] = []
        reading = one(redis_server.url, "celery", notes, transport_options={"ack_emulation": False})
        assert reading.unacknowledged is None
        assert "ack_emulation" in notes[0]

    def test_more_than_one_step_takes(self, url: str, redis_server: RedisServer) -> None:
        with traffic(url) as app:
            for name in ("celery", "reports"):
                app.declare(name)
        entry = json.dumps([{"body": "x" * 1500, "properties": {}}, "{0}", "{0}"])
        mapping = {
            f"tag{number}": entry.replace("{0}", "reports" if number % 3 else "celery") for number in range(3000)
        }
        redis_server.client().hset("unacked", mapping=mapping)
        assert [reading.unacknowledged for reading in read(url, ["celery", "reports"])] == [1000, 2000]


class TestWithoutNames:
    def test_all_that_hold_tasks(self, url: str, redis_server: RedisServer) -> None:
        with traffic(url) as app:
            app.send(app.declare("celery"), 2)
            app.declare("images", exchange="media", key="image")
            app.declare("worker@host.celery.pidbox", exchange="celery.pidbox", kind="fanout")
            app.declare("0-1-2.reply.celery.pidbox", exchange="reply.celery.pidbox")
            app.declare("celeryev.0-1-2", exchange="celeryev", kind="fanout")
            app.declare("bcast.0-1-2", exchange="announcements", kind="fanout")
            orphan = app.declare("orphan")
            app.send(orphan, 3, priority=9)
        redis_server.cli("DEL", "_kombu.binding.orphan")
        redis_server.cli("RPUSH", "somebody-else", "1", "2")
        redis_server.cli("SET", "celery-task-meta-1", "{}")
        readings = read(url, None)
        assert [(reading.name, reading.waiting, reading.exists) for reading in readings] == [
            ("celery", 2, True),
            ("images", 0, True),
            ("orphan", 3, True),
        ]

    def test_only_those_of_the_prefix(self, url: str) -> None:
        for prefix in ("a:", "b:"):
            with traffic(url, {"global_keyprefix": prefix}) as app:
                app.send(app.declare(f"{prefix}queue"), 1)
        readings = read(url, None, transport_options={"global_keyprefix": "b:"})
        assert [reading.name for reading in readings] == ["b:queue"]

    def test_empty_database(self, url: str) -> None:
        assert read(url, None) == []


def test_changes_nothing(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(settings={"enable-debug-command": "yes"})
    with traffic(server.url) as app:
        queue = app.declare("celery")
        app.send(queue, 5, 3)
        app.take(queue, 2)
        before = server.cli("DEBUG", "DIGEST")
        dirty = server.client().info("persistence")["rdb_changes_since_last_save"]
        read(server.url, None)
        read(server.url, ["celery", "mistyped"])
        assert server.cli("DEBUG", "DIGEST") == before
        assert server.client().info("persistence")["rdb_changes_since_last_save"] == dirty


def test_round_trips_do_not_grow_with_the_number_of_queues(redis_server: RedisServer) -> None:
    names = [f"queue{number}" for number in range(5000)]
    pipeline = redis_server.client().pipeline(transaction=False)
    for name in names:
        pipeline.sadd(f"_kombu.binding.{name}", f"{name}{SEP}{SEP}{name}")
        pipeline.lpush(f"{name}{SEP}6", "{}")
    pipeline.hset("unacked", mapping={name: json.dumps([{}, name, name]) for name in names[:400]})
    pipeline.execute()
    turns = []
    for count in (10, 5000):
        with (
            faulty_proxy(redis_server.port) as proxy,
            open_broker(f"redis://127.0.0.1:{proxy.port}/0") as broker,
        ):
            proxy.delay = 0.3
            begun = proxy.turns
            readings = broker.read_queues(names[:count])
            turns.append(proxy.turns - begun)
        assert all(reading.waiting_by_priority == {"0": 0, "3": 0, "6": 1, "9": 0} for reading in readings)
    assert turns == [1, 1]


def test_a_key_that_is_no_queue(url: str, redis_server: RedisServer) -> None:
    redis_server.cli("SET", "not-a-list", "x")
    with traffic(url) as app:
        app.send(app.declare("celery"), 2)
    notes: list[str] = []
    celery, other = read(url, ["celery", "not-a-list"], notes)
    assert (celery.waiting, other.waiting, other.exists) == (2, None, False)
    assert "WRONGTYPE" in notes[0]


@pytest.mark.parametrize("broken", ["", "\x06\x163", "\x06\x169"])
def test_a_queue_with_a_list_that_is_none_exists_by_its_binding(
    url: str, redis_server: RedisServer, broken: str
) -> None:
    lists = [f"{name}{suffix}" for name in ("bound", "unbound") for suffix in ("", "\x06\x163", "\x06\x169")]
    with redis_server.client() as client:
        for key in lists:
            client.delete(key)
            client.lpush(key, "{}")
        for name in ("bound", "unbound"):
            client.set(f"{name}{broken}", "x")
        client.sadd("_kombu.binding.bound", "bound\x06\x16\x06\x16bound")
    bound, unbound = read(url, ["bound", "unbound"], [])
    assert (bound.waiting, bound.exists) == (None, True)
    assert (unbound.waiting, unbound.exists) == (None, False)


def test_a_queue_that_may_not_be_read(redis_server: RedisServer) -> None:
    with traffic(redis_server.url) as app:
        app.send(app.declare("mine"), 2)
        app.send(app.declare("theirs"), 2)
    redis_server.cli(
        "ACL", "SETUSER", "u", "on", ">not-a-real-password", "+@all", "~mine*", "~_kombu.*", "~unacked*"
    )  # fmt: skip
    url = f"redis://u:not-a-real-password@127.0.0.1:{redis_server.port}/0"
    notes: list[str] = []
    mine, theirs = read(url, ["mine", "theirs"], notes)
    assert (mine.waiting, theirs.waiting, theirs.waiting_by_priority) == (2, None, None)
    assert notes[0].startswith("theirs: the messages waiting are unknown")
