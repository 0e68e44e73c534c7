# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a Celery command line, read as Celery itself reads them.

Celery uses click: `-Qa`, `-Q a`, `-EQ a`, `--queues a` and `--queues=a` are the same, `-Q=a` is the queue `=a`, names
are never shortened, an option takes the next word whatever it is, and after `--` there are no options.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.fleet.celery_names import MAIN, WORKER, Flag

_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh")


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

    :ivar main: options before the command.
    :ivar command: the command, such as `worker`; empty where there is none.
    :ivar words: options and words of the command.
    """

    main: list[Word]
    command: str
    words: list[Word]


def options(words: Sequence[str], start: int = 0) -> list[Word]:
    """The words of `celery worker`, from the place `start` on."""
    return list(_read(words, start, WORKER, interspersed=True))


def celery_in(command: Sequence[str]) -> CommandLine | None:
    """Celery's own command line within `command`, also behind a wrapper or in a shell's `-c`, or `None`.

    Airflow's command of the same name has options of its own.
    """
    words = list(command)
    if len(words) > 2 and posixpath.basename(words[0]) in _SHELLS and words[1] in ("-c", "-ec", "-lc"):
        try:
            words = shlex.split(words[2])
        except ValueError:
            return None
    for place, word in enumerate(words):
        before = posixpath.basename(words[place - 1]) if place else ""
        if posixpath.basename(word) == "celery" and before != "airflow":
            return _command_line(words, place + 1)
    return None


def shortened(written: str, flags: Iterable[Flag]) -> str | None:
    """The option that `written` is the beginning of."""
    if len(written) < 4 or not written.startswith("--"):
        return None
    return next((name for flag in flags for name in flag.names if name.startswith(written)), None)


def _command_line(words: Sequence[str], start: int) -> CommandLine:
    main = list(_read(words, start, MAIN, interspersed=False))
    if main and not main[-1].written:
        command = main.pop()
        return CommandLine(main, command.value or "", options(words, command.index + 1))
    return CommandLine(main, "", [])


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
