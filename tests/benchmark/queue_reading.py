# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast queues are read from Redis, and how long the server is held meanwhile.

Starts a redis-server of its own, prints a table and exits with 1 when a bound is
broken. Times are compared within one run: the ways of reading take turns, and the
medians are compared.

    python tests/benchmark/queue_reading.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "bed"), str(TESTS / "broker")]

import redis  # noqa: E402
from broker_servers import RedisServer, redis_running  # noqa: E402

from muejam_bed.collection import collections_path  # noqa: E402

sys.path.insert(0, str(collections_path()))

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker  # noqa: E402
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker  # noqa: E402

SEP = "\x06\x16"
SUFFIXES = ("", f"{SEP}3", f"{SEP}6", f"{SEP}9")

WITH_SCRIPTS = 0.5
"""Most of the time of a redis-py pipeline of the same LLENs."""
WITHOUT_SCRIPTS = 1.2
HOLD_MS = 5.0
"""Longest that another client may wait in the quietest of several readings, beyond what it waits when nobody reads."""


def fill(server: RedisServer, queues: int, unacknowledged: int) -> list[str]:
    """Make queues as Celery does, every second one with a message, and unacknowledged messages of about a kilobyte."""
    client = server.client()
    client.flushall()
    names = [f"queue-{number:05}" for number in range(queues)]
    pipeline = client.pipeline(transaction=False)
    for number, name in enumerate(names):
        pipeline.sadd(f"_kombu.binding.{name}", f"{name}{SEP}{SEP}{name}")
        if number % 2:
            pipeline.lpush(name + random.choice(SUFFIXES), "{}")
    pipeline.execute()
    for begin in range(0, unacknowledged, 5000):
        for number in range(begin, min(begin + 5000, unacknowledged)):
            name = names[number % queues]
            message = {
                "body": "x" * random.randrange(600, 1500),
                "headers": {"id": str(uuid.uuid4())},
                "properties": {"delivery_info": {"exchange": name, "routing_key": name}},
            }
            pipeline.hset("unacked", str(uuid.uuid4()), json.dumps([message, name, name]))
        pipeline.execute()
    return names


def plain_pipeline(client: Any, names: Sequence[str]) -> int:
    """Read the lists as one would with redis-py alone."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        for suffix in SUFFIXES:
            pipeline.llen(name + suffix)
    return sum(pipeline.execute())


def medians(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way.

    The ways take turns, so that a busy machine meets all alike, and in an order drawn
    for each round: what disturbs the machine at a steady beat would meet the same way
    again and again otherwise.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in random.sample(list(ways), len(ways)):
            way = ways[name]
            begun = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def ping_until_told(port: int, channel: Connection) -> None:
    """Be the other client: ask the server for a sign of life all the time, and note how long each takes."""
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel.send("ready")
        while not channel.poll(0.0002):
            begun = time.perf_counter()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            waits.append(time.perf_counter() - begun)
    channel.send(waits)


def beside_another_client(port: int, work: Callable[[], object]) -> tuple[float, list[float]]:
    """Return the seconds that the work took, and sorted those that another client waited for its answers meanwhile."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=ping_until_told, args=(port, theirs))
    process.start()
    try:
        ours.recv()
        begun = time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        ours.send("stop")
        return seconds, sorted(ours.recv())
    finally:
        process.join(10)


def refused_scripts(server: RedisServer) -> str:
    """Return the URL of a user who may not run scripts."""
    server.cli("ACL", "SETUSER", "plain", "on", ">not-a-real-password", "~*", "&*", "+@all", "-@scripting")
    return f"redis://plain:not-a-real-password@127.0.0.1:{server.port}/0"


def compare(server: RedisServer, rounds: int) -> list[str]:
    """Compare the ways of reading 1,000 queues; return the bounds that were broken."""
    broken = []
    # Over TCP like the readings, not over the socket of the server's administrator.
    client = redis.Redis(port=server.port)
    with open_broker(server.url) as quick, open_broker(refused_scripts(server)) as slow:

        def reading(broker: Broker, names: list[str], unacknowledged: int) -> Callable[[], None]:
            def read() -> None:
                found = broker.read_queues(names, timeout=60)
                assert sum(queue.waiting or 0 for queue in found) == len(names) // 2
                assert sum(queue.unacknowledged or 0 for queue in found) == unacknowledged

            return read

        print(f"{'1,000 queues of 4 lists':<44}{'ms':>9}{'ratio':>8}{'bound':>8}")
        for unacknowledged in (0, 500):
            names = fill(server, 1000, unacknowledged)
            result = medians(
                {
                    "redis-py pipeline of the LLENs": lambda names=names: plain_pipeline(client, names),  # type: ignore[misc]
                    "with scripts": reading(quick, names, unacknowledged),
                    "without scripts": reading(slow, names, unacknowledged),
                },
                rounds,
            )
            base = result["redis-py pipeline of the LLENs"]
            for name, seconds in result.items():
                bound = {"with scripts": WITH_SCRIPTS, "without scripts": WITHOUT_SCRIPTS}.get(name)
                label = name if bound is None else f"{name}, {unacknowledged} unacknowledged"
                print(f"  {label:<42}{seconds * 1000:>9.1f}{seconds / base:>8.2f}{bound or '':>8}")
                if bound is not None and seconds / base > bound:
                    broken.append(f"{label}: {seconds / base:.2f} of the pipeline, at most {bound}")
    return broken


def row(label: str, waits: Sequence[float], seconds: float | None = None) -> None:
    """Print a line of the second table."""
    shown = "" if seconds is None else f"{seconds * 1000:.0f}"
    print(f"  {label:<42}{shown:>9}{waits[int(len(waits) * 0.99)] * 1000:>9.2f}{waits[-1] * 1000:>9.2f}")


def read_all(broker: Broker, names: list[str]) -> None:
    """Read everything, and see that it is."""
    found = broker.read_queues(names, timeout=120)
    assert sum(queue.unacknowledged or 0 for queue in found) == 100_000


def hold(server: RedisServer, rounds: int) -> list[str]:
    """Read 10,000 queues and 100,000 unacknowledged messages beside another client."""
    names = fill(server, 10_000, 100_000)
    print(f"\n{'10,000 queues, 100,000 unacknowledged':<44}{'ms':>9}{'99 %':>9}{'longest':>9}  waits of another client")
    _seconds, quiet = beside_another_client(server.port, lambda: time.sleep(1))
    row("nobody reads", quiet)
    longest = []
    with open_broker(server.url) as broker:
        for _turn in range(rounds):
            seconds, waits = beside_another_client(server.port, lambda: read_all(broker, names))
            longest.append(waits[-1] * 1000)
            row("read", waits, seconds)
    # What the machine adds by itself is no hold of the server.
    bound = HOLD_MS + quiet[-1] * 1000
    if min(longest) > bound:
        return [f"the server was held for {min(longest):.1f} ms at best, at most {bound:.1f} ms"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=151, help="alternations for the medians")
    parser.add_argument("--readings", type=int, default=5, help="large readings beside another client")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, redis_running(Path(directory) / "redis") as server:
        broken = compare(server, options.rounds) + hold(server, options.readings)
    for line in broken:
        print(f"BROKEN: {line}")
    print("all bounds hold" if not broken else f"{len(broken)} bounds broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
