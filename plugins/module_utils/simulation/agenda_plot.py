# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds of days to come as a drawing: a row for each day, a bar for each time with bounds of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import (
    NO_WINDOW,
    ONCE,
    PAUSED,
    Agenda,
    Day,
    Piece,
    hours,
    in_rows,
    on_the_clock,
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
_HELD = "#F2B8B5"  # while somebody holds the fleet
_CHANGED = "#C62828"
_PALE = 0.6
_ONCE_PALE = 0.3


def write_agenda(path: str, title: str, shown: Sequence[tuple[str, Agenda]]) -> tuple[Path, Path]:
    """Write a self-contained page to C(path) and a picture of the same beside it; return where both are.

    :param shown: days of one or more fleets, each with a title of its own.
    :raises OperationError: when matplotlib is missing, or a file cannot be written.
    """
    require_matplotlib()
    import matplotlib

    days = [day for _head, agenda in shown for day in agenda.days]
    pieces = [piece for day in days for piece in day.pieces]
    floors, ceilings = [piece.floor for piece in pieces], [piece.ceiling for piece in pieces]
    lead = (
        f"{min(day.day for day in days)} to {max(day.day for day in days)}: floors from {min(floors)} to {max(floors)} "
        f"workers, ceilings from {min(ceilings)} to {max(ceilings)}"
    )
    several = len(shown) > 1
    with matplotlib.rc_context(LOOK):
        drawings = [as_svg(_figure([("", agenda)], "")) for _head, agenda in shown]
        heads = [(head if several else "", agenda) for head, agenda in shown]
        picture = as_png(_figure(heads, f"{title}\n{lead}"))
    sections = []
    for drawing, (head, agenda) in zip(drawings, shown):
        above = f"<h2>{escape(head)}</h2>" if several else ""
        sections += [f"{above}\n{drawing}", "<pre>{}</pre>".format(escape("\n".join(in_rows(agenda))))]
    return write_page(path, page(title, lead, sections), picture)


def _figure(shown: Sequence[tuple[str, Agenda]], title: str) -> Figure:
    """Return the drawing of one or more fleets, one below the other, each under its own title if it has one."""
    from matplotlib.figure import Figure

    rows = [len(agenda.days) for _head, agenda in shown]
    heights = [0.9 + (0.3 if head else 0) + _HEIGHT * count for (head, _agenda), count in zip(shown, rows)]
    figure = Figure(figsize=(_WIDTH, (0.6 if title else 0) + sum(heights)), layout="constrained")
    if title:
        at_left = {"x": 0.012, "horizontalalignment": "left"}
        figure.suptitle(title, fontsize=13, fontweight="bold", color=INK, parse_math=False, **at_left)
    parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (head, agenda) in zip(parts, shown):
        _draw_fleet(part, head, agenda)
    return figure


def _draw_fleet(figure: Any, head: str, shown: Agenda) -> None:
    from matplotlib.patches import Patch

    axes = figure.subplots()
    if head:
        axes.set_title(head, color=INK, parse_math=False)
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 2), [f"{hour:02}:00" for hour in range(0, 25, 2)])
    axes.xaxis.tick_top()
    axes.set_ylim(len(shown.days) - 0.5, -0.5)
    axes.set_yticks(range(len(shown.days)), [f"{day.day:%a %Y-%m-%d}" for day in shown.days])
    axes.grid(visible=False, axis="y")
    names = list(dict.fromkeys(piece.window for day in shown.days for piece in day.pieces if piece.window))
    for row, day in enumerate(shown.days):
        _draw_day(axes, row, day, zone_of(shown.zone), names)
    used = {piece.name: piece for day in shown.days for piece in day.pieces}
    order = {NO_WINDOW: -2, PAUSED: -1}
    found = sorted(used.items(), key=lambda each: order.get(each[0], 0))
    bars = [Patch(**_look(piece, names)) for _name, piece in found]
    # A leading underscore would keep a name out of the legend.
    labels = [f" {name}" for name, _piece in found]
    for text in figure.legend(bars, labels, loc="outside lower left", ncols=6, frameon=False).get_texts():
        text.set_parse_math(False)


def _look(piece: Piece, names: list[str]) -> dict[str, Any]:
    """Return how the bar of a piece looks: what comes once is hatched, and so is a pause, the other way."""
    if piece.kind == PAUSED:
        return {"facecolor": _HELD, "edgecolor": (_CHANGED, _ONCE_PALE), "hatch": "xx", "linewidth": 0.5}
    colour = _OUTSIDE if piece.window is None else colour_of(names.index(piece.window))
    if piece.kind == ONCE:
        return {"facecolor": (colour, _ONCE_PALE), "edgecolor": (colour, _PALE), "hatch": "//", "linewidth": 0.5}
    return {"facecolor": (colour, _PALE), "edgecolor": "white"}


def _draw_day(axes: Axes, row: int, day: Day, zone: tzinfo, names: list[str]) -> None:
    for piece in day.pieces:
        for begin, length in on_the_clock(piece, day, zone):
            axes.barh(row, length, 0.8, begin, **_look(piece, names))
            for text in (f"{piece.floor}-{piece.ceiling} {piece.name}", f"{piece.floor}-{piece.ceiling}"):
                if len(text) <= length * _LETTERS_AN_HOUR:
                    # Dark on a light ground of its own where lines would cross it.
                    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
                    middle = begin + length / 2
                    behind = ground if piece.kind else None
                    axes.text(middle, row, text, ha="center", va="center", color=INK, parse_math=False, bbox=behind)
                    break
    for change in day.changes:
        at = hours(change.after)
        axes.plot([at, at], [row - 0.5, row + 0.5], color=_CHANGED, linewidth=1.5)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.text(at + 0.06, row + 0.46, str(change), color=_CHANGED, fontsize=7, va="bottom", bbox=behind)
