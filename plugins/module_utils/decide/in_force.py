# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which floor and ceiling hold at an instant, until when, and whether they began to hold since another instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy

A_ROUND = 8 * 86400.0
"""Seconds in which all edges of a week come, also where the clock is changed in it."""


@dataclass(frozen=True)
class InForce:
    """What holds at an instant.

    :ivar window: the name of the window, or None where the limits alone hold.
    :ivar until: when other bounds begin to hold, in seconds since the epoch; None where they never do.
    """

    window: str | None
    min_workers: int
    max_workers: int
    until: float | None

    @property
    def bounds(self) -> tuple[int, int]:
        """Floor and ceiling."""
        return self.min_workers, self.max_workers


def in_force(policy: Policy, at: float) -> InForce:
    """Return what holds at C(at), in seconds since the epoch."""
    window = policy.schedule.in_force(at)
    return InForce(window.name if window else None, *policy.limits.narrowed(window), _next_edge(policy, at))


def edge_between(policy: Policy, since: float, at: float) -> bool:
    """Return whether other bounds began to hold after C(since), up to C(at), both in seconds since the epoch."""
    if any(since < cut <= at and _changes_at(policy, cut) for cut in _cuts(policy)):
        return True
    # Whatever comes each week came in the last one.
    return any(since < edge <= at for edge in _edges(policy, max(since, at - A_ROUND), at + 1))


def _next_edge(policy: Policy, at: float) -> float | None:
    coming = next((edge for edge in _edges(policy, at, at + A_ROUND) if edge > at), None)
    # A window that comes once may hide all that comes each week for longer than that.
    cuts = [cut for cut in _cuts(policy) if cut > at]
    if coming is not None:
        return coming
    for cut in cuts:
        edge = next(_edges(policy, cut - 1, cut + A_ROUND), None)
        if edge is not None:
            return edge
    return None


def _edges(policy: Policy, start: float, end: float) -> Iterator[float]:
    """Yield when other bounds begin to hold than those before, after C(start) and before C(end)."""
    before = None
    for since, _until, window in policy.schedule.timeline(start, end):
        bounds = policy.limits.narrowed(window)
        if before is not None and bounds != before:
            yield since
        before = bounds


def _cuts(policy: Policy) -> list[float]:
    return sorted({cut for window in policy.schedule.one_offs for cut in (window.since, window.until)})


def _changes_at(policy: Policy, cut: float) -> bool:
    before, after = (policy.limits.narrowed(policy.schedule.in_force(each)) for each in (cut - 0.5, cut))
    return before != after
