# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come, as a person and a program read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import Window

A_DAY = 86400.0  # seconds
_WEEK = 8 * A_DAY  # what comes again each week has come again by then


@dataclass(frozen=True)
class Edge:
    """The bounds that hold from C(at) on, in seconds since the epoch, and the window that sets them."""

    at: float
    floor: int
    ceiling: int
    window: str | None


def edges_from(policy: Policy, at: float) -> tuple[Edge, Edge | None]:
    """Return the bounds that hold at C(at), and the next ones; None where these hold for ever."""
    schedule = policy.schedule
    ends = [at + _WEEK]
    # Of what comes once, the first time that is further ahead.
    ends += [edge + 1 for window in schedule.one_offs for edge in (window.since, window.until) if edge > at]
    for end in sorted(ends):
        pieces = list(schedule.timeline(at, end)) if schedule.windows else []
        found = [Edge(since, *policy.limits.narrowed(w), _name(w)) for since, _until, w in pieces[:2]]
        if len(found) > 1:
            return found[0], found[1]
    return Edge(at, *policy.limits.narrowed(schedule.in_force(at)), _name(schedule.in_force(at))), None


def _name(window: Window | None) -> str | None:
    return window.name if window else None


def timetable(policy: Policy, start: float, end: float) -> list[dict[str, Any]]:
    """Return which floor and ceiling hold when, from C(start) to C(end), in seconds since the epoch.

    Each piece begins where the one before ends. Times are RFC 3339, on the clock of the policy's zone.
    """
    zone = zone_of(policy.schedule.timezone)
    pieces = []
    for since, until, window in policy.schedule.timeline(start, end):
        floor, ceiling = policy.limits.narrowed(window)
        pieces.append(
            {
                "from": datetime.fromtimestamp(since, zone).isoformat(),
                "to": datetime.fromtimestamp(until, zone).isoformat(),
                "window": _name(window),
                "min_workers": floor,
                "max_workers": ceiling,
            }
        )
    return pieces
