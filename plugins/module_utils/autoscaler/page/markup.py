# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG as text, in which nothing of others can become an element: all that is not made here is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from html import escape
from typing import Union

from ansible_collections.muejam.celery.plugins.module_utils.printable import printable


class Markup(str):
    """Text that is HTML already. Whatever is a plain text is escaped where it becomes a part of one."""

    __slots__ = ()


Part = Union[str, "Iterable[Part]"]
"""A text, markup, or several of them."""

NOTHING = Markup("")

_SPECIAL = re.compile(r"""[&<>"']""")
_VOID = frozenset(("meta", "br"))


def tag(element: str, /, *parts: Part, **attributes: object) -> Markup:
    """Return an element.

    :param attributes: C(class_) is C(class), other underscores are hyphens; one of None or False is left out, one of
        True has no value.
    """
    words = "".join(
        [
            # What is drawn is another one each time.
            f' {_name(key)}="{value}"' if isinstance(value, Markup) else _attribute(key, value)
            for key, value in attributes.items()
        ]
    )
    if element in _VOID:
        return Markup(f"<{element}{words}>")
    inside = "".join([_text(part) for part in parts])
    return Markup(f"<{element}{words}>{inside}</{element}>")


def joined(parts: Iterable[Part]) -> Markup:
    """Return parts one after the other, escaped where they are not markup."""
    return Markup("".join(map(_text, parts)))


def _text(part: Part) -> str:
    if isinstance(part, Markup):
        return part
    if isinstance(part, str):
        # A name may change the direction of what follows it, or hide a part of itself.
        text = part if part.isprintable() else printable(part, keep="\n")
        return escape(text) if _SPECIAL.search(text) else text
    return joined(part)


@cache
def _name(key: str) -> str:
    return "class" if key == "class_" else key.replace("_", "-")


# Most attributes of a page stand on it many times, and on the one before it.
@lru_cache(maxsize=4096, typed=True)
def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = _name(key)
    if isinstance(value, (int, float)) and value is not True:
        return f' {name}="{value}"'
    return f" {name}" if value is True else f' {name}="{_text(str(value))}"'
