# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user can write for the number of a worker and the name of its host.

In arguments `%i` is the worker's number and `%H` the host's name; in an environment only `%i` is one, so that dates
and log formats need no care. `%%i` and `%%H` stand for the texts themselves, every other percent sign for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKENS = {
    False: re.compile(r"%%i|%i"),
    True: re.compile(r"%%[iH]|%[iH]"),
}


def uses_number(text: str) -> bool:
    """Whether `text` holds the placeholder for the worker's number."""
    return any(found[0] == "%i" for found in _TOKENS[False].finditer(text))


def literal(text: str) -> str:
    """`text` as an argument in which nothing is taken for a placeholder."""
    return literal_value(text).replace("%H", "%%H")


def literal_value(text: str) -> str:
    """`text` as a value of the environment in which nothing is taken for a placeholder."""
    return text.replace("%i", "%%i")


def plain(text: str) -> str:
    """The meaning of an environment's `text` that holds no placeholder."""
    return _TOKENS[False].sub("%i", text)


def filled(text: str, number: int, host: str | None = None) -> str:
    """`text` as worker `number` gets it; an argument when `host` is given, else a value of the environment."""
    return _translate(text, {"%i": str(number), "%H": host or ""}, lambda other: other, arguments=host is not None)


def for_systemd(text: str, escape: Callable[[str], str], arguments: bool) -> str:
    """`text` for a unit file, where `%i` and `%H` are specifiers and every other `%` has to be doubled."""
    return _translate(text, {}, lambda other: escape(other).replace("%", "%%"), arguments)


def _translate(text: str, values: dict[str, str], escape: Callable[[str], str], arguments: bool) -> str:
    parts: list[str] = []
    end = 0
    for found in _TOKENS[arguments].finditer(text):
        token = found[0]
        parts.append(escape(text[end : found.start()]))
        parts.append(escape(token[1:]) if token.startswith("%%") else values.get(token, token))
        end = found.end()
    parts.append(escape(text[end:]))
    return "".join(parts)
