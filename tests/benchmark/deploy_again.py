# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does a deployment take that changes nothing? Compare it with runs of a module that does nothing.

Brings up a systemd host, deploys Redis, a fleet and its autoscaler to it, and deploys the same again. Beside each such
run it times a play of PINGS runs of ansible.builtin.ping on the same host. Ends with 1 when a deployment changed
something, or the median of the ratios is above LIMIT: each compares two times that are twenty seconds apart, and
one disturbance of the machine between them is no fault of a deployment.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable

from bench_host import BenchHost, judged

from muejam_bed.shell import BedError

LIMIT = 1.6
PINGS = 30
FLEET = {"name": "web", "workers": 1, "concurrency": 1, "queues": ["celery"], "policy": {}}


def timed(act: Callable[[], str]) -> tuple[float, str]:
    """Return how many seconds something took, and what it printed."""
    begun = time.monotonic()
    printed = act()
    return time.monotonic() - begun, printed


def measure(host: BenchHost, rounds: int) -> list[float]:
    """Deploy the same again and again, and return the ratio in the middle."""
    pings = [{"hosts": "celery_workers", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}] * PINGS}]
    host.deploy(FLEET)
    ratios = []
    for round_number in range(1, rounds + 1):
        seconds, printed = timed(lambda: host.deploy(FLEET))
        if not re.search(r"changed=0 ", printed):
            raise BedError(f"a deployment of the same changed something:\n{printed}")
        least, _printed = timed(lambda: host.playbook(pings).stdout)
        ratios.append(seconds / least)
        print(
            f"{round_number}: a deployment that changes nothing took {seconds:.1f} s, {PINGS} runs of ping "
            f"{least:.1f} s: ratio {ratios[-1]:.2f}",
            flush=True,
        )
    return [statistics.median(ratios)]


if __name__ == "__main__":
    sys.exit(judged(measure, "deploy-again", LIMIT, __doc__))
