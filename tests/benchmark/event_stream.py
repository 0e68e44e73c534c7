# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast Celery's event stream is heard on Redis, beside others who listen to it.

Starts a redis-server of its own and publishes the same events (received, started and
succeeded, each in a message of its own as Celery writes it) to one listener after
another: ours, Celery's bare receiver, and prometheus-exporter-celery, which is installed
into a virtual environment that is thrown away. Prints a table and exits with 1 when a
bound is broken. What counts is the CPU time of an event, which a busy machine changes
least. Then the main thread takes turns beside our listener under a flood, and the longest
one is printed.

    python tests/benchmark/event_stream.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "bed"), str(TESTS / "broker")]

from broker_servers import RedisServer, free_port, redis_running, stop_process  # noqa: E402

from muejam_bed.collection import collections_path  # noqa: E402
from muejam_bed.shell import wait_until  # noqa: E402

sys.path.insert(0, str(collections_path()))

EXPORTER = ("prometheus-exporter-celery", "celery[redis] < 5.6")
"""What pip is asked for; with later versions of Celery the exporter's own requirements cannot be met."""

RIVAL = "prometheus-exporter-celery"
BOUND = 1.5
"""Least number of events a second, in those of the exporter."""

DELAY_SECONDS = 1.0
"""Longest that a flood may delay a turn of the main thread."""

NODES = 20
PIPELINE = 500
MAX_SECONDS = 60.0


def events(server: RedisServer, tasks: int) -> list[bytes]:
    """Return PUBLISH commands as workers send them, all but sent by Celery's own dispatcher."""
    from celery import Celery
    from kombu.utils.json import dumps

    commands: list[bytes] = []

    def note(exchange: str, message: Any, routing_key: str, **_options: Any) -> None:
        topic, payload = f"/0.{exchange}/{routing_key}".encode(), dumps(message).encode()
        commands.append(
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(topic), topic, len(payload), payload)
        )

    app = Celery("benchmark", broker=server.url, set_as_current=False)
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel._put_fanout = note
        senders = [
            app.events.Dispatcher(
                connection, hostname=f"web-{number}@host", channel=channel, buffer_while_offline=False
            )
            for number in range(1, NODES + 1)
        ]
        for number in range(tasks):
            send = senders[number % NODES].send
            task = f"{number:08x}-8d3f-4d63-8a90-6c9f2fd04b1f"
            send(
                "task-received", uuid=task, name=f"shop.tasks.task_{number % 10}", args="(12345, 'a@example.com')",
                kwargs="{'language': 'en'}", root_id=task, parent_id=None, retries=0, eta=None, expires=None,
            )  # fmt: skip
            send("task-started", uuid=task)
            send("task-succeeded", uuid=task, result="{'sent': True}", runtime=0.01 * (number % 400))
    app.close()
    return commands


def publish(port: int, commands: Sequence[bytes]) -> None:
    """Send commands as fast as the server takes them."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for begin in range(0, len(commands), PIPELINE):
            part = commands[begin : begin + PIPELINE]
            connection.sendall(b"".join(part))
            answers = 0
            while answers < len(part):
                chunk = connection.recv(65536)
                if not chunk:
                    raise ConnectionError("the server hung up on the publisher")
                answers += chunk.count(b"\r\n")


# The listeners, each in a process of its own.


def listen_ours(url: str, expected: int, tell: Callable[..., None]) -> None:
    """Listen with the collection's own stream."""
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream

    stream = EventStream(url, {"web": ["celery"]})
    stream.start()
    while stream.snapshot().health.events < expected:
        time.sleep(0.05)
    seen = stream.snapshot()
    counts = seen.by_fleet("web")
    tell(done=sum(task.succeeded for task in counts.tasks), garbage=seen.health.garbage)
    stream.stop()


def listen_celery(url: str, expected: int, tell: Callable[..., None]) -> None:
    """Listen with Celery's receiver, which hands each event to a function that does nothing but count."""
    from celery import Celery

    app = Celery("receiver", broker=url, set_as_current=False)
    heard = succeeded = 0

    def count(event: dict[str, Any]) -> None:
        nonlocal heard, succeeded
        heard += 1
        succeeded += event["type"] == "task-succeeded"
        if heard == expected:
            receiver.should_stop = True

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": count})
        receiver.capture(limit=None, timeout=None, wakeup=False)
    tell(done=succeeded, garbage=0)


def listen_beside_turns(url: str, expected: int, tell: Callable[..., None]) -> None:
    """Listen with our stream while the main thread takes turns of many small reads and some arithmetic."""
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream

    stream = EventStream(url, {"web": ["celery"]})
    port = int(url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def turn() -> float:
            begun = time.perf_counter()
            for _question in range(200):
                connection.sendall(b"PING\r\n")
                connection.recv(64)
            sum(number * number for number in range(200_000))
            stream.snapshot()
            return time.perf_counter() - begun

        quiet = [turn() for _turn in range(20)]
        stream.start()
        flooded = []
        while (heard := stream.snapshot().health.events) < expected:
            seconds = turn()
            if heard:
                flooded.append(seconds)
    tell(done=expected // 3, garbage=0, quiet=statistics.median(quiet), flooded=flooded or [0.0])
    stream.stop()


LISTENERS = {"ours": listen_ours, "celery": listen_celery, "turns": listen_beside_turns}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def listening(server: RedisServer, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a listener until the end of the with block, which begins when it has subscribed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: server.cli("PUBSUB", "NUMPAT") == "1" or process.poll() is not None, 30, "subscribed")
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        yield process
    finally:
        stop_process(process)
        wait_until(lambda: server.cli("PUBSUB", "NUMPAT") == "0", 10, "unsubscribed")


def measure(server: RedisServer, name: str, commands: Sequence[bytes]) -> tuple[float, float, dict[str, Any]]:
    """Return the seconds and the CPU seconds that a listener of ours took, and what it said."""
    command = [sys.executable, __file__, "--listen", name, "--url", server.url, "--expected", str(len(commands))]
    with listening(server, command) as process:
        before, begun = cpu_seconds(process.pid), time.perf_counter()
        publisher = threading.Thread(target=publish, args=(server.port, commands))
        publisher.start()
        assert process.stdout is not None
        answer = json.loads(process.stdout.readline())
        seconds, used = time.perf_counter() - begun, cpu_seconds(process.pid) - before
        publisher.join()
    return seconds, used, answer


def measure_exporter(server: RedisServer, python: Path, commands: Sequence[bytes]) -> tuple[float, float, int]:
    """Return the seconds and the CPU seconds that the exporter took, and how many successes it counted."""
    port = free_port()
    code = "from src.cli import cli; cli()"
    command = [str(python), "-c", code, "--broker-url", server.url, "--port", str(port), "--host", "127.0.0.1"]
    with listening(server, [*command, "--log-level", "ERROR"]) as process:
        before, begun = cpu_seconds(process.pid), time.perf_counter()
        publish(server.port, commands)
        # It does not tell when it has done; nothing else makes it work.
        used, ended = 0.0, begun
        while time.perf_counter() - ended < 1.0 and time.perf_counter() - begun < MAX_SECONDS:
            time.sleep(0.05)
            now = cpu_seconds(process.pid) - before
            if now > used:
                used, ended = now, time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    counted = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("celery_task_succeeded_total"))
    return ended - begun, used, int(counted)


def make_exporter(directory: Path) -> Path:
    """Install the exporter into a virtual environment, and return its Python."""
    print(f"installing {' and '.join(EXPORTER)}", flush=True)
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *EXPORTER]
    subprocess.run(pip, check=True, timeout=300)
    return python


def compare(server: RedisServer, python: Path, tasks: int, rounds: int) -> list[str]:
    """Let all listeners hear the same events in turn; return the bounds that were broken."""
    commands = events(server, tasks)
    taken: dict[str, list[tuple[float, float]]] = {}
    broken = []
    for _round in range(rounds):
        for name, label in (("ours", "ours"), ("celery", "celery's bare receiver")):
            seconds, used, answer = measure(server, name, commands)
            taken.setdefault(label, []).append((used, seconds))
            if answer["done"] != tasks or answer["garbage"]:
                broken.append(f"{label} counted {answer['done']} of {tasks} tasks, {answer['garbage']} not understood")
        seconds, used, counted = measure_exporter(server, python, commands)
        taken.setdefault(RIVAL, []).append((used, seconds))
        if counted != tasks:
            broken.append(f"{RIVAL} counted {counted} of {tasks} tasks: its figures are not comparable")
    print(f"\n{f'{len(commands):,} events':<32}{'us CPU each':>13}{'events/CPU s':>14}{'events/s':>10}{'ratio':>7}")
    least = {label: min(values) for label, values in taken.items()}
    for label, (used, seconds) in least.items():
        count, ratio = len(commands), least[RIVAL][0] / used
        rates = f"{used / count * 1e6:>13.1f}{count / used:>14,.0f}{count / seconds:>10,.0f}"
        print(f"  {label:<30}{rates}{ratio:>7.2f}")
    ratio = least[RIVAL][0] / least["ours"][0]
    if ratio < BOUND:
        broken.append(f"{ratio:.2f} times the rate of {RIVAL}, at least {BOUND}")
    return broken


def beside_turns(server: RedisServer, tasks: int) -> list[str]:
    """Measure how long the main thread's turns take under a flood; return the bounds that were broken."""
    _seconds, _used, answer = measure(server, "turns", events(server, tasks))
    longest = max(answer["flooded"])
    print(
        f"\na turn of 200 reads beside {3 * tasks:,} events: {answer['quiet'] * 1000:.0f} ms without, "
        f"{statistics.median(answer['flooded']) * 1000:.0f} ms with them (median of {len(answer['flooded'])}), "
        f"{longest * 1000:.0f} ms at most"
    )
    if longest - answer["quiet"] > DELAY_SECONDS:
        return [f"a turn was delayed by {longest - answer['quiet']:.2f} s, at most {DELAY_SECONDS:g} s"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=15_000, help="tasks of three events each")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each listener; the best of each is compared")
    parser.add_argument("--exporter", type=Path, help="a virtual environment that has the exporter already")
    parser.add_argument("--listen", choices=LISTENERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--expected", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        LISTENERS[options.listen](options.url, options.expected, lambda **said: print(json.dumps(said), flush=True))
        return 0
    # Whoever is slow shall be measured all the same.
    settings = {"client-output-buffer-limit": "pubsub 0 0 0"}
    with (
        tempfile.TemporaryDirectory() as directory,
        redis_running(Path(directory) / "redis", settings=settings) as server,
    ):
        python = options.exporter / "bin" / "python" if options.exporter else make_exporter(Path(directory) / "venv")
        broken = compare(server, python, options.tasks, options.rounds) + beside_turns(server, 5 * options.tasks)
    for line in broken:
        print(f"BROKEN: {line}")
    print("all bounds hold" if not broken else f"{len(broken)} bounds broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
