# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fleets did over time, recorded or simulated, as a page to read and a picture to show around.

The page needs nothing but itself: its drawing is within it. Drawn by matplotlib, which is imported only here.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True)
class Series:
    """One contender over time. All sequences are of one length; None is what was not known then.

    :param times: seconds since the beginning, ascending; 0 is the same instant for all contenders.
    :param queue: waiting tasks.
    :param workers: workers that are paid for.
    :param waits: how long the oldest task has waited, in seconds.
    :param summary: what it came to, as texts by the heading of their column.
    """

    name: str
    times: Sequence[float]
    queue: Sequence[float | None]
    workers: Sequence[float | None]
    waits: Sequence[float | None]
    summary: Mapping[str, str] = field(default_factory=dict)


# Okabe and Ito's colours, which the colour-blind can tell apart too; the first contender has the strongest.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#7F3C8D", "#4B4B4B")
_INK, _FAINT, _GRID, _OURS_BEHIND = "#222222", "#666666", "#E3E6EA", "#B4BCC6"
_ACROSS = 4  # contenders side by side
_POINTS = 500  # more are not seen in a panel of this width
_OUTLIER = 2.0  # a contender whose peak is so many times that of the others is cut off rather than flattening them
_OVERTIME = 1.25  # so much longer than the first contender's is drawn of the others


@dataclass(frozen=True)
class _Row:
    """One of the three things that are drawn: its axis, where it is found, the room above its highest point."""

    label: str
    of: str
    stepped: bool = False


_ROWS = (_Row("tasks waiting", "queue"), _Row("workers", "workers", stepped=True), _Row("oldest wait (s)", "waits"))


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
    :param verdict: what to take away, in one line.
    :param notes: how it came about, a line each.
    :param promise: the promised wait in seconds, to draw it.
    :raises OperationError: when matplotlib is missing, or a file cannot be written.
    """
    page = Path(path)
    picture = page.with_suffix(".png")
    if not contenders:
        raise ValueError("a report needs a contender")
    drawing = _drawing(contenders, promise)
    text = _page(title, contenders, verdict, notes, drawing)
    picture_bytes = _picture(title, contenders, verdict, notes, promise)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        picture.write_bytes(picture_bytes)
    except OSError as error:
        raise OperationError(f"write the report {page}", error, "Name a path that may be written to.") from error
    return page, picture


def require_matplotlib() -> None:
    """Raise at once what would be raised after a long computation.

    :raises OperationError: when matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise OperationError(
            "draw the report", error, "Install it with: python3 -m pip install matplotlib. Or leave out --plot."
        ) from error


def _figure(width: float, height: float) -> Figure:
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _drawing(contenders: Sequence[Series], promise: float | None) -> str:
    width, height = _size(contenders)
    figure = _figure(width, height)
    _draw(figure.add_subfigure(figure.add_gridspec(1, 1)[0]), contenders, promise)
    out = io.StringIO()
    # Without a date the same numbers give the same page.
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :]


def _picture(
    title: str, contenders: Sequence[Series], verdict: str, notes: Sequence[str], promise: float | None
) -> bytes:
    require_matplotlib()
    from matplotlib.transforms import Bbox

    width, height = _size(contenders)
    said = textwrap.wrap(verdict, 150)
    table = 0.3 * (len(contenders) + 1)
    head = 0.95 + 0.24 * len(said) + table
    lines = [line for note in notes for line in textwrap.wrap(note, 180, subsequent_indent="    ")]
    foot = 0.25 * max(1, len(lines))
    figure = _figure(width, head + height + foot)
    grid = figure.add_gridspec(3, 1, height_ratios=[head, height, foot])
    top, middle, bottom = (figure.add_subfigure(grid[part]) for part in range(3))
    top.text(0.012, 1 - 0.38 / head, title, fontsize=17, fontweight="bold", color=_INK, va="center")
    top.text(0.012, 1 - 0.68 / head, "\n".join(said), fontsize=12, color=_COLOURS[0], va="top")
    axes = top.add_axes((0.012, 0.02, 0.976, table / head))
    axes.axis("off")
    heading, *rows = _table(contenders)
    widest = [max(len(cells[column]) for cells in (heading, *rows)) for column in range(len(heading))]
    cells = axes.table(
        cellText=rows,
        colLabels=heading,
        cellLoc="right",
        colWidths=[(wide + 3) / sum(w + 3 for w in widest) for wide in widest],
        bbox=Bbox.unit(),
    )
    cells.auto_set_font_size(False)
    cells.set_fontsize(10)
    for (row, column), cell in cells.get_celld().items():
        cell.set_edgecolor(_GRID)
        cell.set_linewidth(0.8)
        cell.visible_edges = "B"
        cell.get_text().set_color(_INK if row else _FAINT)
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
            if row:
                cell.get_text().set_color(_colour(row - 1))
                cell.get_text().set_fontweight("bold")
    _draw(middle, contenders, promise)
    for number, line in enumerate(lines):
        bottom.text(0.012, 1 - (number + 0.4) / max(1, len(lines)), line, fontsize=9, color=_FAINT, va="center")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _size(contenders: Sequence[Series]) -> tuple[float, float]:
    """Return the width and height of the drawing, in inches."""
    bands = math.ceil(len(contenders) / _across(contenders))
    return 14.0, 5.6 * bands + 0.3


def _across(contenders: Sequence[Series]) -> int:
    """Return how many stand side by side: as many in each band, or nearly so."""
    return math.ceil(len(contenders) / math.ceil(len(contenders) / _ACROSS))


def _draw(into: SubFigure, contenders: Sequence[Series], promise: float | None) -> None:
    """Draw each contender in a column of its own; columns that do not fit follow below."""
    across = _across(contenders)
    bands = [contenders[first : first + across] for first in range(0, len(contenders), across)]
    panels: list[Sequence[Axes]] = []
    grid = into.add_gridspec(len(bands), 1)
    for number in range(len(bands)):
        part = into.add_subfigure(grid[number])
        panels.extend(part.subplots(len(_ROWS), across, sharex=True, squeeze=False))
    end = _end(contenders)
    unit, seconds = _time_unit(end)
    for row_number, row in enumerate(_ROWS):
        highest = _highest(contenders, row, promise if row.of == "waits" else None)
        for number, series in enumerate(contenders):
            band, column = divmod(number, across)
            axes: Axes = panels[band * len(_ROWS) + row_number][column]
            _panel(axes, contenders, number, row, highest, seconds)
            axes.set_xlim(0, end / seconds)
            if row.of == "waits" and promise is not None:
                axes.axhline(promise, color="#C62828", linewidth=1, linestyle=(0, (4, 3)), zorder=4)
                axes.annotate(
                    f"promised {promise:g} s",
                    (1, promise),
                    xycoords=("axes fraction", "data"),
                    xytext=(-3, 3),
                    textcoords="offset points",
                    ha="right",
                    fontsize=8,
                    color="#C62828",
                )
            if row_number == 0:
                axes.set_title(series.name, fontsize=12, fontweight="bold", color=_colour(number), loc="left")
            if column == 0:
                axes.set_ylabel(row.label, fontsize=10, color=_INK)
            else:
                axes.tick_params(labelleft=False)
            if row_number == len(_ROWS) - 1:
                axes.set_xlabel(f"time ({unit})", fontsize=10, color=_INK)
                axes.tick_params(labelbottom=True)
    for empty in range(len(contenders), len(bands) * across):
        band, column = divmod(empty, across)
        for row_number in range(len(_ROWS)):
            panels[band * len(_ROWS) + row_number][column].axis("off")
    if len(contenders) > 1:
        into.supxlabel(f"grey: {contenders[0].name}, for comparison", fontsize=9, color=_FAINT)


def _panel(axes: Axes, contenders: Sequence[Series], number: int, row: _Row, highest: float, seconds: float) -> None:
    series, colour = contenders[number], _colour(number)
    if number:
        times, values = _thinned(contenders[0], row, seconds)
        axes.plot(times, values, color=_OURS_BEHIND, linewidth=1.2, drawstyle=_style(row), zorder=2)
    times, values = _thinned(series, row, seconds)
    axes.plot(times, values, color=colour, linewidth=1.6, drawstyle=_style(row), zorder=3)
    axes.fill_between(times, values, step="post" if row.stepped else None, color=colour, alpha=0.13, linewidth=0)
    peak = max(_known(getattr(series, row.of)), default=0.0)
    axes.set_ylim(0, highest * 1.12)
    if peak > highest:
        axes.annotate(
            f"up to {peak:,.0f}", (0.98, 0.93), xycoords="axes fraction", ha="right", va="top", fontsize=9, color=colour
        )
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=_FAINT, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(_FAINT)


def _style(row: _Row) -> str:
    return "steps-post" if row.stepped else "default"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _highest(contenders: Sequence[Series], row: _Row, promise: float | None) -> float:
    """Return up to where the axis goes: to the highest of all, without those that would flatten the others."""
    peaks = sorted(max(_known(getattr(series, row.of)), default=0.0) for series in contenders)
    while len(peaks) > 1 and peaks[-1] > _OUTLIER * max(peaks[-2], promise or 0.0, 1.0):
        peaks.pop()
    least = 1.3 * promise if promise else 1.0
    return max(peaks[-1], least)


def _end(contenders: Sequence[Series]) -> float:
    """Return until when it is drawn, in seconds: some that never get done would squeeze the others."""
    ends = [series.times[-1] if series.times else 0.0 for series in contenders]
    return min(max(ends), _OVERTIME * ends[0]) or 1.0


def _thinned(series: Series, row: _Row, seconds: float) -> tuple[list[float], list[float]]:
    """Return times in the unit and values to draw: the largest of each stretch, so that no peak is lost."""
    values: Sequence[float | None] = getattr(series, row.of)
    stretch = max(1, math.ceil(len(values) / _POINTS))
    times, highest = [], []
    for first in range(0, len(values), stretch):
        known = _known(values[first : first + stretch])
        times.append(series.times[first] / seconds)
        highest.append(max(known) if known else math.nan)
    return times, highest


def _time_unit(longest: float) -> tuple[str, float]:
    if longest <= 300:
        return "s", 1.0
    return ("min", 60.0) if longest <= 6 * 3600 else ("h", 3600.0)


def _table(contenders: Sequence[Series]) -> list[list[str]]:
    """Return the rows of the table, its heading first."""
    headings = list(dict.fromkeys(heading for series in contenders for heading in series.summary))
    rows = [[series.name, *(series.summary.get(heading, "") for heading in headings)] for series in contenders]
    return [["", *headings], *rows]


_STYLE = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:#222;
background:#f5f6f8;margin:0}
main{max-width:1280px;margin:0 auto;padding:28px 24px 40px}
h1{font-size:26px;margin:0 0 10px}
.verdict{background:#fff;border-left:5px solid #0072B2;padding:12px 16px;margin:0 0 18px;font-size:17px}
section{background:#fff;border:1px solid #e3e6ea;border-radius:6px;padding:14px 18px;margin:0 0 18px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #e3e6ea;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{color:#666;font-weight:600}tbody th{font-weight:700}tbody tr:last-child>*{border-bottom:0}
svg{width:100%;height:auto;display:block}
ul{margin:0;padding-left:20px;color:#666}
"""


def _page(title: str, contenders: Sequence[Series], verdict: str, notes: Sequence[str], drawing: str) -> str:
    heading, *rows = _table(contenders)
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    body = ""
    for number, (name, *cells) in enumerate(rows):
        numbers = "".join(f"<td>{escape(text)}</td>" for text in cells)
        body += f'<tr><th style="color:{_colour(number)}">{escape(name)}</th>{numbers}</tr>\n'
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="verdict">{escape(verdict)}</p>
<section><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table></section>
<section>
{drawing}</section>
{f"<section><ul>{items}</ul></section>" if items else ""}
</main>
</body>
</html>
"""
