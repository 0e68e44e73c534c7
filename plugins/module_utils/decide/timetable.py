# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come, as a person and a program read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of

A_DAY = 86400.0  # seconds


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
                "window": window.name if window else None,
                "min_workers": floor,
                "max_workers": ceiling,
            }
        )
    return pieces
