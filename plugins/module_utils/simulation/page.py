# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A page to read, and a picture of the same to show around, whatever is drawn in them.

The page needs nothing but itself: its drawing is within it. Drawn by matplotlib, which nothing else needs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart too; the first contender has the strongest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#7F3C8D", "#4B4B4B")
INK, FAINT, GRID = "#222222", "#666666", "#E3E6EA"
LOOK: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.08,
    "font.size": 9,
    "grid.color": GRID,
    # With it, and without a date, the same numbers give the same page.
    "svg.hashsalt": "muejam.celery",
    "xtick.color": FAINT,
    "xtick.major.size": 0,
    "ytick.color": FAINT,
    "ytick.major.size": 0,
}


def colour_of(number: int) -> str:
    """Return a colour for each number from 0 on, the first of which are different."""
    return COLOURS[number % len(COLOURS)]


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


def as_svg(figure: Figure) -> str:
    """Return a drawing as an element of a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :]


def as_png(figure: Figure) -> bytes:
    """Return a drawing as what a picture's file holds."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def write_page(path: str | Path, text: str, picture_bytes: bytes) -> tuple[Path, Path]:
    """Write a page to C(path) and its picture beside it, with the suffix C(.png); return where both are.

    :raises OperationError: when a file cannot be written.
    """
    page_path = Path(path)
    picture = page_path.with_suffix(".png")
    try:
        page_path.parent.mkdir(parents=True, exist_ok=True)
        page_path.write_text(text, encoding="utf-8")
        picture.write_bytes(picture_bytes)
    except OSError as error:
        raise OperationError(f"write the report {page_path}", error, "Name a path that may be written to.") from error
    return page_path, picture


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


def page(title: str, lead: str, sections: Sequence[str]) -> str:
    """Return a page.

    :param lead: what to take away, in one line.
    :param sections: HTML, one below the other.
    """
    body = "\n".join(f"<section>{section}</section>" for section in sections)
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
<p class="verdict">{escape(lead)}</p>
{body}
</main>
</body>
</html>
"""
