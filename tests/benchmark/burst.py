# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A burst for real: 600 tasks of a second at once, on a host with 2 workers of one process that target mode scales.

Prints when the queue was drained, when the fleet was back at 2, and the worker-seconds until then (each worker from the
order to start it until it is gone). Ends with 1 when one of the limits is broken, a task is lost or ran twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

from bench_host import BenchHost, bench_host

from muejam_bed.shell import BedError

TASKS, FEW, MANY = 600, 2, 20
DRAINED_WITHIN, WORKER_SECONDS = 50.0, 1200.0
GIVE_UP = 300.0


def worker_seconds(cycles: list[dict[str, Any]], begin: float, end: float) -> float:
    """Return the sum over time of the workers there were, draining ones included, as each look saw them."""
    total = 0.0
    for cycle, following in zip(cycles, cycles[1:]):
        until = min(following["at"], end)
        # From a decision on they are on their way, though the next look is the first to see them.
        workers = max(cycle["to"], cycle["workers"]) + cycle["draining"]
        total += workers * max(0.0, until - max(cycle["at"], begin))
    return total


def run(host: BenchHost, promise: float) -> bool:
    """Send the burst, wait until it is calm again, and report; return whether the limits were kept."""
    sent = host.send(TASKS, 1.0, "web")
    begin = min(task["sent"] for task in sent)
    deadline = time.monotonic() + GIVE_UP
    while True:
        cycles = [line for line in host.log() if "action" in line and line["at"] >= begin - 60]
        last = cycles[-1]
        ended = host.finished()
        calm = last["workers"] == FEW and not last["draining"] and last["at"] > begin + 15
        if calm and len(ended) >= TASKS:
            break
        if time.monotonic() > deadline:
            print(f"not over after {GIVE_UP:.0f} s: {len(ended)} done, {last}", file=sys.stderr)
            return False
        time.sleep(1)
    drained = max(entry["ended"] for entry in ended) - begin
    back = next(t["at"] for t in cycles if t["at"] > begin + 15 and t["workers"] == FEW and not t["draining"])
    spent = worker_seconds(cycles, begin, back)
    runs = Counter(entry["id"] for entry in ended)
    lost = len({task["id"] for task in sent} - set(runs))
    twice = sum(count > 1 for count in runs.values())
    for cycle in cycles:
        if cycle["from"] != cycle["to"]:
            print(f"{cycle['at'] - begin:6.1f} s  {cycle['from']:2} -> {cycle['to']:2}  {'; '.join(cycle['reasons'])}")
    print(f"promise {promise:.0f} s: drained after {drained:.1f} s (allowed {DRAINED_WITHIN:.0f})")
    print(f"back at {FEW} after {back - begin:.1f} s, {spent:.0f} worker-seconds (allowed {WORKER_SECONDS:.0f})")
    print(f"lost {lost}, run twice {twice}")
    return drained <= DRAINED_WITHIN and spent <= WORKER_SECONDS and lost == twice == 0


def main() -> int:
    """Measure and judge."""
    commands = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands.add_argument("--promise", type=float, default=20.0, help="target.wait_time in seconds")
    commands.add_argument("--interval", default="2s", help="time between two looks")
    given = commands.parse_args()
    fleet = {
        "name": "web",
        "workers": FEW,
        "queues": ["web"],
        "concurrency": 1,
        "prefetch_multiplier": 1,
        "policy": {"limits": {"min_workers": FEW, "max_workers": MANY}, "target": {"wait_time": given.promise}},
    }
    try:
        with bench_host("burst") as host:
            host.deploy(fleet, celery_autoscaler_interval=given.interval)
            kept = run(host, given.promise)
    except BedError as error:
        print(f"burst: {error}", file=sys.stderr)
        return 2
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
