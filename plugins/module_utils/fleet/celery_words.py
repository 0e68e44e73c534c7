# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a Celery command line, read as Celery itself reads them.

Celery uses click: `-Qa`, `-Q a`, `-EQ a`, `--queues a` and `--queues=a` are the same, `-Q=a` is the queue `=a`, names
are never shortened, an option takes the next word whatever it is, and after `--` there are no options.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.fleet.celery_names import MAIN, WORKER, Flag

_PROGRAM = re.compile(r"(-\w*m)?celery(-?[0-9][0-9.]*|\.__main__|\.bin\.celery)?")
_TAKES_A_SCRIPT = re.compile(r"-[a-zA-Z]*[cS][a-zA-Z]*|--command|--split-string")
_SCRIPT_IN_WORD = re.compile(r"(?:--command=|--split-string=|-S)(?=.*\s)")
_NEXT_COMMAND = re.compile(r"[;|&()]+")

COMMANDS = (
    "amqp",
    "beat",
    "call",
    "control",
    "events",
    "flower",
    "graph",
    "inspect",
    "list",
    "logtool",
    "migrate",
    "multi",
    "purge",
    "report",
    "result",
    "shell",
    "status",
    "upgrade",
    "worker",
)
"""Commands of Celery's program. Another word after `celery` tells that this one is a user, a file or a package."""


@dataclass(frozen=True)
class Word:
    """One option with its value, or one word that is no option.

    :ivar index: place of the word in the list.
    :ivar written: the option as it is written; empty for a word that is none.
    :ivar flag: the option that it is, `None` for one that Celery does not know.
    :ivar value: the option's value, or the word itself; `None` where there is none.
    """

    index: int
    written: str
    flag: Flag | None
    value: str | None


@dataclass(frozen=True)
class CommandLine:
    """A command line of Celery's own program.

    :ivar program: the word that starts it.
    :ivar main: options before the command.
    :ivar command: the command, such as `worker`; empty where there is none.
    :ivar words: options and words of the command.
    """

    program: str
    main: list[Word]
    command: str
    words: list[Word]


def options(words: Sequence[str], start: int = 0) -> list[Word]:
    """The words of `celery worker`, from the place `start` on."""
    return list(_read(words, start, WORKER, interspersed=True))


def celery_in(command: Sequence[str]) -> CommandLine | None:
    """Celery's own command line within `command`: that of the worker where there are several, or `None`."""
    found = all_in(command)
    return next((line for line in found if line.command == "worker"), found[0] if found else None)


def all_in(command: Sequence[str]) -> list[CommandLine]:
    """Every command line of Celery within `command`, also behind wrappers and in scripts such as those of `sh -c`.

    Airflow's command of the same name has options of its own.
    """
    found = []
    for words in _commands(list(command)):
        for place, word in enumerate(words):
            before = posixpath.basename(words[place - 1]) if place else ""
            if _PROGRAM.fullmatch(posixpath.basename(word)) and before != "airflow":
                line = _command_line(words, place + 1)
                if not line.command or line.command in COMMANDS:
                    found.append(line)
                if line.command in COMMANDS:
                    break
    return found


def _commands(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """The words themselves, and those of each command in the scripts among them."""
    yield words
    takes_script = False
    for word in words:
        inside = _SCRIPT_IN_WORD.match(word)
        if inside or (takes_script and any(letter.isspace() for letter in word)):
            yield from _commands_of_script(word[inside.end() :] if inside else word)
        takes_script = takes_script or bool(_TAKES_A_SCRIPT.fullmatch(word))


def _commands_of_script(script: str) -> Iterator[Sequence[str]]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    command: list[str] = []
    try:
        for word in lexer:
            if _NEXT_COMMAND.fullmatch(word):
                yield from _commands(command)
                command = []
            else:
                command.append(word)
    except ValueError:
        # A quote has no end: what was read so far still counts.
        pass
    yield from _commands(command)


def shortened(written: str, flags: Iterable[Flag]) -> str | None:
    """The option that `written` is the beginning of."""
    if len(written) < 4 or not written.startswith("--"):
        return None
    return next((name for flag in flags for name in flag.names if name.startswith(written)), None)


def _command_line(words: Sequence[str], start: int) -> CommandLine:
    main = list(_read(words, start, MAIN, interspersed=False))
    if main and not main[-1].written:
        command = main.pop()
        return CommandLine(words[start - 1], main, command.value or "", options(words, command.index + 1))
    return CommandLine(words[start - 1], main, "", [])


def _read(words: Sequence[str], start: int, flags: Iterable[Flag], interspersed: bool) -> Iterator[Word]:
    known = {name: flag for flag in flags for name in flag.names}
    place = start
    while place < len(words):
        word, index = words[place], place
        place += 1
        if word == "--":
            yield from (Word(at, "", None, words[at]) for at in range(place, len(words)))
            return
        if not word.startswith("-") or len(word) == 1:
            yield Word(index, "", None, word)
            if not interspersed:
                return
        elif word.startswith("--"):
            written, sign, value = word.partition("=")
            flag = known.get(written)
            if flag and flag.value and not sign:
                yield Word(index, written, flag, words[place] if place < len(words) else None)
                place += 1
            else:
                yield Word(index, written, flag, value if sign else None)
        else:
            for at, letter in enumerate(word[1:], start=2):
                flag = known.get("-" + letter)
                if flag and flag.value:
                    rest = word[at:]
                    yield Word(index, "-" + letter, flag, rest or (words[place] if place < len(words) else None))
                    place += not rest
                    break
                yield Word(index, "-" + letter, flag, None)
