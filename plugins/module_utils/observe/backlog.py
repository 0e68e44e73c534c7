# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to do: tasks that wait, run or are reserved; and apart from them, those that wait for their time.

Workers tell what they hold, and that is what counts, on every broker and however they acknowledge. What a broker tells
as not acknowledged means something else on each: with early acknowledgement tasks that run are not among it, and tasks
with an ETA always are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DRAINING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)


@dataclass(frozen=True)
class Backlog:
    """The number of tasks; None is unknown, and C(why) says why. C(bounds) where it is only an upper bound."""

    value: float | None
    why: str = ""
    bounds: Bounds | None = None


def backlog(
    hosts: Sequence[FleetReading], queues: QueuesReading, depth: float | None, why: str, running: float | None
) -> Backlog:
    """Return what waits, runs or is reserved.

    :param depth: tasks that wait at the broker.
    :param why: why that or C(running) is None.
    """
    if depth is None or running is None:
        return Backlog(None, why)
    reserved, silent = 0, ""
    for worker in _holders(hosts):
        if worker.reserved is not None:
            reserved += worker.reserved
        elif worker.phase == CONSUMING:
            silent = f"{worker.name}: {worker.why or 'it does not tell what it holds'}"
        # else it drains, and its status file went a moment before it: it has given back what it did not begin.
    if not silent:
        return Backlog(depth + running + reserved)
    if queues.unacknowledged is None:
        return Backlog(None, silent)
    least = depth + running
    most = least + queues.unacknowledged
    why = f"{silent}; of what is not acknowledged the broker does not tell what runs and what waits for its time"
    return Backlog(most, bounds=Bounds(least, most, why))


def scheduled(hosts: Sequence[FleetReading]) -> tuple[float | None, str]:
    """Return how many tasks workers hold until their time has come, or why that is not known."""
    total = 0
    unread = "; ".join(host.unread for host in hosts if host.unread)
    if unread:
        return None, unread
    for worker in _holders(hosts):
        if worker.scheduled is not None:
            total += worker.scheduled
        elif worker.phase == CONSUMING:
            return None, f"{worker.name}: {worker.why or 'it does not tell what waits in it for its time'}"
    return float(total), ""


def _holders(hosts: Sequence[FleetReading]) -> list[WorkerReading]:
    return [worker for host in hosts for worker in host.workers or () if worker.phase in (CONSUMING, DRAINING)]
