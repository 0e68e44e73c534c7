# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the autoscaler cost? 20 workers, 10 queues, a look every 5 seconds, on a real host.

CPU time is that of its process and of all the programs it ran, over a minute of nothing to do and over a minute of
tasks; beside it stands what the idle workers took themselves, for that comparison holds on a slower machine too. Memory
is what its process has resident, and the proportional share of it. Ends with 1 when it took more than 1 % of a core or
60 MB.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time

from bench_host import BenchHost, bench_host

from muejam_bed.shell import BedError

WORKERS, QUEUES = 20, 10
CORE_SHARE, MEGABYTES = 0.01, 60.0
SERVICE, FLEET = "celery-autoscaler.service", "celery-worker-web@*.service"
POLICY = {"limits": {"min_workers": WORKERS, "max_workers": WORKERS}}


def main_pids(host: BenchHost, units: str) -> set[int]:
    """Return the main processes of the units that match."""
    told = host.output("systemctl", "show", "--property=MainPID", "--value", "--", units)
    return {int(pid) for pid in told.split()}


def cpu_seconds(host: BenchHost, units: str) -> float:
    """Return CPU time used by units, by what runs below them and by what did: the four times of proc(5)."""
    told = host.output("sh", "-c", "cat /proc/[0-9]*/stat 2>&- || true")
    fields = {int(line.split()[0]): line.rpartition(")")[2].split() for line in told.splitlines()}
    theirs: set[int] = set()
    below = main_pids(host, units)
    while below:
        theirs |= below
        below = {pid for pid, words in fields.items() if int(words[1]) in theirs} - theirs
    ticks = sum(int(ticks) for pid in theirs if pid in fields for ticks in fields[pid][11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(host: BenchHost) -> dict[str, float]:
    """Return the resident and the proportional set of the service's process, in MB of 1,000,000 bytes."""
    [pid] = main_pids(host, SERVICE)
    told = host.output("cat", f"/proc/{pid}/smaps_rollup")
    return {name: int(found) * 1024 / 1e6 for name, found in re.findall(r"^(Rss|Pss): +(\d+) kB", told, re.MULTILINE)}


def shares_of_a_core(host: BenchHost, seconds: float) -> tuple[float, float]:
    """Return how much of one core the service used during so many seconds, and how much the fleet."""
    before, begun = [cpu_seconds(host, units) for units in (SERVICE, FLEET)], time.monotonic()
    time.sleep(seconds)
    spent = [cpu_seconds(host, units) - was for units, was in zip((SERVICE, FLEET), before)]
    service, fleet = (share / (time.monotonic() - begun) for share in spent)
    return service, fleet


def main() -> int:
    """Measure and judge."""
    commands = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands.add_argument("--seconds", type=float, default=60.0)
    seconds = commands.parse_args().seconds
    queues = [f"q{number}" for number in range(QUEUES)]
    try:
        with bench_host("autoscaler-cost") as host:
            fleet = {"name": "web", "workers": WORKERS, "queues": queues, "concurrency": 1, "policy": POLICY}
            host.deploy(fleet, celery_autoscaler_interval="5s")
            # What it imports and reads once is not what it costs.
            shares_of_a_core(host, 20)
            idle, workers = shares_of_a_core(host, seconds)
            host.send(int(seconds * 4), 1.0, "q0")
            busy, _working = shares_of_a_core(host, seconds)
            used = megabytes(host)
    except BedError as error:
        print(f"autoscaler_cost: {error}", file=sys.stderr)
        return 2
    print(f"CPU: {idle:.2%} of a core with nothing to do, {busy:.2%} while tasks run (allowed {CORE_SHARE:.0%})")
    print(f"{WORKERS} idle workers themselves: {workers:.2%}; ratio {max(idle, busy) / workers:.3f}")
    print(f"memory: {used['Rss']:.1f} MB resident, {used['Pss']:.1f} MB proportional (allowed {MEGABYTES:.0f})")
    kept = max(idle, busy) <= CORE_SHARE and used["Rss"] <= MEGABYTES
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
