# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the autoscaler cost? 20 workers, 10 queues, a look every 5 seconds, on a real host.

CPU time is that of its process and of all the programs it ran, over a minute of nothing to do and over a minute of
tasks; memory is what its process has resident, and the proportional share of it. Ends with 1 when it took more than 1 %
of a core or 60 MB.
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
UNIT = "celery-autoscaler.service"
POLICY = {"limits": {"min_workers": WORKERS, "max_workers": WORKERS}}


def main_pid(host: BenchHost) -> str:
    """Return the service's process."""
    return host.output("systemctl", "show", "--property=MainPID", "--value", UNIT)


def cpu_seconds(host: BenchHost) -> float:
    """Return CPU time used by the service and by the programs it has run: utime, stime, cutime, cstime of proc(5)."""
    told = host.output("cat", f"/proc/{main_pid(host)}/stat")
    fields = told.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def megabytes(host: BenchHost) -> dict[str, float]:
    """Return the resident and the proportional set of the service's process, in MB of 1,000,000 bytes."""
    told = host.output("cat", f"/proc/{main_pid(host)}/smaps_rollup")
    return {name: int(found) * 1024 / 1e6 for name, found in re.findall(r"^(Rss|Pss): +(\d+) kB", told, re.MULTILINE)}


def share_of_a_core(host: BenchHost, seconds: float) -> float:
    """Return how much of one core the service used during so many seconds."""
    before, begun = cpu_seconds(host), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(host) - before) / (time.monotonic() - begun)


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
            share_of_a_core(host, 20)
            idle = share_of_a_core(host, seconds)
            host.send(int(seconds * 4), 1.0, "q0")
            busy = share_of_a_core(host, seconds)
            used = megabytes(host)
    except BedError as error:
        print(f"autoscaler_cost: {error}", file=sys.stderr)
        return 2
    print(f"CPU: {idle:.2%} of a core with nothing to do, {busy:.2%} while tasks run (allowed {CORE_SHARE:.0%})")
    print(f"memory: {used['Rss']:.1f} MB resident, {used['Pss']:.1f} MB proportional (allowed {MEGABYTES:.0f})")
    kept = max(idle, busy) <= CORE_SHARE and used["Rss"] <= MEGABYTES
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
