# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the CPU time and the memory that a fleet may use it does use, in per cent.

Of the workers that consume only: those that start burn time to start, those that drain leave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.worker_totals import Life

NOBODY = "no worker consumes"


def cpu_share(before: Mapping[str, Life], hosts: Sequence[FleetReading]) -> tuple[float | None, str]:
    """Return CPU time used over CPU time allowed between two looks, or why that is not known.

    Where the platform tells how fast a worker uses it, one look is enough.

    A worker that was not there at the first look is left out. The workers of a host are not allowed more than the
    host has. More than 100 is a worker that uses more cores than its pool has processes.
    """
    used = allowed = 0.0
    compared = False
    for host in hosts:
        if host.workers is None:
            return None, host.unread
        allowed_here = 0.0
        for worker in consuming(host):
            if worker.cores is None or (worker.cpu_seconds is None and worker.cpu_rate is None):
                return None, f"{worker.name}: {worker.why or 'its CPU time is not known'}"
            if worker.cpu_rate is not None:
                compared = True
                used += worker.cpu_rate
                allowed_here += worker.cores
                continue
            last = before.get(worker.name)
            if last is None or last.life != worker.life or last.cpu_seconds is None or host.at <= last.cpu_at:
                continue
            compared = True
            used += max((worker.cpu_seconds or 0.0) - last.cpu_seconds, 0.0) / (host.at - last.cpu_at)
            allowed_here += worker.cores
        allowed += allowed_here if host.cores is None else min(allowed_here, host.cores)
    if not compared:
        nobody = not any(consuming(host) for host in hosts)
        return None, NOBODY if nobody else "CPU time needs two looks at the same worker"
    return _share(used, allowed)


def memory_share(hosts: Sequence[FleetReading]) -> tuple[float | None, str]:
    """Return memory used over memory allowed, or why that is not known.

    Allowed are the workers' limits, and the host's memory where one has none.
    """
    used = allowed = 0.0
    for host in hosts:
        if host.workers is None:
            return None, host.unread
        here = consuming(host)
        for worker in here:
            if worker.memory is None:
                return None, f"{worker.name}: {worker.why or 'its memory is not known'}"
            used += worker.memory
        limits = sum(math.inf if worker.memory_allowed is None else worker.memory_allowed for worker in here)
        allowed_here = min(limits, math.inf if host.memory is None else host.memory)
        if math.isinf(allowed_here):
            limitless = next(worker for worker in here if worker.memory_allowed is None)
            return None, f"{limitless.name}: {limitless.why or f'the memory of {host.host} is not known'}"
        allowed += allowed_here
    return _share(used, allowed) if allowed else (None, NOBODY)


def consuming(host: FleetReading) -> list[WorkerReading]:
    """Return the workers of a host that consume."""
    return [worker for worker in host.workers or () if worker.phase == CONSUMING]


def _share(used: float, allowed: float) -> tuple[float | None, str]:
    return (100.0 * used / allowed, "") if allowed > 0 else (None, "the limits of the workers add up to 0")
