# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chart over time as SVG: the shapes stretch with the page, the words keep their size.

All shapes of a plot are in a drawing of its own, C(POINTS) wide and C(_HIGH) high, which is stretched over the plot.
Places of words are per cent of its width, and pixels of its height.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Optional

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import (
    NOTHING,
    Markup,
    Part,
    joined,
    tag,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import POINTS, Span
from ansible_collections.muejam.celery.plugins.module_utils.decide.wording import shown

_HEAD = 6  # pixels above a plot, for half of its topmost word
_FOOT = 18  # pixels below one, for words of the time axis
_WIDE_ENOUGH = 0.12
"""Of the plot, for a word in a gap."""

_TICKS = ((900, 180), (3600, 600), (21600, 3600), (math.inf, 10800))
"""Seconds from one word of the time axis to the next, by how many seconds there are at most."""

SECONDS = "s"
_ROUND_TIMES = (4, 6, 10, 20, 40, 60, 120, 240, 600, 1200, 2400, 3600, 7200, 14400, 28800, 43200, 86400)

_HIGH = 1000
"""The height of the drawing that is stretched."""

Heights = Sequence[Optional[str]]
"""Where each point is, from the top of the drawing, as it is written; None is unknown."""

# A page has tens of thousands of them: what is written is looked up.
_WRITTEN = tuple(map(str, range(_HIGH + 1)))
_TO_POINT = tuple(f"H{point}V" for point in range(POINTS))
_GROUND = _WRITTEN[_HIGH]

Gap = tuple[int, int]
"""From which point on, and to before which one."""


@dataclass(frozen=True)
class Axis:
    """Values from 0 to C(top). C(unit) is what their words end with; C(SECONDS) may be minutes and hours as well."""

    top: float
    unit: str = ""

    @classmethod
    def over(cls, *values: Sequence[float], least: float = 1.0, unit: str = "") -> Axis:
        """Return one that all these values are on, with a round number at its top."""
        known = [value for column in values for value in column if value >= 0]
        most = max(known, default=0.0)
        return cls(_round_up(max(most, least), _ROUND_TIMES if unit == SECONDS else ()), unit)

    def heights(self, values: Sequence[float]) -> Heights:
        """Return where values are, one at least, none of which is beyond the axis."""
        scale, ground, written, floor = _HIGH / self.top, _HIGH + 0.5, _WRITTEN, math.floor
        if values[0] >= 0 and values.count(values[0]) == len(values):
            return [written[floor(ground - scale * values[0])]] * len(values)
        # What is unknown is not a number, and neither above nor below any.
        return [written[floor(ground - scale * value)] if value >= 0 else None for value in values]

    def words(self, value: float) -> str:
        """Return a value with its unit."""
        if self.unit == SECONDS and value > 90:
            return f"{shown(value / 60)} min" if value < 5400 else f"{shown(value / 3600)} h"
        return f"{shown(value)} {self.unit}".strip()


def line(edge: Heights, class_: str) -> Markup:
    """Return a line of steps through what is known."""
    return _path(f"line {class_}", [f"M{begin} {edge[begin]}{_along(edge, begin, end)}" for begin, end in _known(edge)])


def area(edge: Heights, class_: str) -> Markup:
    """Return all that is below an edge, where that is known. What is drawn later covers it."""
    pieces = [
        f"M{begin} {edge[begin]}{_along(edge, begin, end)}V{_HIGH}H{begin}Z"
        for begin, end in _known(edge)
        if any(height != _GROUND for height in edge[begin:end])
    ]
    return _path(f"area {class_}", pieces)


def gaps(values: Sequence[float], looked: Sequence[bool]) -> tuple[list[Gap], list[Gap]]:
    """Return where a value was unknown to somebody who looked, and where nobody looked."""
    unknown = [one and math.isnan(value) for value, one in zip(values, looked)]
    return list(_stretches(unknown)), list(_stretches([not one for one in looked]))


def plot(
    height: int, axis: Axis, shapes: Sequence[Part], unknown: Sequence[Gap], unseen: Sequence[Gap], words: str
) -> Markup:
    """Return one plot.

    :param height: pixels.
    :param shapes: lines and areas.
    :param unknown: where the value was not known, which is drawn as such; C(unseen) where nobody looked.
    :param words: what it shows, for whoever cannot see it.
    """
    lines = [_grid(axis.words(share * axis.top), _HEAD + (1 - share) * height) for share in (0.5, 1.0)]
    return tag(
        "svg",
        tag("title", words),
        [_band(gap, height, "unseen", "not watched") for gap in unseen],
        tag(
            "svg",
            shapes,
            y=_HEAD,
            width="100%",
            height=height,
            viewBox=f"0 0 {POINTS} {_HIGH}",
            preserveAspectRatio="none",
        ),
        [_band(gap, height, "unknown", "unknown") for gap in unknown],
        lines,
        tag("line", class_="ground", x1=0, x2="100%", y1=_HEAD + height, y2=_HEAD + height),
        class_="plot",
        width="100%",
        height=_HEAD + height + 1,
        role="img",
    )


def time_axis(span: Span, zone: tzinfo) -> Markup:
    """Return the words below plots: the hours of the wall clock of a zone."""
    return _times(span.start, span.end, zone)


def place(at: float, span: Span) -> str | None:
    """Return where an instant is, in per cent of the width; None where the chart does not have it."""
    share = (at - span.start) / (span.end - span.start)
    return _percent(share) if 0 <= share <= 1 else None


# All fleets of a page have the same span, and mostly the same zone.
@lru_cache(maxsize=16)
def _times(start: float, end: float, zone: tzinfo) -> Markup:
    words = list(_each_time(start, end, zone))
    return tag("svg", words, class_="times", width="100%", height=_FOOT, aria_hidden="true")


def _each_time(start: float, end: float, zone: tzinfo) -> Iterator[Markup]:
    whole = end - start
    step = next((step for most, step in _TICKS if whole <= most), _TICKS[-1][1])
    ahead = (datetime.fromtimestamp(end, zone).utcoffset() or timedelta()).total_seconds()
    at = math.ceil((start + ahead) / step) * step - ahead
    while at <= end:
        share = (at - start) / whole
        # At an edge a word would be cut off.
        if 0.03 <= share <= 0.97:
            yield tag("text", f"{datetime.fromtimestamp(at, zone):%H:%M}", x=_percent(share), y=13, class_="time")
        at += step


@lru_cache(maxsize=1024)
def _grid(words: str, y: float) -> Markup:
    label = tag("text", words, x=2, y=f"{y + 11:g}", class_="scale")
    return joined((tag("line", class_="grid", x1=0, x2="100%", y1=f"{y:g}", y2=f"{y:g}"), label))


def _band(gap: Gap, height: int, class_: str, words: str) -> Markup:
    begin, end = (edge / POINTS for edge in gap)
    shape = tag("rect", class_=class_, width="100%", height=height)
    label = tag("text", words, class_="gap", x="50%", y=height - 6) if end - begin >= _WIDE_ENOUGH else NOTHING
    # A drawing of its own cuts off words for which there is no room.
    return tag("svg", shape, label, x=_percent(begin), width=_percent(end - begin), y=_HEAD, height=height)


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _round_up(value: float, steps: Sequence[float]) -> float:
    """Return the next of these steps, or else of 1, 2, 4, 6, 8, 10, 20 and so on; half of each reads well too."""
    scale = 10.0 ** math.floor(math.log10(value))
    candidates = (*steps, *(step * scale for step in (1, 2, 4, 6, 8, 10)))
    return next(step for step in candidates if step >= value * (1 - 1e-9))


def _path(class_: str, pieces: Sequence[str]) -> Markup:
    return tag("path", class_=class_, d=Markup("".join(pieces))) if pieces else NOTHING


def _known(edge: Heights) -> Iterator[Gap]:
    if None not in edge:
        return iter([(0, len(edge))])
    return _stretches([height is not None for height in edge])


def _along(edge: Heights, begin: int, end: int) -> str:
    """Return the way along an edge, from where one stands at its beginning."""
    if edge[begin:end].count(edge[begin]) == end - begin:
        return f"H{end}"
    steps = zip(_TO_POINT[begin + 1 : end], edge[begin:end], edge[begin + 1 : end])
    return "".join([way + height for way, before, height in steps if height and height != before]) + f"H{end}"


def _stretches(marks: Sequence[bool]) -> Iterator[Gap]:
    point = 0
    while True:
        try:
            begin = marks.index(True, point)
            point = marks.index(False, begin)
        except ValueError:
            break
        yield begin, point
    if marks and marks[-1]:
        yield begin, len(marks)
