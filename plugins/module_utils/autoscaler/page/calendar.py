# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of the coming week as people look at a calendar: a row for each day, a bar for each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import Markup, joined, tag
from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import (
    ONCE,
    PAUSED,
    Agenda,
    Day,
    Piece,
    agenda,
    hours,
    in_rows,
    on_the_clock,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import parse_pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of

DAYS = 7
_HEIGHT = 22  # pixels of a day
_SHADES = 6
"""Colours of windows in the style."""
_HEADINGS = (0, 6, 12, 18, 24)


@dataclass
class Week:
    """The coming week of a fleet, from a midnight on.

    :ivar words: the same in words, as it stands on the page.
    :ivar bars: of the days that were drawn already: they stay the same until the next midnight.
    :ivar rows: of those days likewise, but for today's, where the time is marked.
    """

    agenda: Agenda
    words: Markup
    bars: dict[Day, Markup] = field(default_factory=dict)
    rows: dict[Day, Markup] = field(default_factory=dict)


class Weeks:
    """The coming week of each fleet. One is made anew when the day, the policy or the pause is another one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], Policy, Week]] = {}

    def of(self, fleet: str, policy: Policy, at: float, pause: Mapping[str, Any] | None) -> Week:
        """Return the week of a fleet from the midnight before C(at) on.

        :param pause: what the fleet is held at from now on, as the status has it.
        """
        zone = zone_of(policy.schedule.timezone)
        start = instant(datetime.fromtimestamp(at, zone).date(), 0, zone)
        # A pause begins now, whenever that is.
        key = start, repr(pause), int(at // 60) if pause else None
        known = self._known.get(fleet)
        if known is None or known[0] != key or known[1] is not policy:
            days = agenda(policy, start, DAYS, parse_pause(pause, zone) if pause else None, at)
            known = self._known[fleet] = key, policy, Week(days, _in_words(days))
        return known[2]


def calendar(name: str, week: Week, at: float) -> Markup:
    """Return the week as a table of bars, and the same in words.

    :param name: the id that what can be opened in it is known by.
    """
    days = week.agenda.days
    bounds = {(piece.floor, piece.ceiling, piece.name) for day in days for piece in day.pieces}
    if len(bounds) == 1:
        [(floor, ceiling, who)] = bounds
        return tag("p", f"{floor} to {ceiling} workers all the week, {who}.")
    names = list(dict.fromkeys(piece.window for day in days for piece in day.pieces if piece.window))
    rows = [_row(week, day, at, names) for day in days]
    return joined((tag("table", _hours_of_the_day(), rows, class_="week"), tag("details", week.words, id=name)))


@cache
def _hours_of_the_day() -> Markup:
    heads = [tag("text", f"{hour:02}", x=f"{hour / 0.24:.4g}%", y=12, class_=f"time at{hour}") for hour in _HEADINGS]
    return tag("tr", tag("td"), tag("td", tag("svg", heads, width="100%", height=16, aria_hidden="true")))


def _in_words(week: Agenda) -> Markup:
    return joined((tag("summary", "the same in words"), tag("pre", "\n".join(in_rows(week)))))


def _row(week: Week, day: Day, at: float, names: Sequence[str]) -> Markup:
    today = day.since <= at < day.until
    row = None if today else week.rows.get(day)
    if row is None:
        if day not in week.bars:
            week.bars[day] = _bars(week, day, names)
        bars = [week.bars[day]]
        if today:
            now = _percent(hours(datetime.fromtimestamp(at, zone_of(week.agenda.zone))))
            bars.append(tag("line", tag("title", "now"), class_="now", x1=now, x2=now, y1=0, y2=_HEIGHT))
        drawing = tag("svg", bars, width="100%", height=_HEIGHT, role="img", aria_label="; ".join(_words(day)))
        row = tag("tr", tag("th", f"{day.day:%a %d %b}", scope="row"), tag("td", drawing))
        if not today:
            week.rows[day] = row
    return row


def _bars(week: Week, day: Day, names: Sequence[str]) -> Markup:
    zone = zone_of(week.agenda.zone)
    return joined(
        _bar(begin, length, piece, _class(piece, names))
        for piece in day.pieces
        for begin, length in on_the_clock(piece, day, zone)
    )


def _class(piece: Piece, names: Sequence[str]) -> str:
    if piece.kind == PAUSED:
        return "paused"
    if piece.window is None:
        return "outside"
    return f"w{names.index(piece.window) % _SHADES}" + (" once" if piece.kind == ONCE else "")


def _bar(begin: float, length: float, piece: Piece, class_: str) -> Markup:
    """Return a bar, in a drawing of its own that cuts off words for which there is no room."""
    bounds = f"{piece.floor}\u2013{piece.ceiling}" if piece.floor != piece.ceiling else str(piece.floor)
    name = f" {piece.name}" if piece.window or piece.kind else ""
    return tag(
        "svg",
        tag("title", bounds, name),
        tag("rect", width="100%", height=_HEIGHT - 2, rx=3),
        tag("text", tag("tspan", bounds, class_="bounds"), name, x=5, y=_HEIGHT - 8),
        class_=f"bar {class_}",
        x=_percent(begin),
        width=_percent(length),
        height=_HEIGHT - 2,
    )


def _words(day: Day) -> Iterator[str]:
    yield f"{day.day:%A}"
    yield from (f"{piece.floor} to {piece.ceiling} workers, {piece.name}" for piece in day.pieces)


def _percent(clock_hours: float) -> str:
    return f"{clock_hours / 0.24:.5g}%"
