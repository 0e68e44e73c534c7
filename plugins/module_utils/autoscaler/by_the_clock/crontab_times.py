# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a crontab, which knows no zones and no years, has to wake up who reckons from the clock what holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import ODD_DAYS_FOR
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.eras import all_weeks, eras
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import cron
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.fidelity import (
    APPROXIMATED,
    EXACT,
    Fidelity,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow, WeeklyWindow

AHEAD = int(ODD_DAYS_FOR / 86400)
"""Days whose edges are looked at: all that changes of two clocks make of the times of a week."""

EVERY_HOUR = "0 * * * *"
"""In an hour that comes twice on the host's clock cron runs what has an hour only once. This it runs both times."""


def crontab_times(policy: Policy, at: float, wall: Callable[[float], datetime] = datetime.fromtimestamp) -> list[str]:
    """Return the five fields of each line, in the order of the week, from C(at) (seconds since the epoch) on.

    :param wall: what the clock of the host shows at an instant, without a zone.
    """
    zone = zone_of(policy.schedule.timezone)
    found: dict[int, set[int]] = {}
    first = datetime.fromtimestamp(at, zone).date()
    for edge in all_weeks(policy, at):
        for number in range(-1, AHEAD):
            day = first + timedelta(days=number)
            if day.weekday() in edge.days:
                shown = wall(instant(day, edge.minute, zone))
                found.setdefault(shown.hour * 60 + shown.minute, set()).add(shown.weekday())
    weekly = [cron(minute, sorted(days)) for minute, days in sorted(found.items())]
    once = [_date(wall(math.ceil(era.begins.at / 60) * 60.0)) for era in eras(policy, at) if era.begins]
    return [*weekly, *dict.fromkeys(once), EVERY_HOUR]


def of_crontab(policy: Policy) -> list[Fidelity]:
    """Return what becomes of each window."""
    return [
        Fidelity(f"schedule.windows[{place}]", *_kept(window, policy.schedule.timezone))
        for place, window in enumerate(policy.schedule.windows)
    ]


def _kept(window: WeeklyWindow | OneOffWindow, zone: str) -> tuple[str, str]:
    how = f"its bounds, in {zone}, by what the clock of the host showed when it was written"
    if isinstance(window, OneOffWindow) and (window.since % 60 or window.until % 60):
        return APPROXIMATED, f"{how}; at the next full minute, for cron has no seconds"
    return EXACT, how


def _date(shown: datetime) -> str:
    return f"{shown.minute} {shown.hour} {shown.day} {shown.month} *"
