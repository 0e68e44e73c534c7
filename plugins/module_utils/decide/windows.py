# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of the day and the week: which floor and ceiling hold at an instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60


def zone_of(name: str) -> tzinfo:
    """Return the time zone called C(name). UTC is there even on a host that has no database of zones.

    :raises KeyError: when there is none; C(OSError) or C(ValueError) when the name is no name at all.
    """
    return timezone.utc if name == "UTC" else ZoneInfo(name)


@dataclass(frozen=True)
class Window:
    """Bounds for a part of the day on some days of the week.

    C(start) and C(end) are minutes after midnight of the wall clock, C(end) up to 1440. A window
    whose end is not after its start ends on the next day and belongs to the day it starts on.
    C(days) are numbers from Monday, 0.
    """

    name: str
    start: int = 0
    end: int = _MINUTES_A_DAY
    days: frozenset[int] = frozenset(range(7))
    min_workers: int | None = None
    max_workers: int | None = None

    @property
    def whole_day(self) -> bool:
        """Whether it lasts from one midnight to the next."""
        return (self.start, self.end) == (0, _MINUTES_A_DAY)

    def occurrence(self, day: date, zone: tzinfo) -> tuple[float, float] | None:
        """Return the window that starts on C(day) as seconds since the epoch, or None where there is none.

        An occurrence that lies wholly in a skipped hour has no length and is none.
        """
        if day.weekday() not in self.days:
            return None
        end = self.end if self.end > self.start else self.end + _MINUTES_A_DAY
        edges = instant(day, self.start, zone), instant(day, end, zone)
        return edges if edges[0] < edges[1] else None


@dataclass(frozen=True)
class Schedule:
    """Windows in the order of the policy: a later one wins over an earlier one."""

    timezone: str = "UTC"
    windows: tuple[Window, ...] = ()

    def in_force(self, at: float) -> Window | None:
        """Return the window that holds at C(at) seconds since the epoch, or None outside all of them."""
        if not self.windows:
            return None
        zone = zone_of(self.timezone)
        today = datetime.fromtimestamp(at, zone).date()
        for window in reversed(self.windows):
            # Tomorrow too: where the clock skips midnight, a day's first instant still has yesterday's date
            # in some zones' arithmetic; one more day costs nothing and is never wrong.
            for offset in (-1, 0, 1):
                edges = window.occurrence(today + timedelta(days=offset), zone)
                if edges and edges[0] <= at < edges[1]:
                    return window
        return None

    def timeline(self, start: float, end: float) -> Iterator[tuple[float, float, Window | None]]:
        """Yield C((from, to, window)) pieces that cover C([start, end)), neighbours never alike."""
        zone = zone_of(self.timezone)
        day = datetime.fromtimestamp(start, zone).date() - timedelta(days=1)
        last = datetime.fromtimestamp(end, zone).date() + timedelta(days=1)
        edges = {start, end}
        while day <= last:
            for window in self.windows:
                edges.update(edge for edge in window.occurrence(day, zone) or () if start < edge < end)
            day += timedelta(days=1)
        since, current = start, self.in_force(start)
        for edge in sorted(edges)[1:-1]:
            following = self.in_force(edge)
            if following != current:
                yield since, edge, current
                since, current = edge, following
        yield since, end, current


def instant(day: date, minutes: int, zone: tzinfo) -> float:
    """Return when the wall clock of C(zone) shows C(minutes) after midnight of C(day), in seconds since the epoch.

    In a repeated hour it is the first occurrence; in a skipped one the first instant after the gap.
    """
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    first = wall.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.fromtimestamp(first, zone).replace(tzinfo=None) == wall:
        return first
    # Inside a gap the two readings of the wall clock lie on both sides of the change.
    before = wall.replace(tzinfo=zone, fold=1).timestamp()
    offset = datetime.fromtimestamp(first, zone).utcoffset()
    low, high = int(before), int(first)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return float(high)
