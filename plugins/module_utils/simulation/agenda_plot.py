# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come as a drawing: a row for each day, a bar for each time with bounds of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import (
    NO_WINDOW,
    Agenda,
    Day,
    Piece,
    in_rows,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of
from ansible_collections.muejam.celery.plugins.module_utils.simulation.page import (
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
    from matplotlib.figure import Figure

_WIDTH = 14.0  # inches
_HEIGHT = 0.42  # of a day
_LETTERS_AN_HOUR = 7  # as many find room in a bar
_OUTSIDE = "#C9CFD6"  # of no window
_CHANGED = "#C62828"
_PALE = 0.6


def write_agenda(path: str, title: str, shown: Agenda) -> tuple[Path, Path]:
    """Write a self-contained page to C(path) and a picture of the same beside it; return where both are.

    :raises OperationError: when matplotlib is missing, or a file cannot be written.
    """
    require_matplotlib()
    import matplotlib

    pieces = [piece for day in shown.days for piece in day.pieces]
    floors, ceilings = [piece.floor for piece in pieces], [piece.ceiling for piece in pieces]
    lead = (
        f"{shown.days[0].day} to {shown.days[-1].day}: floors from {min(floors)} to {max(floors)} workers, "
        f"ceilings from {min(ceilings)} to {max(ceilings)}"
    )
    with matplotlib.rc_context(LOOK):
        drawing = as_svg(_figure(shown, ""))
        picture = as_png(_figure(shown, f"{title}\n{lead}"))
    rows = escape("\n".join(in_rows(shown)))
    return write_page(path, page(title, lead, [f"\n{drawing}", f"<pre>{rows}</pre>"]), picture)


def _figure(shown: Agenda, title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    head = 0.9 + (0.6 if title else 0)
    figure = Figure(figsize=(_WIDTH, head + _HEIGHT * len(shown.days)), layout="constrained")
    if title:
        at_left = {"x": 0.012, "horizontalalignment": "left"}
        figure.suptitle(title, fontsize=13, fontweight="bold", color=INK, parse_math=False, **at_left)
    axes = figure.subplots()
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 2), [f"{hour:02}:00" for hour in range(0, 25, 2)])
    axes.xaxis.tick_top()
    axes.set_ylim(len(shown.days) - 0.5, -0.5)
    axes.set_yticks(range(len(shown.days)), [f"{day.day:%a %Y-%m-%d}" for day in shown.days])
    axes.grid(visible=False, axis="y")
    names = list(dict.fromkeys(piece.window for day in shown.days for piece in day.pieces if piece.window))
    for row, day in enumerate(shown.days):
        _draw_day(axes, row, day, zone_of(shown.zone), names)
    used = [None, *names] if any(piece.window is None for day in shown.days for piece in day.pieces) else names
    bars = [Patch(color=_colour(name, names), alpha=_PALE) for name in used]
    # A leading underscore would keep a name out of the legend.
    labels = [f" {name or NO_WINDOW}" for name in used]
    for text in figure.legend(bars, labels, loc="outside lower left", ncols=6, frameon=False).get_texts():
        text.set_parse_math(False)
    return figure


def _colour(window: str | None, names: list[str]) -> str:
    return _OUTSIDE if window is None else colour_of(names.index(window))


def _draw_day(axes: Axes, row: int, day: Day, zone: tzinfo, names: list[str]) -> None:
    for piece in day.pieces:
        for begin, length in _on_the_clock(piece, day, zone):
            axes.barh(row, length, 0.8, begin, color=_colour(piece.window, names), alpha=_PALE, edgecolor="white")
            for text in (
                f"{piece.floor}-{piece.ceiling} {piece.window or NO_WINDOW}",
                f"{piece.floor}-{piece.ceiling}",
            ):
                if len(text) <= length * _LETTERS_AN_HOUR:
                    axes.text(begin + length / 2, row, text, ha="center", va="center", color=INK, parse_math=False)
                    break
    for change in day.changes:
        at = _hours(change.after)
        axes.plot([at, at], [row - 0.5, row + 0.5], color=_CHANGED, linewidth=1.5)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.text(at + 0.06, row + 0.46, str(change), color=_CHANGED, fontsize=7, va="bottom", bbox=behind)


def _on_the_clock(piece: Piece, day: Day, zone: tzinfo) -> Iterator[tuple[float, float]]:
    """Yield where a piece begins, and how long it is, in hours of the wall clock; anew after each change of it."""
    cuts = [piece.since, *(change.at for change in day.changes if piece.since < change.at < piece.until), piece.until]
    for begin, end in zip(cuts, cuts[1:]):
        yield _hours(datetime.fromtimestamp(begin, zone)), (end - begin) / 3600


def _hours(moment: datetime) -> float:
    return moment.hour + moment.minute / 60 + moment.second / 3600
