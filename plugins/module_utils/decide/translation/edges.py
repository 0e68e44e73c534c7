# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of the week as edges: when in the week other bounds begin to hold, on the wall clock of their zone.

What windows that come once make of them: eras.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow, WeeklyWindow

_A_DAY = 24 * 60
_A_WEEK = 7 * _A_DAY

ODD_DAYS_FOR = 2 * 366 * 86400.0
"""Seconds for which days are looked for on which the clock is changed at an edge."""


@dataclass(frozen=True)
class Edge:
    """From C(minute) after midnight on, of each of C(days) (numbers from Monday, 0), these bounds hold."""

    minute: int
    days: tuple[int, ...]
    min_workers: int
    max_workers: int


@dataclass(frozen=True)
class Span:
    """C(min_workers) hold from C(start) minutes after midnight of each of C(days), for C(length) minutes."""

    start: int
    length: int
    days: tuple[int, ...]
    min_workers: int


@dataclass(frozen=True)
class OddEdge:
    """An edge on a day on which the clock is changed.

    :ivar wall: its time. It comes twice, or not at all; or it comes once and is C(unsure).
    :ivar unsure: whether the library by which CronJobs come loses it. Asked of version 3.0.1 of robfig/cron: in zones
        whose offset, or its change, is no whole hour, it comes early or not at all on that day.
    """

    wall: datetime
    twice: bool
    unsure: bool = False


def known(policy: Policy) -> Policy:
    """Return the policy with the windows whose edges are known: those of the week and those that come once.

    Bounds of any other would be set where they hold by chance, and nobody would take them back at the end of it.
    """
    windows = tuple(window for window in policy.schedule.windows if isinstance(window, (WeeklyWindow, OneOffWindow)))
    return replace(policy, schedule=replace(policy.schedule, windows=windows))


def edges(policy: Policy) -> list[Edge]:
    """Return the edges of the policy's weekly windows, those of one time and bounds together, in the order of the week.

    A policy whose windows set the same bounds all the week has one edge, at the beginning of the week.
    """
    if not policy.schedule.weekly:
        return []
    days: dict[tuple[int, int, int], list[int]] = {}
    for since, floor, ceiling in _pieces(policy):
        days.setdefault((since % _A_DAY, floor, ceiling), []).append(since // _A_DAY)
    found = [Edge(minute, tuple(on), floor, ceiling) for (minute, floor, ceiling), on in days.items()]
    return sorted(found, key=lambda edge: (edge.days[0], edge.minute))


def floors(policy: Policy) -> list[Span]:
    """Return when weekly windows raise the floor above the limits', spans of one time, length and floor together."""
    base = policy.limits.min_workers
    pieces = list(_pieces(policy)) if policy.schedule.weekly else []
    joined: list[tuple[int, int]] = []
    for since, floor, _ceiling in pieces:
        if not joined or joined[-1][1] != floor:
            joined.append((since, floor))
    if len(joined) > 1 and joined[0][1] == joined[-1][1]:
        del joined[0]
    found: dict[tuple[int, int, int], list[int]] = {}
    for (since, floor), (until, _next) in zip(joined, [*joined[1:], *joined[:1]]):
        if floor > base:
            length = (until - since) % _A_WEEK or _A_WEEK
            found.setdefault((since % _A_DAY, length, floor), []).append(since // _A_DAY)
    return [Span(start, length, tuple(on), floor) for (start, length, floor), on in found.items()]


def odd_edges(policy: Policy, start: float, end: float) -> Iterator[OddEdge]:
    """Yield the edges between two instants (seconds since the epoch) that a change of the clock touches."""
    zone = zone_of(policy.schedule.timezone)
    day, last = datetime.fromtimestamp(start, zone).date(), datetime.fromtimestamp(end, zone).date()
    all_edges = edges(policy)
    while day <= last:
        offsets = {_offset(day, zone), _offset(day + timedelta(days=1), zone)}
        unsure = len(offsets) > 1 and any(offset % timedelta(hours=1) for offset in offsets)
        for edge in all_edges:
            if day.weekday() in edge.days:
                wall = datetime.combine(day, time()) + timedelta(minutes=edge.minute)
                first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
                if first != second:
                    shown = datetime.fromtimestamp(instant(day, edge.minute, zone), zone).replace(tzinfo=None)
                    yield OddEdge(wall, twice=shown == wall)
                elif unsure:
                    yield OddEdge(wall, twice=False, unsure=True)
        day += timedelta(days=1)


def edges_after_gaps(policy: Policy, weekly: Iterable[Edge], start: float, end: float) -> Iterator[float]:
    """Yield the instants between C(start) and C(end) at which the clock skips a time, and other bounds begin to hold.

    An edge in the time that is skipped happens then, and so does one at its end.

    :param weekly: the edges of all weeks that come.
    """
    zone = zone_of(policy.schedule.timezone)
    clocks = {(day, edge.minute) for edge in weekly for day in edge.days}
    day, last = datetime.fromtimestamp(start, zone).date(), datetime.fromtimestamp(end, zone).date()
    found: set[float] = set()
    while day <= last:
        if _offset(day, zone) < _offset(day + timedelta(days=1), zone):
            # One at a midnight that is skipped is written for the day before, too.
            for on in (day, day + timedelta(days=1)):
                for weekday, minute in clocks:
                    at = instant(on, minute, zone) if on.weekday() == weekday else start
                    if start < at <= end and _offset_at(at - 1, zone) < _offset_at(at, zone):
                        found.add(at)
        day += timedelta(days=1)
    bounds, schedule = policy.limits.narrowed, known(policy).schedule
    yield from (at for at in sorted(found) if bounds(schedule.in_force(at - 1)) != bounds(schedule.in_force(at)))


def _offset(day: date, zone: tzinfo) -> timedelta:
    return datetime.combine(day, time(), zone).utcoffset() or timedelta()


def _offset_at(at: float, zone: tzinfo) -> timedelta:
    return datetime.fromtimestamp(at, zone).utcoffset() or timedelta()


def _pieces(policy: Policy) -> Iterator[tuple[int, int, int]]:
    """Yield C((since, floor, ceiling)) for each minute of the week from which on other bounds hold."""
    windows = policy.schedule.weekly
    marks = sorted({minute for window in windows for minute in _marks(window)})
    found = [(mark, *policy.limits.narrowed(_in_force(windows, mark))) for mark in marks]
    # The bounds before the first edge are those after the last one: the week begins again.
    changes = [piece for before, piece in zip([found[-1], *found[:-1]], found) if before[1:] != piece[1:]]
    yield from changes or [(0, *found[0][1:])]


def _marks(window: WeeklyWindow) -> Iterator[int]:
    for day in window.days:
        yield day * _A_DAY + window.start
        yield (day * _A_DAY + window.start + window.minutes) % _A_WEEK


def _in_force(windows: Sequence[WeeklyWindow], minute: int) -> WeeklyWindow | None:
    """Return the window that holds at a minute of the week, on a wall clock that nobody changes."""
    for window in reversed(windows):
        if any((minute - day * _A_DAY - window.start) % _A_WEEK < window.minutes for day in window.days):
            return window
    return None
