# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a fleet to what its schedule wants now. What holds is reckoned from the clock, so no run comes too late."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import InForce, edge_between, in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    LOCK_WAIT,
    Platform,
    ScaleRequest,
    ScaleResult,
)

TRIES = 5
"""How often a number is decided anew that somebody else changed meanwhile."""


@dataclass(frozen=True)
class Applied:
    """What was set last: when, in seconds since the epoch, and which bounds."""

    at: float
    min_workers: int
    max_workers: int


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    :ivar applied: what to remember.
    :ivar result: what was done to the workers, or None where there was nothing to do.
    """

    holds: InForce
    applied: Applied
    before: int
    after: int
    result: ScaleResult | None = None


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: for started workers to consume, and for somebody else who scales the fleet."""

    start: float = 300.0
    lock: float = LOCK_WAIT


def number_to_have(policy: Policy, at: float, present: int, applied: Applied | None) -> int:
    """Return how many workers a fleet is to have at C(at), in seconds since the epoch.

    At an edge it is the floor: nobody else would shrink the fleet that an earlier floor has grown. Until the next edge
    a number within the bounds stays, such as one that somebody set by hand.

    :param present: how many there are.
    :param applied: what was set last, None where nothing was.
    """
    floor, ceiling = in_force(policy, at).bounds
    if (
        applied is None
        or (applied.min_workers, applied.max_workers) != (floor, ceiling)
        or edge_between(policy, applied.at, at)
    ):
        return floor
    return min(max(present, floor), ceiling)


def apply(
    fleet: str,
    policy: Policy,
    platform: Platform,
    applied: Applied | None,
    patience: Patience = Patience(),
    clock: Clock = REAL_CLOCK,
    check: bool = False,
) -> Outcome:
    """Bring the fleet to what holds now, workers that go drained, or with C(check) only say what would be done.

    Drains are not waited for: they may last longer than it is to the next edge.

    :raises OperationError: when it could not be done, or not in full.
    """
    first = None
    for left in reversed(range(TRIES)):
        at = clock.wall()
        holds = in_force(policy, at)
        present = _present(fleet, platform)
        first = present if first is None else first
        wanted = number_to_have(policy, at, present, applied)
        now = Applied(at, *holds.bounds)
        if wanted == present:
            return Outcome(holds, now, first, present)
        request = ScaleRequest(
            fleet, wanted, present, wait=wanted > present, wait_timeout=patience.start, lock_wait=patience.lock
        )
        try:
            result = platform.scale(request, check=check)
        except OperationError as error:
            # Somebody else was first, and the number is to be decided on again.
            if left and error.details.get("before") not in (None, present):
                continue
            raise
        if check or not edge_between(policy, at, clock.wall()):
            return Outcome(holds, now, first, result.after, result)
        # Starting took until the next edge, whose own run found this one at work.
        applied = now
    raise OperationError(
        f"bring fleet {fleet} to its schedule",
        f"somebody else changed its number of workers {TRIES} times meanwhile",
        "Find out what else scales the fleet, and have one of the two stop.",
    )


def _present(fleet: str, platform: Platform) -> int:
    """Return how many workers a fleet has."""
    # Who asks to keep what there is, and only for what would be done, changes nothing and is told the number.
    return platform.scale(ScaleRequest(fleet, 0, keep=True), check=True).before
