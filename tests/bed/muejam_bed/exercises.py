# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exercises of docs/training.md: the commands of each, and what they print.

A block C(console) holds commands, a block C(text) after it what they print. C(...) there is any text, and it does not
matter how many spaces stand where some do. Commands that end with the comment C(AGAIN) are typed until they print it.
"""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

from .shell import CHECKOUT

PAGE = CHECKOUT / "docs" / "training.md"
AGAIN = "# again until it shows this"
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_CHECKER = doctest.OutputChecker()


@dataclass
class Step:
    """Commands that are pasted in one piece, and what they print; None where nothing is said of that."""

    commands: str
    prints: str | None = None

    @property
    def again(self) -> bool:
        """Whether they are typed until they print it."""
        return AGAIN in self.commands

    def printed_by(self, output: str) -> bool:
        """Whether an output is what they are to print."""
        return self.prints is None or _CHECKER.check_output(self.prints, output, _FLAGS)


@dataclass
class Exercise:
    """A section of the page."""

    title: str
    steps: list[Step] = field(default_factory=list)


def exercises(page: Path = PAGE) -> Iterator[Exercise]:
    """Yield the sections of the page that have commands, in their order.

    :raises ValueError: where an output stands after no commands.
    """
    section = Exercise("")
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for token, after in zip(tokens, [*tokens[1:], None]):
        if token.type == "heading_open" and after is not None:
            if section.steps:
                yield section
            section = Exercise(after.content)
        elif token.type == "fence" and token.info == "console":
            section.steps.append(Step(token.content))
        elif token.type == "fence" and token.info == "text":
            if not section.steps or section.steps[-1].prints is not None:
                raise ValueError(f"{page.name}, {section.title}: nothing prints\n{token.content}")
            section.steps[-1].prints = token.content
    if section.steps:
        yield section
