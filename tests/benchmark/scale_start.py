# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do workers start together? Scale a real fleet from 2 to 10 and compare with the slowest unit's own start.

Brings up a systemd host, deploys Redis and a fleet to it, scales it, and takes the host down again. From what the task
took, as Ansible timed it, the time of a task that does nothing is taken away (ansible.builtin.ping, beside it on the
same host): it says how fast the machine and the way to the host are. Ends with 1 when what is left was more than LIMIT
times of the slowest start, as systemd timed it in the same run.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from bench_host import BenchHost, judged

from muejam_bed.shell import say

LIMIT = 1.2
FEW, MANY = 2, 10


def timed(host: BenchHost, module: str, **arguments: Any) -> tuple[float, dict[str, Any]]:
    """Run a module; return how many seconds its task took, and its result."""
    task = json.loads(host.module(module, arguments).stdout)["plays"][0]["tasks"][0]
    begun, ended = (datetime.fromisoformat(task["task"]["duration"][edge]) for edge in ("start", "end"))
    result: dict[str, Any] = next(iter(task["hosts"].values()))
    return (ended - begun).total_seconds(), result


def measure(host: BenchHost, rounds: int) -> list[float]:
    """Deploy, then scale as often as asked for, and return the ratios."""
    say("deploying the broker and the fleet")
    host.playbook("tests/host/scaling/fleet.yml", extra_vars={"scale_workers": FEW})
    ratios = []
    for round_number in range(1, rounds + 1):
        timed(host, "muejam.celery.scale", fleet="web", workers=FEW)
        nothing, _pong = timed(host, "ansible.builtin.ping")
        seconds, result = timed(host, "muejam.celery.scale", fleet="web", workers=MANY)
        unchanged, _same = timed(host, "muejam.celery.scale", fleet="web", workers=MANY)
        slowest = max(result["start_seconds"].values())
        ratios.append((seconds - nothing) / slowest)
        print(
            f"{round_number}: {FEW} -> {result['after']} workers in {seconds:.2f} s, {nothing:.2f} s of them Ansible's "
            f"own, slowest of {len(result['start_seconds'])} starts {slowest:.2f} s: ratio {ratios[-1]:.2f} "
            f"({seconds / slowest:.2f} with Ansible's own; a run that changes nothing takes {unchanged:.2f} s)",
            flush=True,
        )
    return ratios


if __name__ == "__main__":
    sys.exit(judged(measure, "scale-start", LIMIT, __doc__))
