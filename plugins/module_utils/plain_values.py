# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and truth values as Ansible may hand them over: up to ansible-core 2.18 everything templated is a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_WHOLE = re.compile(r"-?[0-9]+(?:\.0*)?")
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def whole_number(value: object) -> int | None:
    """The whole number that `value` is, digits in a text and 4.0 included; else `None`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, str)) and _WHOLE.fullmatch(str(value).strip()):
        return int(str(value).strip().partition(".")[0])
    return None


def number(value: object) -> float | None:
    """The number that `value` is, digits in a text included; else `None`. Whole numbers become whole."""
    whole = whole_number(value)
    if whole is not None:
        return whole
    if isinstance(value, bool) or not isinstance(value, (float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def boolean(value: object) -> bool | None:
    """The truth value that `value` is, in Ansible's spelling as well; else `None`."""
    if isinstance(value, bool):
        return value
    return _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None


def kind_of(value: object) -> str:
    """What kind of value it is, in words for people: never the name of a Python or Ansible class."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (str, bytes)):
        return "a text" if value else "empty"
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, Sequence):
        return "a list" if value else "an empty list"
    return "something else"
