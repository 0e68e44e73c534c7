# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards without a Grafana: their panels drawn from what a Prometheus answers to their queries."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHBOARDS = Path(__file__).resolve().parents[2] / "monitoring" / "dashboards"

_WIDTH, _ROW = 22.0, 0.38  # inches
_MOST = 8  # series that a legend names
_GAP = 0.55  # of a column, between two panels
_VARIABLE = re.compile(r"\$(\w+)")
_LABEL = re.compile(r"{{\s*(\w+)\s*}}")
_UNITS: Mapping[str, tuple[float, str]] = {
    "percentunit": (100.0, " %"),
    "percent": (1.0, " %"),
    "bytes": (1e-6, " MB"),
    "s": (1.0, " s"),
    "suffix: /s": (1.0, "/s"),
}


@dataclass(frozen=True)
class Period:
    """The time to draw, in seconds since the epoch, and how far apart two points are."""

    begin: float
    end: float
    step: float


Series = tuple[dict[str, str], list[tuple[float, float]]]
"""Labels, and points: seconds since the epoch and a value."""

Named = Sequence[tuple[str, list[tuple[float, float]]]]
"""The points of each series, and how it is called."""

Ask = Callable[[Sequence[str], Period], list[list[Series]]]
"""Asks Prometheus: for each query the series that answer."""


def as_sent(query: str, rate_interval: str) -> str:
    """Return a query as Grafana sends it where everything is chosen."""
    return _VARIABLE.sub(lambda found: rate_interval if found[1] == "__rate_interval" else ".*", query)


def legend(template: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series."""
    return _LABEL.sub(lambda found: labels.get(found[1], ""), template).strip()


def draw(name: str, ask: Ask, period: Period, out: Path, rate_interval: str = "1m") -> list[str]:
    """Draw a dashboard into a file of PNG, and return the titles of the panels that stay empty."""
    from matplotlib.figure import Figure

    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    queries = [as_sent(target["expr"], rate_interval) for panel in panels for target in panel.get("targets", ())]
    marks = [as_sent(mark["expr"], rate_interval) for mark in dashboard["annotations"]["list"]]
    answers = iter(ask([*queries, *marks], period))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    height = rows * _ROW + 0.6
    figure = Figure(figsize=(_WIDTH, height))
    figure.text(0.01, 1 - 0.3 / height, dashboard["title"], fontsize=15, fontweight="bold", va="center")
    drawn: list[tuple[Axes, dict[str, Any]]] = []
    empty = []
    for panel in panels:
        place = panel["gridPos"]
        top = 1 - (0.6 + place["y"] * _ROW) / height
        if panel["type"] == "row":
            figure.text(0.01, top - 0.5 * _ROW / height, panel["title"], fontsize=11, color="#555555", va="center")
            continue
        found = [(target, next(answers)) for target in panel["targets"]]
        named = [
            (legend(target["legendFormat"], labels), points) for target, series in found for labels, points in series
        ]
        if not any(points for _name, points in named):
            empty.append(panel["title"])
        # Titles and axes take a part of a panel's place.
        axes = figure.add_axes(
            (
                (place["x"] + _GAP) / 24,
                top - (place["h"] * _ROW - 0.32) / height,
                (place["w"] - 2 * _GAP) / 24,
                (place["h"] * _ROW - 0.72) / height,
            )
        )
        axes.set_title(panel["title"], fontsize=9, loc="left")
        _KINDS[panel["type"]](axes, panel, named, period)
        if panel["type"] == "timeseries":
            drawn.append((axes, panel))
    moments = [at for series in answers for _labels, points in series for at in _beginnings(points, period)]
    for axes, _panel in drawn:
        for at in moments:
            axes.axvline((at - period.begin) / 60, color="#3274d9", alpha=0.12, linewidth=0.8, zorder=0)
        axes.set_xlim(0, (period.end - period.begin) / 60)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png", dpi=80)
    return empty


def _scaled(panel: Mapping[str, Any]) -> tuple[float, str]:
    return _UNITS.get(panel["fieldConfig"]["defaults"]["unit"], (1.0, ""))


def _beginnings(points: Sequence[tuple[float, float]], period: Period) -> Iterator[float]:
    """When something began: of points that follow each other the first."""
    before = None
    for at, _value in points:
        if before is None or at - before > 1.5 * period.step:
            yield at
        before = at


def _with_gaps(points: Sequence[tuple[float, float]], period: Period) -> Iterator[tuple[float, float]]:
    """The points, and between two that are far apart one that is no number: what is unknown is no line."""
    before = None
    for at, value in points:
        if before is not None and at - before > 1.5 * period.step:
            yield before + period.step, math.nan
        yield at, value
        before = at


def _lines(axes: Axes, panel: Mapping[str, Any], named: Named, period: Period) -> None:
    factor, unit = _scaled(panel)
    bottom: dict[float, float] = {}
    stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
    for place, (name, known) in enumerate(named):
        points = list(_with_gaps(known, period))
        minutes = [(at - period.begin) / 60 for at, _value in points]
        values = [value * factor for _at, value in points]
        label = textwrap.shorten(name or panel["title"], 34, placeholder="…") if place < _MOST else None
        if stacked:
            base = [bottom.get(at, 0.0) for at, _value in points]
            tops = [below + value for below, value in zip(base, values, strict=True)]
            bottom |= {at: top for (at, _value), top in zip(points, tops, strict=True)}
            axes.fill_between(minutes, base, tops, step="post", alpha=0.5, label=label)
        else:
            axes.plot(minutes, values, linewidth=1.2, drawstyle="steps-post", label=label)
    if not named:
        _nothing(axes)
        return
    values = [value * factor for _name, points in named for _at, value in points]
    top = max([*values, *bottom.values()], default=0.0, key=lambda value: value if value == value else 0.0)
    top = 1.08 * top if top > 0 else 1.0
    # A line at 0 is not to lie on the edge.
    axes.set_ylim(min([-0.03 * top, *values]), top)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7)
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}{unit}")
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:g} min")
    axes.legend(fontsize=6.5, loc="upper right", framealpha=0.7)


def _number(axes: Axes, panel: Mapping[str, Any], named: Named, _period: Period) -> None:
    factor, unit = _scaled(panel)
    last = [points[-1][1] * factor for _name, points in named if points]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    bad = any(step["color"] == "red" and last and last[0] >= step["value"] * factor for step in steps)
    text = f"{last[0]:.4g}{unit}" if last else "no data"
    axes.text(0.5, 0.5, text, fontsize=19, ha="center", va="center", color="#c4162a" if bad else "#37872d")
    axes.axis("off")


def _table(axes: Axes, panel: Mapping[str, Any], named: Named, _period: Period) -> None:
    factor, unit = _scaled(panel)
    rows = sorted([name, f"{points[-1][1] * factor:.4g}{unit}"] for name, points in named if points)
    axes.axis("off")
    if rows:
        table = axes.table(cellText=rows, loc="upper left", cellLoc="left", edges="horizontal")
        table.auto_set_font_size(False)
        table.set_fontsize(7)
    else:
        _nothing(axes)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no data", ha="center", va="center", color="#888888", transform=axes.transAxes)
    axes.set_yticks([])


_KINDS: Mapping[str, Callable[[Axes, Mapping[str, Any], Named, Period], None]] = {
    "timeseries": _lines,
    "stat": _number,
    "table": _table,
}


def answered(body: str) -> list[Series]:
    """Return the series in an answer of Prometheus to a query over a range."""
    return list(_series(json.loads(body)["data"]["result"]))


def _series(result: Sequence[Mapping[str, Any]]) -> Iterator[Series]:
    for one in result:
        points = [(float(at), float(value)) for at, value in one["values"]]
        # What is divided by nothing is no number, and no point.
        yield dict(one["metric"]), [(at, value) for at, value in points if value == value]
