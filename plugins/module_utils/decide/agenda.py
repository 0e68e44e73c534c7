# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come, day by day, as people look at a calendar. For programs: timetable.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow, Window

WIDTH = 110
NO_WINDOW = "no window"
ONCE = "once"
PAUSED = "paused"
"""What a piece may be: of a window that comes once, or of a pause."""

_HOUR = 3600
_INDENT = " " * 16
_GAP = "   "


@dataclass(frozen=True)
class Piece:
    """Bounds that hold from C(since) to before C(until), in seconds since the epoch, and the window that sets them.

    :ivar kind: C(ONCE), C(PAUSED), or nothing. A pause has no window.
    """

    since: float
    until: float
    floor: int
    ceiling: int
    window: str | None
    kind: str = ""

    @property
    def name(self) -> str:
        """What sets them, for people."""
        if self.kind == PAUSED:
            return PAUSED
        return (self.window or NO_WINDOW) + (f" ({ONCE})" if self.kind == ONCE else "")


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


def agenda(policy: Policy, start: float, days: int, pause: Pause | None = None, now: float = 0.0) -> Agenda:
    """Return the bounds of C(days) days of the calendar, the first of which begins at C(start), if not at midnight.

    :param start: seconds since the epoch.
    :param pause: what holds from C(now) on, likewise, in place of the bounds.
    """
    zone = zone_of(policy.schedule.timezone)
    first = datetime.fromtimestamp(start, zone).date()
    found = []
    for number in range(days):
        day = first + timedelta(days=number)
        since, until = max(start, instant(day, 0, zone)), instant(day + timedelta(days=1), 0, zone)
        # In some zone a day was left out.
        if since < until:
            pieces = [
                Piece(begin, end, *policy.limits.narrowed(window), window.name if window else None, _kind(window))
                for begin, end, window in policy.schedule.timeline(since, until)
            ]
            held = tuple(_with_pause(pieces, pause, now)) if pause else tuple(pieces)
            found.append(Day(day, since, until, held, tuple(_changes(since, until, zone))))
    return Agenda(policy.schedule.timezone, tuple(found))


def _kind(window: Window | None) -> str:
    return ONCE if isinstance(window, OneOffWindow) else ""


def _with_pause(pieces: Iterable[Piece], pause: Pause, now: float) -> Iterator[Piece]:
    """Yield the pieces of a day with one in them for the time of the pause."""
    until = math.inf if pause.until is None else pause.until
    held: Piece | None = None
    for piece in pieces:
        begin, end = max(piece.since, now), min(piece.until, until)
        if begin >= end:
            if held:
                yield held
                held = None
            yield piece
            continue
        if piece.since < begin:
            yield replace(piece, until=begin)
        since = held.since if held else begin
        held = Piece(since, end, pause.workers, pause.workers, None, PAUSED)
        if end < piece.until:
            yield held
            held = None
            yield replace(piece, since=end)
    if held:
        yield held


def in_rows(shown: Agenda) -> Iterator[str]:
    """Yield lines of at most C(WIDTH) letters, as far as names of windows allow: a day, and below what does not fit.

    A piece reads C(08:00-18:00 5-20 peak): from when until when, floor and ceiling, window.
    """
    zone = zone_of(shown.zone)
    for day in shown.days:
        line = f"{day.day:%a %Y-%m-%d}".ljust(len(_INDENT))
        for place, piece in enumerate(day.pieces):
            text = f"{_span(piece, day, zone)} {piece.floor}-{piece.ceiling} {piece.name}"
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


def on_the_clock(piece: Piece, day: Day, zone: tzinfo) -> Iterator[tuple[float, float]]:
    """Yield where a piece begins, and how long it is, in hours of the wall clock; anew after each change of it."""
    cuts = [piece.since, *(change.at for change in day.changes if piece.since < change.at < piece.until), piece.until]
    for begin, end in zip(cuts, cuts[1:]):
        yield hours(datetime.fromtimestamp(begin, zone)), (end - begin) / _HOUR


def hours(moment: datetime) -> float:
    """Return the hours that the clock shows, with their parts."""
    return moment.hour + moment.minute / 60 + moment.second / _HOUR


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
