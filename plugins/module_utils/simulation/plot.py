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
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Sample

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


# Okabe and Ito's colours, which the colour-blind can tell apart too; the first contender has the strongest.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#7F3C8D", "#4B4B4B")
_INK, _FAINT, _GRID, _FIRST_BEHIND, _PROMISED = "#222222", "#666666", "#E3E6EA", "#B4BCC6", "#C62828"
_ACROSS = 4  # contenders side by side
_POINTS = 500  # more are not seen in a panel of this width
_OUTLIER = 2.0  # a contender whose peak is so many times that of the others is cut off rather than flattening them
_OVERTIME = 1.25  # so much longer than the first contender's is drawn of the others

# The panels of a contender, one below the other: which field of its samples, and the label of the axis.
_PANELS = {"waiting": "tasks waiting", "workers": "workers", "oldest": "oldest wait (s)"}

_LOOK: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.08,
    "font.size": 9,
    "grid.color": _GRID,
    # With it, and without a date, the same numbers give the same page.
    "svg.hashsalt": "muejam.celery",
    "xtick.color": _FAINT,
    "xtick.major.size": 0,
    "ytick.color": _FAINT,
    "ytick.major.size": 0,
}


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

    page = Path(path)
    picture = page.with_suffix(".png")
    with matplotlib.rc_context(_LOOK):
        text = _page(title, contenders, verdict, notes, _drawing(contenders, promise))
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
        import_module("matplotlib")
    except ImportError as error:
        raise OperationError(
            "draw the report", error, "Install it with: python3 -m pip install matplotlib. Or leave out --plot."
        ) from error


def _drawing(contenders: Sequence[Series], promise: float | None) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(contenders), layout="constrained")
    _draw(figure, contenders, promise)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :]


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
    figure.suptitle(title, fontsize=17, fontweight="bold", color=_INK, **at_left)
    figure.supxlabel("\n".join(lines), fontsize=9, color=_FAINT, linespacing=1.5, **at_left)
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[head, height])
    top.suptitle("\n".join(said), fontsize=12, color=_COLOURS[0], **at_left)
    _tabulate(top.subplots(), contenders)
    _draw(bottom, contenders, promise)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _tabulate(axes: Axes, contenders: Sequence[Series]) -> None:
    from matplotlib.transforms import Bbox

    axes.axis("off")
    heading, *rows = _table(contenders)
    cells = axes.table(cellText=rows, colLabels=heading, cellLoc="right", edges="B", bbox=Bbox.unit())
    cells.auto_set_column_width(range(len(heading)))
    cells.auto_set_font_size(False)
    cells.set_fontsize(10)
    for (row, column), cell in cells.get_celld().items():
        cell.set(edgecolor=_GRID, linewidth=0.8)
        cell.set_text_props(color=_INK if row else _FAINT)
        if row and not column:
            cell.set_text_props(color=_colour(row - 1), fontweight="bold", horizontalalignment="left")


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
        colour = _colour(number)
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
        into.supxlabel(f"grey: {contenders[0].name}, for comparison", fontsize=9, color=_FAINT)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


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
