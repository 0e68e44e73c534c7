# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/architecture.md and the pages beside it name is in the tree, and its words are those that users read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
ARCHITECTURE, ELSEWHERE, PLACES = (
    (TOP / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("architecture", "another-platform", "places")
)
PAGE = f"{ARCHITECTURE}\n{ELSEWHERE}\n{PLACES}"

PREFIX = "…/"
STANDS_FOR = "plugins/module_utils/"

MOST_FILES = 4
"""Files that one change is to be written in. Those that only list what there is are not counted."""

SPAN = re.compile(r"`([^`\n]+)`")
BARE = re.compile(r"[\w<>-]+(\.(py|yml|md|j2|txt)|/)")


def in_full(name: str) -> str:
    """Return a path from the top of the checkout, as a pattern: C(<name>) may be any name."""
    return re.sub(r"<\w+>", "*", name.replace(PREFIX, STANDS_FOR, 1))


def is_path(name: str) -> bool:
    """Whether this is written as a path of the tree."""
    first, slash, _rest = name.partition("/")
    looks_like_one = (
        first and " " not in name and ((TOP / first).is_dir() or bool(re.search(r"\.(py|yml|j2|md|txt)$", name)))
    )
    return bool(slash and (name.startswith(PREFIX) or looks_like_one))


def sections(level: str) -> Iterator[tuple[str, str]]:
    """Yield the titles of this level, C(##) or C(###), each with its text up to the next title that is no lower."""
    for part in re.split(rf"^{level} ", PAGE, flags=re.M)[1:]:
        title, _newline, text = part.partition("\n")
        yield title, text.partition("\n## ")[0]


@pytest.mark.parametrize("name", sorted({name for name in SPAN.findall(PAGE) if is_path(name)}))
def test_every_path_is_in_the_tree(name: str) -> None:
    assert list(TOP.glob(in_full(name).rstrip("/"))), f"there is no {in_full(name)}"


ROWS = [line for line in PAGE.splitlines() if re.match(r"(\| |\d\. )`", line)]
"""Rows of tables, and entries of lists, that begin with a name."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_a_bare_name_is_in_the_folder_that_its_row_begins_with(row: str) -> None:
    first, rest = re.split(r" \| |: ", row[2:], maxsplit=1)
    folders = [in_full(name) for name in SPAN.findall(first) if is_path(name) and name.endswith("/")]
    for name in filter(BARE.fullmatch, SPAN.findall(rest) if folders else ()):
        assert any(list(TOP.glob(folder + name.rstrip("/"))) for folder in folders), f"{name} is in none of {folders}"


def test_no_other_name_of_a_file_is_bare() -> None:
    prose = "\n".join(line for line in PAGE.splitlines() if line not in ROWS)
    assert [name for name in SPAN.findall(prose) if BARE.fullmatch(name) and not (TOP / name).exists()] == []


def test_no_change_takes_more_files_than_that() -> None:
    (changes,) = (text for title, text in sections("##") if title == "What to touch")
    lists = {title: re.findall(r"^\d\. ", text, re.M) for title, text in sections("###")}
    assert {title: found for title, found in lists.items() if len(found) > MOST_FILES} == {}
    rows = [line.split(" | ")[1] for line in f"{changes}\n{ELSEWHERE}".splitlines() if line.startswith("| ")]
    for row in rows:
        assert len({name for name in SPAN.findall(row) if is_path(name)}) <= MOST_FILES, row


def test_the_page_is_read_in_one_go() -> None:
    # Many tools show no more of a text than this.
    assert len(ARCHITECTURE.encode()) < 30_000


READ_BY_USERS = (
    "README.md",
    "docs/**/*.md",
    "playbooks/**/*.yml",
    "plugins/doc_fragments/*.py",
    "plugins/modules/*.py",
    "roles/*/README.md",
    "roles/*/meta/argument_specs.yml",
)
"""What people read who know nothing of our code."""


@pytest.mark.parametrize("pattern", READ_BY_USERS)
def test_what_sizes_fleets_has_one_name(pattern: str) -> None:
    read = {path: path.read_text(encoding="utf-8") for path in TOP.glob(pattern) if path.name != "architecture.md"}
    assert read
    assert [str(path.relative_to(TOP)) for path, text in read.items() if re.search(r"\bdaemons?\b", text, re.I)] == []
