# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fleets did over time, recorded or simulated, as a page to read and a picture to show around."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Sample
from ansible_collections.muejam.celery.plugins.module_utils.simulation.page import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    LOOK,
    as_png,
    as_svg,
    colour_of,
    page,
    require_matplotlib,
    write_page,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


@dataclass(frozen=True)
class Series:
    """One contender over time.

    :param line: samples in the order of time, which begins at the same instant for all contenders.
    :param summary: what it came to, as texts by the heading of their column.
    """

    name: str
    line: Sequence[Sample]
    summary: Mapping[str, str] = field(default_factory=dict)


_FIRST_BEHIND, _PROMISED = "#B4BCC6", "#C62828"
_ACROSS = 4  # contenders side by side
_POINTS = 500  # more are not seen in a panel of this width
_OUTLIER = 2.0  # a contender whose peak is so many times that of the others is cut off rather than flattening them
_OVERTIME = 1.25  # so much longer than the first contender's is drawn of the others

# The panels of a contender, one below the other: which field of its samples, and the label of the axis.
_PANELS = {"waiting": "tasks waiting", "workers": "workers", "oldest": "oldest wait (s)"}


def write_report(
    path: str | Path,
    title: str,
    contenders: Sequence[Series],
    verdict: str,
    notes: Sequence[str] = (),
    promise: float | None = None,
) -> tuple[Path, Path]:
    """Write a self-contained page to C(path) and a picture of the same beside it; return where both are.

    :param path: of the page; the picture has its name with the suffix C(.png).
    :param contenders: at least one.
    :param verdict: what to take away, in one line.
    :param notes: how it came about, a line each.
    :param promise: the promised wait in seconds, to draw it.
    :raises OperationError: when matplotlib is missing, or a file cannot be written.
    """
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context(LOOK):
        text = _page(title, contenders, verdict, notes, _drawing(contenders, promise))
        picture = _picture(title, contenders, verdict, notes, promise)
    return write_page(path, text, picture)


def _drawing(contenders: Sequence[Series], promise: float | None) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(contenders), layout="constrained")
    _draw(figure, contenders, promise)
    return as_svg(figure)


def _picture(
    title: str, contenders: Sequence[Series], verdict: str, notes: Sequence[str], promise: float | None
) -> bytes:
    from matplotlib.figure import Figure

    width, height = _size(contenders)
    said = textwrap.wrap(verdict, 150)
    lines = [line for note in notes for line in textwrap.wrap(note, 180, subsequent_indent="    ")]
    head = 0.3 * (len(contenders) + 1) + 0.25 * len(said)
    figure = Figure(figsize=(width, 0.5 + head + height + 0.18 * len(lines)), layout="constrained")
    at_left = {"x": 0.012, "horizontalalignment": "left"}
    figure.suptitle(title, fontsize=17, fontweight="bold", color=INK, **at_left)
    figure.supxlabel("\n".join(lines), fontsize=9, color=FAINT, linespacing=1.5, **at_left)
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[head, height])
    top.suptitle("\n".join(said), fontsize=12, color=COLOURS[0], **at_left)
    _tabulate(top.subplots(), contenders)
    _draw(bottom, contenders, promise)
    return as_png(figure)


def _tabulate(axes: Axes, contenders: Sequence[Series]) -> None:
    from matplotlib.transforms import Bbox

    axes.axis("off")
    heading, *rows = _table(contenders)
    cells = axes.table(cellText=rows, colLabels=heading, cellLoc="right", edges="B", bbox=Bbox.unit())
    cells.auto_set_column_width(range(len(heading)))
    cells.auto_set_font_size(False)
    cells.set_fontsize(10)
    for (row, column), cell in cells.get_celld().items():
        cell.set(edgecolor=GRID, linewidth=0.8)
        cell.set_text_props(color=INK if row else FAINT)
        if row and not column:
            cell.set_text_props(color=colour_of(row - 1), fontweight="bold", horizontalalignment="left")


def _size(contenders: Sequence[Series]) -> tuple[float, float]:
    """Return the width and height of the drawing, in inches."""
    return 14.0, 5.6 * math.ceil(len(contenders) / _ACROSS) + 0.3


def _draw(into: FigureBase, contenders: Sequence[Series], promise: float | None) -> None:
    """Draw each contender in a column of its own; columns that do not fit follow below."""
    bands = math.ceil(len(contenders) / _ACROSS)
    across = math.ceil(len(contenders) / bands)  # as many in each band, or nearly so
    grid = into.subplots(bands * len(_PANELS), across, sharex=True, sharey="row", squeeze=False)
    end = _end(contenders)
    unit, seconds = _time_unit(end)
    grid[0, 0].set_xlim(0, end / seconds)
    highest = {key: _highest(contenders, key, promise if key == "oldest" else None) for key in _PANELS}
    for number, series in enumerate(contenders):
        colour = colour_of(number)
        band, column = divmod(number, across)
        panels = grid[band * len(_PANELS) : (band + 1) * len(_PANELS), column]
        panels[0].set_title(series.name, color=colour)
        panels[-1].set_xlabel(f"time ({unit})")
        panels[-1].tick_params(labelbottom=True)
        for axes, (key, label) in zip(panels, _PANELS.items()):
            drawn, filled = ("steps-post", "post") if key == "workers" else ("default", None)
            if number:
                axes.plot(*_thinned(contenders[0], key, seconds), color=_FIRST_BEHIND, linewidth=1.2, drawstyle=drawn)
            times, values = _thinned(series, key, seconds)
            axes.plot(times, values, color=colour, linewidth=1.6, drawstyle=drawn)
            axes.fill_between(times, values, step=filled, color=colour, alpha=0.13, linewidth=0)
            axes.set_ylim(0, highest[key] * 1.12)
            if column == 0:
                axes.set_ylabel(label)
            peak = _peak(series.line, key)
            if peak > highest[key]:
                axes.text(
                    0.98, 0.93, f"up to {peak:,.0f}", transform=axes.transAxes, color=colour, ha="right", va="top"
                )
        if promise is not None:
            panels[-1].axhline(promise, color=_PROMISED, linewidth=1, linestyle=(0, (4, 3)))
            promised = f"promised {promise:g} s"
            at_right = panels[-1].get_yaxis_transform()
            panels[-1].text(0.98, promise, promised, transform=at_right, color=_PROMISED, ha="right", va="bottom")
    for axes in grid[-len(_PANELS) :, (len(contenders) - 1) % across + 1 :].flat:
        axes.axis("off")
    if len(contenders) > 1:
        into.supxlabel(f"grey: {contenders[0].name}, for comparison", fontsize=9, color=FAINT)


def _peak(line: Sequence[Sample], key: str, unknown: float = 0.0) -> float:
    """Return the highest value of a field that is known of the samples, C(unknown) where none is."""
    values = (getattr(sample, key) for sample in line)
    return max((value for value in values if value is not None), default=unknown)


def _highest(contenders: Sequence[Series], key: str, promise: float | None) -> float:
    """Return up to where the axis goes: to the highest of all, without those that would flatten the others."""
    peaks = sorted(_peak(series.line, key) for series in contenders)
    while len(peaks) > 1 and peaks[-1] > _OUTLIER * max(peaks[-2], promise or 0.0, 1.0):
        peaks.pop()
    least = 1.3 * promise if promise else 1.0
    return max(peaks[-1], least)


def _end(contenders: Sequence[Series]) -> float:
    """Return until when it is drawn, in seconds: some that never get done would squeeze the others."""
    ends = [series.line[-1].at if series.line else 0.0 for series in contenders]
    return min(max(ends), _OVERTIME * ends[0]) or 1.0


def _thinned(series: Series, key: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return times in the unit and values to draw: the largest of each stretch, so that no peak is lost."""
    stretch = max(1, math.ceil(len(series.line) / _POINTS))
    parts = [series.line[first : first + stretch] for first in range(0, len(series.line), stretch)]
    return [part[0].at / seconds for part in parts], [_peak(part, key, math.nan) for part in parts]


def _time_unit(longest: float) -> tuple[str, float]:
    if longest <= 300:
        return "s", 1.0
    return ("min", 60.0) if longest <= 6 * 3600 else ("h", 3600.0)


def _table(contenders: Sequence[Series]) -> list[list[str]]:
    """Return the rows of the table, its heading first."""
    headings = list(dict.fromkeys(heading for series in contenders for heading in series.summary))
    rows = [[series.name, *(series.summary.get(heading, "") for heading in headings)] for series in contenders]
    return [["", *headings], *rows]


def _page(title: str, contenders: Sequence[Series], verdict: str, notes: Sequence[str], drawing: str) -> str:
    heading, *rows = _table(contenders)
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    body = ""
    for number, (name, *cells) in enumerate(rows):
        numbers = "".join(f"<td>{escape(text)}</td>" for text in cells)
        body += f'<tr><th style="color:{colour_of(number)}">{escape(name)}</th>{numbers}</tr>\n'
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    table = f"""<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table>"""
    return page(title, verdict, [table, f"\n{drawing}", *([f"<ul>{items}</ul>"] if items else [])])
