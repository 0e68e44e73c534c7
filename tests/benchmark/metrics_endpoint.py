# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What do the metrics of many fleets cost? 20 fleets, 400 workers, 200 names of tasks.

The service's own loop and its own server of metrics run in a process of their own, over made-up fleets that change with
each look; all libraries of the service are loaded. The answer is timed from outside, over HTTP, as Prometheus asks.
Ends with 1 when the slowest of the answers took more than 300 ms, or the process more than 90 MB.

C(--everywhere) has each of the 200 tasks run in every fleet, in place of in one: 20 times as many series of tasks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests" / "bed"))

from muejam_bed.collection import collections_path  # noqa: E402

sys.path.insert(0, str(collections_path()))

FLEETS, WORKERS, TASKS = 20, 400, 200
MILLISECONDS, MEGABYTES = 300.0, 90.0
BROKER = "redis://queue:6379/0"


def serve(everywhere: bool) -> None:
    """Serve metrics and look at the fleets each time a line comes; print the port first."""
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import (  # noqa: F401
        run as everything_that_the_service_loads,
    )
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import FleetMetrics
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics_server import serve
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.task_metrics import TaskMetrics
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
        Configuration,
        WatchedFleet,
    )
    from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
    from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
    from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
    from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
        FleetReading,
        QueuesReading,
        WorkerReading,
    )
    from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import (
        FleetEvents,
        StreamHealth,
        TaskCounts,
    )
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform

    # What reads queues and events is loaded with the first connection, whether that succeeds or not.
    open_broker("redis://127.0.0.1:1/0", timeout=0.1)

    names = [f"fleet{number}" for number in range(FLEETS)]
    tasks = [f"shop.orders.tasks.{number}" for number in range(TASKS)]
    share = TASKS // FLEETS
    counts = {
        name: [TaskCounts(task, name) for task in (tasks if everywhere else tasks[place * share : (place + 1) * share])]
        for place, name in enumerate(names)
    }

    class Busy(FakePlatform):
        looks = 0

        def read(self, fleet: str) -> Any:
            workers = tuple(
                WorkerReading(
                    f"{fleet}-{number}@app1",
                    "consuming",
                    f"{number}:1",
                    active=1,
                    reserved=1,
                    scheduled=1,
                    started=10 * self.looks + 1,
                    taken={fleet: 10 * self.looks + 2},
                    cpu_seconds=3.0 * self.looks,
                    cores=1.0,
                    memory=3e8,
                    memory_allowed=5e8,
                    concurrency=1,
                )
                for number in range(1, WORKERS // FLEETS + 1)
            )
            return FleetReading("app1", now(), workers, cores=64.0, memory=2e11)

    busy = Busy()

    def now() -> float:
        return 1_767_225_600.0 + 5.0 * busy.looks

    class Link:
        def __init__(self, fleet: str) -> None:
            self._fleet = fleet

        def read(self, queues: object, marks: object = None) -> Any:
            waiting = 40 + busy.looks
            by_priority = {self._fleet: {"0": waiting, "3": 0, "6": 0, "9": 0}}
            return QueuesReading(now(), {self._fleet: waiting}, 6, by_priority=by_priority)

        def close(self) -> None:
            pass

    class Heard:
        def events(self, fleet: str) -> Any:
            return FleetEvents(fleet, tuple(one.copy() for one in counts[fleet]))

        def health(self) -> Iterable[Any]:
            yield BROKER, StreamHealth(connected_for=1.0)

    with tempfile.TemporaryDirectory() as folder:
        fleets = tuple(
            WatchedFleet(name, BROKER, queues=(name,), policy=parse_policy({}), task_events=True) for name in names
        )
        files = {what: str(Path(folder, what)) for what in ("state", "status")}
        configuration = Configuration(mode="advise", fleets=fleets, **files)
        daemon = Daemon(
            load=lambda: configuration,
            platform=busy,
            tell=lambda line: None,
            notifier=Notifier({}),
            clock=Clock(now, now),
            link=lambda fleet, seconds: Link(fleet.name),  # type: ignore[arg-type]
        )
        daemon.begin()
        collectors = FleetMetrics(daemon), TaskMetrics(daemon, Heard())  # type: ignore[arg-type]
        print(serve("127.0.0.1", 0, collectors), flush=True)
        for _line in sys.stdin:
            busy.looks += 1
            for of_fleet in counts.values():
                for one in of_fleet:
                    one.succeeded += 3
                    one.took(0.7)
            daemon.run_cycles()
            print("looked", flush=True)


def resident(pid: int) -> float:
    """Return what a process has resident, in MB of 1,000,000 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    [kilobytes] = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used: two of the times of proc(5)."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and judge."""
    commands = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands.add_argument("--everywhere", action="store_true")
    commands.add_argument("--times", type=int, default=60)
    commands.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = commands.parse_args()
    if given.serve:
        serve(given.everywhere)
        return 0
    command = [sys.executable, __file__, "--serve", *(["--everywhere"] if given.everywhere else [])]
    took: list[float] = []
    spent: list[float] = []
    body = b""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        port = int(service.stdout.readline())
        for _time in range(given.times):
            service.stdin.write("look\n")
            service.stdin.flush()
            service.stdout.readline()
            begun, before = time.perf_counter(), cpu_seconds(service.pid)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as said:
                body = said.read()
            took.append(1000 * (time.perf_counter() - begun))
            spent.append(1000 * (cpu_seconds(service.pid) - before))
        used = resident(service.pid)
        service.stdin.close()
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    print(f"{FLEETS} fleets, {WORKERS} workers, {TASKS} tasks: {series} series, {len(body) / 1e6:.1f} MB")
    print(f"answer: {statistics.median(took):.0f} ms, {max(took):.0f} ms at most (allowed {MILLISECONDS:.0f})")
    # On a busy machine this is what counts.
    print(f"CPU time of it: {statistics.mean(spent):.0f} ms")
    print(f"memory: {used:.1f} MB resident (allowed {MEGABYTES:.0f})")
    kept = max(took) <= MILLISECONDS and used <= MEGABYTES
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
