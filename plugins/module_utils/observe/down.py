# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that are wanted and down: since when, and when to start them again. Pure.

systemd starts a worker that crashed a few times by itself, and none that ended with exit code 0. What it has given up,
or never tries, is started again by the autoscaler: after a moment, and then less and less often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    FleetReading,
    WorkerReading,
)

GRACE = 15.0
"""Seconds for which a worker must be down: whoever restarts it by hand, in two steps, is not interfered with."""

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 300.0
"""Seconds between two starts of a worker; the pause doubles from the first to the longest."""

WELL_AFTER = 60.0
"""Seconds after which a worker that consumes is well, and its starts are forgotten."""


@dataclass(frozen=True)
class Down(OnAClock):
    """A worker that was down.

    :ivar since: seconds since the epoch; None while it is on its way up, or runs and is not known to be well yet.
    :ivar starts: how often it was started again.
    :ivar started_at: when it last was.
    """

    since: float | None = field(metadata=INSTANT)
    starts: int = 0
    started_at: float = field(default=0.0, metadata=INSTANT)

    def due(self, at: float) -> bool:
        """Return whether it is time to start the worker again."""
        if self.since is None or at - self.since < GRACE:
            return False
        return not self.starts or at - self.started_at >= pause(self.starts)


def pause(starts: int) -> float:
    """Return for how many seconds to let a worker be that was started again C(starts) times, 1 or more."""
    return float(min(FIRST_PAUSE * 2 ** min(starts - 1, 20), LONGEST_PAUSE))


def is_down(worker: WorkerReading) -> bool:
    """Return whether a worker is down and systemd does not try it again by itself."""
    return worker.phase == DOWN and not worker.retried


def watch(before: Mapping[str, Down], at: float, hosts: Sequence[FleetReading]) -> dict[str, Down]:
    """Return the workers that are or were down, by name, after one more look at C(at) seconds since the epoch."""
    if any(host.workers is None for host in hosts):
        return dict(before)
    watched = {}
    for worker in (worker for host in hosts for worker in host.workers or ()):
        known = before.get(worker.name)
        if is_down(worker):
            since = at - (worker.down_for or 0.0) if known is None or known.since is None else known.since
            watched[worker.name] = replace(known or Down(since), since=since)
        elif known and known.starts and not (worker.phase == CONSUMING and (worker.since or 0.0) >= WELL_AFTER):
            watched[worker.name] = replace(known, since=None)
    return watched


def due(down: Mapping[str, Down], at: float) -> list[str]:
    """Return the names of the workers that it is time to start again."""
    return [name for name, each in down.items() if each.due(at)]


def started(down: Mapping[str, Down], names: Iterable[str], at: float) -> dict[str, Down]:
    """Return the same after these were started again."""
    return {**down, **{name: replace(down[name], starts=down[name].starts + 1, started_at=at) for name in names}}
