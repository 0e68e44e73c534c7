# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come, day by day, as people look at a calendar. For programs: timetable.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of

WIDTH = 100
NO_WINDOW = "no window"
_HOUR = 3600
_INDENT = " " * 16
_GAP = "   "


@dataclass(frozen=True)
class Piece:
    """Bounds that hold from C(since) to before C(until), in seconds since the epoch, and the window that sets them."""

    since: float
    until: float
    floor: int
    ceiling: int
    window: str | None


@dataclass(frozen=True)
class ClockChange:
    """At C(at), in seconds since the epoch, the clock goes from one time to another."""

    at: float
    before: datetime
    after: datetime

    def __str__(self) -> str:
        way = "forward" if self.after > self.before else "back"
        return f"the clock goes {way} from {self.before:%H:%M} to {self.after:%H:%M}"


@dataclass(frozen=True)
class Day:
    """What of a day is asked for: from C(since) to before C(until), in seconds since the epoch."""

    day: date
    since: float
    until: float
    pieces: tuple[Piece, ...]
    changes: tuple[ClockChange, ...]


@dataclass(frozen=True)
class Agenda:
    """Days in a row, on the clock of the zone called C(zone)."""

    zone: str
    days: tuple[Day, ...]


def agenda(policy: Policy, start: float, days: int) -> Agenda:
    """Return the bounds of C(days) days of the calendar, the first of which begins at C(start), if not at midnight.

    :param start: seconds since the epoch.
    """
    zone = zone_of(policy.schedule.timezone)
    first = datetime.fromtimestamp(start, zone).date()
    found = []
    for number in range(days):
        day = first + timedelta(days=number)
        since, until = max(start, instant(day, 0, zone)), instant(day + timedelta(days=1), 0, zone)
        # In some zone a day was left out.
        if since < until:
            pieces = tuple(
                Piece(begin, end, *policy.limits.narrowed(window), window.name if window else None)
                for begin, end, window in policy.schedule.timeline(since, until)
            )
            found.append(Day(day, since, until, pieces, tuple(_changes(since, until, zone))))
    return Agenda(policy.schedule.timezone, tuple(found))


def in_rows(shown: Agenda) -> Iterator[str]:
    """Yield lines of at most C(WIDTH) letters, as far as names of windows allow: a day, and below what does not fit.

    A piece reads C(08:00-18:00 5-20 peak): from when until when, floor and ceiling, window.
    """
    zone = zone_of(shown.zone)
    for day in shown.days:
        line = f"{day.day:%a %Y-%m-%d}".ljust(len(_INDENT))
        for place, piece in enumerate(day.pieces):
            text = f"{_span(piece, day, zone)} {piece.floor}-{piece.ceiling} {piece.window or NO_WINDOW}"
            if place and len(line) + len(_GAP) + len(text) > WIDTH:
                yield line
                line = _INDENT + text
            else:
                line += (_GAP if place else "") + text
        yield line
        yield from (f"{_INDENT}{change}" for change in day.changes)


def clock(at: float, zone: tzinfo) -> str:
    """Return what the clock shows, with the offset where it shows that twice."""
    moment = datetime.fromtimestamp(at, zone)
    text = f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
    first, second = (moment.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    # Later it is less ahead of UTC only where the clock was set back.
    return text + moment.isoformat()[19:] if first > second else text


def _span(piece: Piece, day: Day, zone: tzinfo) -> str:
    ends_with_day = piece.until == day.until
    return f"{clock(piece.since, zone)}-{'24:00' if ends_with_day else clock(piece.until, zone)}"


def _changes(since: float, until: float, zone: tzinfo) -> Iterator[ClockChange]:
    def offset(at: float) -> timedelta:
        return datetime.fromtimestamp(at, zone).utcoffset() or timedelta()

    # A change at midnight belongs to the day that begins with it.
    low = int(since) - 1
    while low < until - 1:
        high = min(low + _HOUR, int(until) - 1)
        if offset(low) != offset(high):
            early, late = low, high
            while late - early > 1:
                middle = (early + late) // 2
                early, late = (middle, late) if offset(middle) == offset(low) else (early, middle)
            after = datetime.fromtimestamp(late, zone).replace(tzinfo=None)
            yield ClockChange(late, after - offset(late) + offset(early), after)
        low = high
