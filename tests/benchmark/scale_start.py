# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do workers start together? Scale a real fleet from 2 to 10 and compare with the slowest unit's own start.

Brings up a systemd host, deploys Redis and a fleet to it, scales it, and takes the host down again. Ends with 1 when
the task, as Ansible timed it, took more than LIMIT times of the slowest start, as systemd timed it in the same run.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from bench_host import BenchHost, judged

from muejam_bed.shell import say

LIMIT = 1.3
FEW, MANY = 2, 10


def scale(host: BenchHost, workers: int) -> tuple[float, dict[str, Any]]:
    """Scale the fleet; return how many seconds the task took, and its result."""
    done = host.module("muejam.celery.scale", {"fleet": "web", "workers": workers})
    task = json.loads(done.stdout)["plays"][0]["tasks"][0]
    times = [datetime.fromisoformat(task["task"]["duration"][edge]) for edge in ("start", "end")]
    result: dict[str, Any] = next(iter(task["hosts"].values()))
    return (times[1] - times[0]).total_seconds(), result


def measure(host: BenchHost, rounds: int) -> list[float]:
    """Deploy, then scale as often as asked for, and return the ratios."""
    say("deploying the broker and the fleet")
    host.playbook("tests/host/scaling/fleet.yml", extra_vars={"scale_workers": FEW})
    ratios = []
    for round_number in range(1, rounds + 1):
        scale(host, FEW)
        seconds, result = scale(host, MANY)
        unchanged, _same = scale(host, MANY)
        slowest = max(result["start_seconds"].values())
        ratios.append(seconds / slowest)
        print(
            f"{round_number}: {FEW} -> {result['after']} workers in {seconds:.2f} s, slowest of "
            f"{len(result['start_seconds'])} starts {slowest:.2f} s: ratio {ratios[-1]:.2f} "
            f"(a run that changes nothing takes {unchanged:.2f} s)",
            flush=True,
        )
    return ratios


if __name__ == "__main__":
    sys.exit(judged(measure, "scale-start", LIMIT, __doc__))
