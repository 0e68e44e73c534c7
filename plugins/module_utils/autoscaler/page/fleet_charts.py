# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a fleet during some hours, as three plots over the same time: what waits, how long, who works."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from itertools import filterfalse
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page import chart, record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import Decided
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import NOTHING, Markup, joined, tag
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import POINTS, UNKNOWN, Span
from ansible_collections.muejam.celery.plugins.module_utils.decide.wording import shown

_HEIGHTS = 90, 60, 120
_SHADES = 10
"""Colours of priorities in the style."""


def charts(fleet: Mapping[str, Any], span: Span, decisions: Sequence[Decided], zone: tzinfo) -> Markup:
    """Return the plots of a fleet, with what their colours mean.

    :param fleet: its part of the status.
    :param decisions: those that are marked below the plots.
    """
    return joined(
        (
            _queue(span),
            _wait(span, fleet.get("promised_wait")),
            _workers(span),
            _marks(decisions, span, zone),
            chart.time_axis(span, zone),
        )
    )


def _queue(span: Span) -> Markup:
    total = span.column(record.WAITING)
    sums = list(_sums(span))
    axis = chart.Axis.over(total, *(values for _name, _shade, values in sums[-1:]), least=4)
    shapes = [chart.area(axis.heights(values), shade) for _name, shade, values in reversed(sums)]
    keys = [_key(shade, name) for name, shade, _values in sums]
    known = sums[-1][2] if sums else [UNKNOWN] * POINTS
    # Where priorities are not told apart, or not all of them, the total shows behind them.
    if not sums or any(value > 0 and top != value for value, top in zip(total, known)):
        shapes.insert(0, chart.area(axis.heights(total), "whole"))
        keys.append(_key("whole", "all priorities together" if not sums else "not told apart"))
    words = f"Tasks that wait: {_in_words(total)}"
    plot = chart.plot(_HEIGHTS[0], axis, shapes, *chart.gaps(total, span.looked), words)
    return _panel("Tasks that wait", keys, plot)


def _sums(span: Span) -> Iterator[tuple[str, str, list[float]]]:
    """Yield the priorities that had tasks, each with its colour and with all that waits up to it.

    The one that is at the bottom comes first.
    """
    names = sorted((name for name in span.columns if name.startswith(record.PRIORITY)), key=lambda n: (len(n), n))
    stack = [0.0] * POINTS
    for number, name in enumerate(names):
        values = span.column(name)
        if _any(values):
            stack = [below + value for below, value in zip(stack, values)]
            yield name, f"p{number % _SHADES}", stack


def _wait(span: Span, promised: float | None) -> Markup:
    waits = span.column(record.WAIT)
    axis = chart.Axis.over(waits, [promised or 0.0], least=4, unit=chart.SECONDS)
    shapes = [chart.area(axis.heights(waits), "wait")]
    keys = []
    if promised:
        shapes.append(chart.line(axis.heights([promised] * POINTS), "promised"))
        keys.append(_key("promised", f"the policy wants no more than {shown(promised)} s"))
    words = f"Seconds that the oldest of them waits: {_in_words(waits)}"
    plot = chart.plot(_HEIGHTS[1], axis, shapes, *chart.gaps(waits, span.looked), words)
    return _panel("Wait of the oldest", keys, plot)


def _workers(span: Span) -> Markup:
    workers, starting, draining, wanted, floor, ceiling = (
        span.column(name)
        for name in (
            record.WORKERS,
            record.STARTING,
            record.DRAINING,
            record.WANTED,
            record.FLOOR,
            record.CEILING,
        )
    )
    with_draining = [value + old for value, old in zip(workers, draining)]
    # With room for a line at the top.
    axis = chart.Axis.over([1.1 * value for value in ceiling], wanted, with_draining, least=2)
    ready = [value - new for value, new in zip(workers, starting)]
    shapes = [
        chart.area(axis.heights(values), name)
        for name, values, some in (
            ("draining", with_draining, _any(draining)),
            ("starting", workers, _any(starting)),
            ("ready", ready, True),
        )
        if some
    ]
    lines = ("ceiling", ceiling), ("floor", floor), ("wanted", wanted)
    shapes += [chart.line(axis.heights(values), name) for name, values in lines]
    keys = [_key("ready", "take tasks")]
    keys += [_key(name, words) for name, words, column in _SOMETIMES if _any(span.column(column))]
    keys += [_key("wanted", "wanted"), _key("ceiling", "ceiling"), _key("floor", "floor")]
    words = f"Workers: {_in_words(workers)}; floor {_in_words(floor)}; ceiling {_in_words(ceiling)}"
    plot = chart.plot(_HEIGHTS[2], axis, shapes, *chart.gaps(workers, span.looked), words)
    return _panel("Workers", keys, plot)


_SOMETIMES = (
    ("starting", "starting", record.STARTING),
    ("draining", "draining: they finish what they have", record.DRAINING),
)


def _marks(decisions: Sequence[Decided], span: Span, zone: tzinfo) -> Markup:
    """Return a mark for each decision where it was made."""
    marks = list(_each_mark(decisions, span, zone))
    return tag("svg", marks, class_="marks", width="100%", height=14) if marks else NOTHING


def _each_mark(decisions: Sequence[Decided], span: Span, zone: tzinfo) -> Iterator[Markup]:
    for each in decisions:
        where = chart.place(each.at, span)
        if where is None or each.before is None or each.after is None:
            continue
        sign, class_ = ("\u25b2", "up") if each.after > each.before else ("\u25bc", "down")
        yield tag("text", sign, _told(each, zone), x=where, y=12, class_=class_)


# They move with each look; what they tell stays.
@lru_cache(maxsize=4096)
def _told(decision: Decided, zone: tzinfo) -> Markup:
    at = datetime.fromtimestamp(decision.at, zone)
    return tag("title", f"{at:%H:%M:%S} {decision.before} to {decision.after}: {decision.reasons[0]}")


def _panel(title: str, keys: Sequence[Markup], plot: Markup) -> Markup:
    return tag("figure", tag("figcaption", tag("b", title), keys), plot)


@lru_cache(maxsize=256)
def _key(class_: str, words: str) -> Markup:
    return tag("span", tag("i", class_=f"key {class_}"), words, class_="legend")


def _any(values: Sequence[float]) -> bool:
    # Without a step of Python for each of them.
    return any(map((0.0).__lt__, values))


def _in_words(values: Sequence[float]) -> str:
    known = list(filterfalse(math.isnan, values))
    if not known:
        return "unknown all the time"
    last = "unknown" if math.isnan(values[-1]) else shown(values[-1])
    return f"from {shown(min(known))} to {shown(max(known))}, {last} at the end"
