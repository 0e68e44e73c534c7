# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages whose commands a test does as they stand there, such as docs/training.md: the commands, and what they print.

A block C(console) holds commands, a block C(text) after it what they print. C(...) there is any text, and it does not
matter how many spaces stand where some do. Commands that end with the comment C(AGAIN) are typed until they print it.
"""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

from .shell import CHECKOUT, BedError, wait_until

PAGE = CHECKOUT / "docs" / "training.md"
AGAIN = "# again until it shows this"
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_CHECKER = doctest.OutputChecker()
# The reader has nothing of what tests set.
_NOT_THE_READERS = ("ANSIBLE_", "ARGS", "MAKE", "MFLAGS", "PYTHON")
_A_COMMAND = 600.0
_AGAIN = 240.0
AS_A_READER = 'make() { command make --old-file=venv --old-file=image "$@"; }\n'
"""What a shell is told before anything else. What make would look after is there: a test runs in it."""


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


def do(before: str, step: Step, **environment: str) -> str:
    """Run the commands of a step as they stand in a page, and return what they printed.

    :param before: what the reader has typed into the shell until then.
    :param environment: what the reader's has beside what there is.
    :raises BedError: with what they printed, where it is something else than the page says.
    """
    printed = ""

    def as_written() -> bool:
        nonlocal printed
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        usual = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_THE_READERS)}
        ran = subprocess.run(
            ["bash", "-c", before + step.commands],
            cwd=CHECKOUT,
            env={**usual, "PATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_A_COMMAND,
            check=False,
        )
        printed = ran.stdout
        return step.printed_by(printed) if step.prints is not None else ran.returncode == 0

    def difference() -> str:
        return f"{step.commands}\nprinted\n{printed}\nand not\n{step.prints}"

    if step.again:
        wait_until(as_written, _AGAIN, difference, every=2)
    elif not as_written():
        raise BedError(difference())
    return printed
