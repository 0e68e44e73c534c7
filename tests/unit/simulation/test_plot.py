# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports that are drawn: whole, self-contained, and the same for recorded and for simulated fleets."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Sample
from ansible_collections.muejam.celery.plugins.module_utils.simulation.plot import Series, write_report

RECORDED = Series(
    "really <run>",
    [Sample(0, 0, 2, 0.0), Sample(5, 600, 2, 1.5), Sample(10, None, 20, None), Sample(15, 0, 2, 0.0)],
    {"p95": "31.0 s"},
)
SIMULATED = Series(
    "fixed 2",
    [Sample(float(second), max(0, 600 - second), 2.0, float(second)) for second in range(2000)],
    {"p95": "284.0 s", "worker-hours": "0.33"},
)


class Seen(HTMLParser):
    """What of a page refers to elsewhere, and the cells of its table."""

    def __init__(self) -> None:
        super().__init__()
        self.refers: list[str] = []
        self.cells: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.refers += [f"{tag} {n}={v}" for n, v in attrs if n in ("src", "href") and not str(v).startswith("#")]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("th", "td"):
            self.cells.append(data)


def written(path: Path) -> tuple[Path, Path]:
    return write_report(path, "A burst & more", [RECORDED, SIMULATED], "It is <kept>.", ["600 tasks"], promise=30)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return written(tmp_path_factory.mktemp("report") / "out" / "report.html")


def test_the_page_needs_nothing_but_itself(report: tuple[Path, Path]) -> None:
    text = report[0].read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(text)
    assert seen.refers == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_says_what_it_was_given(report: tuple[Path, Path]) -> None:
    text = report[0].read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(text)
    assert seen.cells == ["p95", "worker-hours", "really <run>", "31.0 s", "fixed 2", "284.0 s", "0.33"]
    assert "<h1>A burst &amp; more</h1>" in text
    assert "It is &lt;kept&gt;." in text
    assert "<li>600 tasks</li>" in text


def test_the_drawing_is_sound(report: tuple[Path, Path]) -> None:
    text = report[0].read_text(encoding="utf-8")
    drawing = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    # What nobody would see is not drawn.
    assert len(text) < 1_000_000


def test_the_same_numbers_give_the_same_report(report: tuple[Path, Path], tmp_path: Path) -> None:
    again = write_report(
        tmp_path / "r.html", "A burst & more", [RECORDED, SIMULATED], "It is <kept>.", ["600 tasks"], 30
    )
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in report]


def test_the_picture_lies_beside_it(report: tuple[Path, Path]) -> None:
    page, picture = report
    assert picture == page.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_many_contenders_find_room(tmp_path: Path) -> None:
    given = [Series(f"fleet {number}", [Sample(0, 0, 2, 0), Sample(60, 1, 3, 1)]) for number in range(5)]
    page, picture = write_report(tmp_path / "report.html", "t", given, "v")
    assert page.stat().st_size > 0
    assert picture.stat().st_size > 0


def test_a_contender_of_whom_nothing_is_known_is_no_error(tmp_path: Path) -> None:
    nothing = Series("unseen", [])
    unknown = Series("unknown", [Sample(0, None, None, None), Sample(5, None, None, None)])
    page, _picture = write_report(tmp_path / "report.html", "t", [nothing, unknown], "v")
    assert page.stat().st_size > 0


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    with pytest.raises(OperationError, match="pip install matplotlib"):
        write_report(tmp_path / "report.html", "t", [RECORDED], "v")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OperationError, match=r"write the report .*report\.html"):
        write_report(tmp_path / "file" / "report.html", "t", [RECORDED], "v")
