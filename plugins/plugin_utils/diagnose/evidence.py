# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was gathered of one fleet in one place, as values. What is not known has its reason, and is never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING

HOUR = 3600.0
"""Seconds."""


@dataclass(frozen=True)
class Unknown:
    """Stands for a value that is not known."""

    why: str


NOT_DEPLOYED = Unknown("no autoscaler is deployed here")


@dataclass(frozen=True)
class Bounds:
    """What holds now.

    :ivar ceiling: the most workers that are allowed.
    :ivar origin: who says so, such as C(the limits).
    :ivar paused: whether somebody holds the fleet there.
    """

    ceiling: int
    origin: str
    paused: bool = False


@dataclass(frozen=True)
class Change:
    """A decision that changed the number of workers.

    :ivar at: seconds since the epoch.
    :ivar action: C(up), C(down) or C(bounds).
    """

    at: float
    action: str
    before: int | None
    after: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Past:
    """What the autoscaler keeps of the past.

    :ivar at: when it looked at the fleet last, and C(first_look) when first, in seconds since the epoch.
    :ivar since: from when on all changes are known: it keeps the last ones alone.
    :ivar finished: tasks that ended within the last hour; None where that is not known.
    """

    at: float
    first_look: float
    since: float
    changes: tuple[Change, ...]
    finished: float | None


@dataclass(frozen=True)
class TimedOut:
    """A run that its time limit ended.

    :ivar limit: such as C(soft limit of 300 s).
    """

    id: str
    task: str
    limit: str


Samples = Sequence[tuple[float, float]]
"""Seconds since the epoch and bytes of one process, the oldest first."""


@dataclass(frozen=True)
class Seen:
    """All that is known of a fleet.

    :ivar at: seconds since the epoch, by the clock of the place.
    :ivar workers: as M(muejam.celery.fleet_info) returns them.
    :ivar wanted: how many workers there are to be.
    :ivar policy: whether the fleet has one, by the inventory or the autoscaler.
    :ivar sized_by_daemon: whether the autoscaler sizes it; None where that could not be found out.
    :ivar scaled_by: who else sets the number, where the platform notes it.
    :ivar service: what the autoscaler of the place says of itself, and C(status) of this fleet; C(late) is whether it
        ought to have looked again.
    :ivar unconsumed: queues in which tasks wait, and from which no worker takes, though all of them answered.
    :ivar alerts: names of the alerts on this fleet that fire; None where nobody was asked.
    """

    fleet: str
    at: float
    in_cluster: bool
    workers: Sequence[Mapping[str, Any]] | Unknown
    wanted: int | None
    waiting: float | Unknown
    policy: bool | None
    sized_by_daemon: bool | None
    scaled_by: str
    service: Mapping[str, Any] | Unknown
    status: Mapping[str, Any] | Unknown
    bounds: Bounds | None
    past: Past | Unknown
    timed_out: Sequence[TimedOut] | Unknown
    memory: Mapping[str, Samples] | Unknown
    alerts: frozenset[str] | None = None
    unconsumed: tuple[str, ...] = ()
    late: bool = False

    def in_phase(self, *phases: str) -> list[Mapping[str, Any]]:
        """Return the workers in these phases; none where they are not known."""
        workers = () if isinstance(self.workers, Unknown) else self.workers
        return [worker for worker in workers if worker["phase"] in phases]

    @property
    def idle(self) -> int:
        """How many workers take tasks and are known to have none."""
        return sum(1 for worker in self.in_phase(CONSUMING) if worker.get("active") == 0)

    def firing(self, *names: str) -> list[str]:
        """Return which of these alerts fire."""
        return [name for name in names if name in (self.alerts or ())]


def counted(count: float, what: str, several: str = "") -> str:
    """Return a number of things in words."""
    return f"{count:g} {what}" if count == 1 else f"{count:g} {several or what + 's'}"


def lasting(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
