# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A schedule with windows that come once, cut where they begin and end: between two cuts one week is like the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import Edge, edges, known
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow, WeeklyWindow

_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DatedEdge:
    """From C(at) on, in seconds since the epoch, these bounds hold."""

    at: float
    min_workers: int
    max_workers: int


@dataclass(frozen=True)
class Dates:
    """Days of the calendar, the first and the last included; None is without end."""

    first: date | None
    last: date | None

    def has_one_of(self, days: tuple[int, ...]) -> bool:
        """Whether one of the days of the week C(days), numbers from Monday, is among them."""
        if self.first is None or self.last is None:
            return bool(days)
        count = (self.last - self.first).days + 1
        return any((self.first + timedelta(days=number)).weekday() in days for number in range(min(count, 7)))


@dataclass(frozen=True)
class Era:
    """A time all along which the same windows that come once are there, maybe none.

    :ivar since: in seconds since the epoch; None is the one that runs. C(until) likewise; None has no end.
    :ivar begins: the bounds that hold from its beginning on, where other ones held before.
    :ivar week: the edges of its weeks.
    :ivar busy: whether a window that comes once is there.
    """

    since: float | None
    until: float | None
    begins: DatedEdge | None
    week: tuple[Edge, ...]
    busy: bool

    def dates_of(self, edge: Edge, zone_name: str) -> Dates:
        """Return the days on which an edge of the week falls into it, after its beginning and before its end."""
        zone = zone_of(zone_name)
        first = last = None
        if self.since is not None:
            first = datetime.fromtimestamp(self.since, zone).date() - _A_DAY
            while instant(first, edge.minute, zone) <= self.since:
                first += _A_DAY
        if self.until is not None:
            last = datetime.fromtimestamp(self.until, zone).date() + _A_DAY
            while instant(last, edge.minute, zone) >= self.until:
                last -= _A_DAY
        return Dates(first, last)


def eras(policy: Policy, at: float) -> list[Era]:
    """Return the eras from C(at) on, in seconds since the epoch, in their order; at least one."""
    policy = known(policy)
    to_come = [window for window in policy.schedule.one_offs if window.until > at]
    cuts = sorted({cut for window in to_come for cut in (window.since, window.until) if cut > at})
    return [_era(policy, at, since, until) for since, until in zip([None, *cuts], [*cuts, None])]


def all_weeks(policy: Policy, at: float) -> list[Edge]:
    """Return the edges of all weeks from C(at) on, those with windows that come once among them."""
    weeks = [edges(policy), *(era.week for era in eras(policy, at))]
    return list(dict.fromkeys(edge for week in weeks for edge in week))


def _era(policy: Policy, at: float, since: float | None, until: float | None) -> Era:
    begin = at if since is None else since
    there = {window for window in policy.schedule.one_offs if window.since <= begin < window.until}
    # While it is there, it is like a window of every day.
    windows = tuple(
        WeeklyWindow(window.name, window.min_workers, window.max_workers) if window in there else window
        for window in policy.schedule.windows
        if window in there or not isinstance(window, OneOffWindow)
    )
    week = edges(replace(policy, schedule=replace(policy.schedule, windows=windows)))
    begins = None if since is None else _change(policy, since)
    # Where it has but one, nothing changes in it, and these bounds hold from its beginning on.
    known = len(week) == 1 and (since is not None or there)
    return Era(since, until, begins, () if known else tuple(week), bool(there))


def _change(policy: Policy, at: float) -> DatedEdge | None:
    before, after = (policy.limits.narrowed(policy.schedule.in_force(each)) for each in (at - 0.5, at))
    return None if before == after else DatedEdge(at, *after)


def edges_within(era: Era, zone_name: str) -> Iterator[tuple[Edge, Dates]]:
    """Yield the edges of the week that come in an era, each with its days."""
    for edge in era.week:
        dates = era.dates_of(edge, zone_name)
        if dates.has_one_of(edge.days):
            yield edge, dates
