# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of the week and of the calendar: which floor and ceiling hold at an instant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True)
class Window(ABC):
    """Bounds for some time. One of None is that of the limits."""

    name: str
    min_workers: int | None = None
    max_workers: int | None = None

    @abstractmethod
    def occurrences(self, first: date, last: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
        """Yield its occurrences that start on the days from C(first) to C(last), in seconds since the epoch.

        Others may be among them. The end of an occurrence is the first instant outside.
        """


@dataclass(frozen=True)
class WeeklyWindow(Window):
    """A part of the day on some days of the week.

    C(start) and C(end) are minutes after midnight of the wall clock, C(end) up to 1440. A window
    whose end is not after its start ends on the next day and belongs to the day it starts on.
    C(days) are numbers from Monday, 0.
    """

    start: int = 0
    end: int = _MINUTES_A_DAY
    days: frozenset[int] = frozenset(range(7))

    @property
    def whole_day(self) -> bool:
        """Whether it lasts from one midnight to the next."""
        return (self.start, self.end) == (0, _MINUTES_A_DAY)

    @property
    def minutes(self) -> int:
        """How many minutes of the wall clock it lasts."""
        return self.end - self.start if self.end > self.start else self.end - self.start + _MINUTES_A_DAY

    def occurrences(self, first: date, last: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
        """Yield likewise. An occurrence that lies wholly in a skipped hour has no length and is none."""
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.weekday() in self.days:
                edges = instant(day, self.start, zone), instant(day, self.start + self.minutes, zone)
                if edges[0] < edges[1]:
                    yield edges


@dataclass(frozen=True)
class OneOffWindow(Window):
    """A time that comes once, from C(since) to before C(until), in seconds since the epoch."""

    since: float = 0.0
    until: float = 0.0

    def occurrences(self, first: date, last: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
        """Yield the one that there is, whatever the days."""
        yield self.since, self.until


@dataclass(frozen=True)
class Schedule:
    """Windows in the order of the policy: a later one wins over an earlier one."""

    timezone: str = "UTC"
    windows: tuple[WeeklyWindow | OneOffWindow, ...] = ()

    @property
    def weekly(self) -> tuple[WeeklyWindow, ...]:
        """The windows that come again each week."""
        return tuple(window for window in self.windows if isinstance(window, WeeklyWindow))

    @property
    def one_offs(self) -> tuple[OneOffWindow, ...]:
        """The windows that come once."""
        return tuple(window for window in self.windows if isinstance(window, OneOffWindow))

    def in_force(self, at: float) -> Window | None:
        """Return the window that holds at C(at) seconds since the epoch, or None outside all of them."""
        if not self.windows:
            return None
        zone = zone_of(self.timezone)
        today = datetime.fromtimestamp(at, zone).date()
        # Tomorrow too: where the clock skips midnight, a day's first instant still has yesterday's date
        # in some zones' arithmetic; one more day costs nothing and is never wrong.
        first, last = today - timedelta(days=1), today + timedelta(days=1)
        for window in reversed(self.windows):
            if any(since <= at < until for since, until in window.occurrences(first, last, zone)):
                return window
        return None

    def timeline(self, start: float, end: float) -> Iterator[tuple[float, float, Window | None]]:
        """Yield C((from, to, window)) pieces that cover C([start, end)), neighbours never alike."""
        zone = zone_of(self.timezone)
        first = datetime.fromtimestamp(start, zone).date() - timedelta(days=1)
        last = datetime.fromtimestamp(end, zone).date() + timedelta(days=1)
        found = {start, end}
        for window in self.windows:
            for edges in window.occurrences(first, last, zone):
                found.update(edge for edge in edges if start < edge < end)
        since, current = start, self.in_force(start)
        for edge in sorted(found)[1:-1]:
            following = self.in_force(edge)
            if following != current:
                yield since, edge, current
                since, current = edge, following
        yield since, end, current
