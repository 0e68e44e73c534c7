# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the CPU time and the memory that a fleet may use it does use, in per cent.

Of the workers that consume only: those that start burn time to start, those that drain leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.worker_totals import Life

NOBODY = "no worker consumes"


@dataclass(frozen=True)
class Share:
    """Per cent of what is allowed; None is unknown, and C(why) says why."""

    percent: float | None
    why: str = ""


def cpu_share(before: Mapping[str, Life], hosts: Sequence[FleetReading]) -> Share:
    """Return CPU time used over CPU time allowed between two looks.

    A worker that was not there at the first look is left out. The workers of a host are not allowed more than the
    host has. More than 100 is a worker that uses more cores than its pool has processes.
    """
    used = allowed = 0.0
    compared = False
    for host in hosts:
        if host.workers is None:
            return Share(None, host.unread)
        allowed_here = 0.0
        for worker in consuming(host):
            if worker.cpu_seconds is None or worker.cores is None:
                return Share(None, f"{worker.name}: {worker.why or 'its CPU time is not known'}")
            last = before.get(worker.name)
            if last is None or last.life != worker.life or last.cpu_seconds is None or host.at <= last.cpu_at:
                continue
            compared = True
            used += max(worker.cpu_seconds - last.cpu_seconds, 0.0) / (host.at - last.cpu_at)
            allowed_here += worker.cores
        allowed += allowed_here if host.cores is None else min(allowed_here, host.cores)
    if not compared:
        nobody = not any(consuming(host) for host in hosts)
        return Share(None, NOBODY if nobody else "CPU time needs two looks at the same worker")
    return _share(used, allowed)


def memory_share(hosts: Sequence[FleetReading]) -> Share:
    """Return memory used over memory allowed: the workers' limits, the host's memory where one has none."""
    used = allowed = 0.0
    for host in hosts:
        if host.workers is None:
            return Share(None, host.unread)
        here = consuming(host)
        for worker in here:
            if worker.memory is None:
                return Share(None, f"{worker.name}: {worker.why or 'its memory is not known'}")
            used += worker.memory
        limits = [worker.memory_allowed for worker in here]
        together = sum(limit for limit in limits if limit is not None)
        if here and None in limits and host.memory is None:
            return Share(None, f"{host.host}: its memory is not known")
        if here:
            capped = together if host.memory is None else min(together, host.memory)
            allowed += host.memory if None in limits and host.memory is not None else capped
    return _share(used, allowed) if allowed else Share(None, NOBODY)


def consuming(host: FleetReading) -> list[WorkerReading]:
    """Return the workers of a host that consume."""
    return [worker for worker in host.workers or () if worker.phase == CONSUMING]


def _share(used: float, allowed: float) -> Share:
    return Share(100.0 * used / allowed) if allowed > 0 else Share(None, "nothing is allowed")
