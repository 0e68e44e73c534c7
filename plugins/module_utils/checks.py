# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with values that users write, each fault with its place and what to change.

A table of keys says what each takes, and `of_mapping` holds a dictionary against it. Up to ansible-core 2.18 everything
templated is a text, so a text that spells a number or a truth value is one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WHOLE = re.compile(r"-?[0-9]+(?:\.0*)?")
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")
_PATH = re.compile(r"/[^\s\x00-\x1f\x7f\"'\\$%*?]*")
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[KMGT%]?)")
_QUOTA = re.compile(r"[0-9]+(?:\.[0-9]+)?%")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


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


def text(value: object) -> str | None:
    """The text that `value` is; `None` for an empty one and for everything else."""
    return value if isinstance(value, str) and value else None


def texts(value: Any) -> list[str] | None:
    """The list of texts that `value` is; else `None`."""
    return list(value) if _is_list(value) and all(isinstance(one, str) for one in value) else None


def mapping(value: object) -> dict[Any, Any] | None:
    """The dictionary that `value` is; else `None`."""
    return dict(value) if isinstance(value, Mapping) else None


def mappings(value: Any) -> list[dict[Any, Any]] | None:
    """The list of dictionaries that `value` is; else `None`."""
    return [dict(one) for one in value] if _is_list(value) and all(isinstance(one, Mapping) for one in value) else None


def boolean_or_mapping(value: object) -> bool | dict[Any, Any] | None:
    """The truth value or dictionary that `value` is; else `None`."""
    return dict(value) if isinstance(value, Mapping) else boolean(value)


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    :ivar words: what it is to people.
    :ivar type: what Ansible's documentation calls it.
    :ivar plain: gives a value in Python's own types; `None` when it is of another kind.
    :ivar elements: where it is a list, what Ansible's documentation calls what is in it.
    :ivar empty: makes what stands for a value that is not given; `None` stands for itself.
    """

    words: str
    type: str
    plain: Callable[[Any], Any]
    elements: str = ""
    empty: Callable[[], Any] | None = None


INTEGER = Kind("a whole number", "int", whole_number)
SECONDS = Kind("a number of seconds", "float", number)
BOOLEAN = Kind("true or false", "bool", boolean)
TEXT = Kind("a text", "str", text)
PATH = Kind("a text", "path", text)
TEXTS = Kind("a list of texts", "list", texts, "str", list)
PATHS = Kind("a list of texts", "list", texts, "path", list)
MAPPING = Kind("a dictionary", "dict", mapping, empty=dict)
MAPPINGS = Kind("a list of dictionaries", "list", mappings, "dict", list)
BOOLEAN_OR_MAPPING = Kind("true, false or a dictionary", "raw", boolean_or_mapping)


@dataclass(frozen=True)
class Key:
    """What one key of a dictionary takes.

    :ivar required: what to give, where the key has to be there.
    :ivar any_case: whether a choice may be written in small and capital letters alike.
    :ivar check: tells what is wrong with a text, with each text of a list, or with each name and value of a dictionary.
        What it returns is shown; nothing is wrong where it returns nothing.
    :ivar inside: tells what is wrong inside of the value, each fault with its place in it, such as `.max: ...`.
    :ivar keys: those of the dictionary that it takes, or of each dictionary in a list.
    """

    kind: Kind
    required: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    any_case: bool = False
    check: Callable[..., object] | None = None
    inside: Callable[[Any], Iterator[str]] | None = None
    keys: Mapping[str, Key] = field(default_factory=dict)

    def plain(self, value: object) -> Any:
        """The value in Python's own types and in the spelling of the choices; as it is when it is of another kind."""
        if value is None:
            return self.kind.empty() if self.kind.empty else None
        found = self.kind.plain(value)
        if found is None:
            return value
        if self.keys and isinstance(found, dict):
            return {name: self.keys[name].plain(one) if name in self.keys else one for name, one in found.items()}
        return (self.choice(found) or value) if self.choices else found

    def choice(self, value: str) -> str | None:
        """The choice that `value` is, in its own spelling."""
        same = (one for one in self.choices if one == value or (self.any_case and one.lower() == value.lower()))
        return next(same, None)


def of_mapping(keys: Mapping[str, Key], given: Mapping[Any, Any], path: str, partly: bool = False) -> Iterator[str]:
    """Every fault of a dictionary that is to have these keys. A value of null is one that is not given.

    :param path: the place of the dictionary, such as `celery_worker_fleets[0]`.
    :param partly: whether what has to be there may stand elsewhere.
    """
    start = f"{path}." if path else ""
    for name, value in given.items():
        if name not in keys:
            near = difflib.get_close_matches(str(name), keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(sorted(keys))}"
            yield f"{start}{name}: unknown key, {hint}"
        elif value is not None:
            yield from of_value(keys[name], value, f"{start}{name}")
    for name, key in keys.items():
        if key.required and given.get(name) is None and not partly:
            yield f"{start}{name}: missing, give {key.required}"


def of_value(key: Key, value: Any, path: str) -> Iterator[str]:
    """Every fault of one value that is not null."""
    found = key.kind.plain(value)
    if found is None:
        yield from _of_kind(key.kind, value, path)
        return
    if key.choices and key.choice(found) is None:
        yield f"{path}: {value!r} is not known, use one of {', '.join(key.choices)}"
    if key.minimum is not None and found < key.minimum and key.maximum is None:
        yield f"{path}: {value} is too small, use {key.minimum} or more"
    elif key.minimum is not None and key.maximum is not None and not key.minimum <= found <= key.maximum:
        yield f"{path}: {value} is out of range, use {key.minimum:g} to {key.maximum:g}"
    if key.keys:
        for place, one in _elements(found):
            if isinstance(one, Mapping):
                yield from of_mapping(key.keys, one, f"{path}{place}")
    elif key.check:
        for place, part in _parts(found):
            fault = key.check(*part)
            if fault:
                yield f"{path}{place}: {fault}"
    if key.inside:
        yield from (f"{path}{fault}" for fault in key.inside(found))


def _of_kind(kind: Kind, value: Any, path: str) -> Iterator[str]:
    if not kind.elements or not _is_list(value):
        yield f"{path}: must be {kind.words}, is {shown(value)}"
        return
    wanted = "a dictionary" if kind.elements == "dict" else "a text"
    for index, one in enumerate(value):
        if not isinstance(one, Mapping if kind.elements == "dict" else str):
            yield f"{path}[{index}]: must be {wanted}, is {shown(one)}"


def _elements(value: Any) -> list[tuple[str, Any]]:
    return [(f"[{index}]", one) for index, one in enumerate(value)] if _is_list(value) else [("", value)]


def _parts(value: Any) -> list[tuple[str, tuple[Any, ...]]]:
    if isinstance(value, Mapping):
        return [(f".{name}", (name, one)) for name, one in value.items()]
    return [(place, (one,)) for place, one in _elements(value)]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def shown(value: object) -> str:
    """What to say of a value that may be a secret: a number as it is, of everything else what kind of value it is.

    In words for people: never the name of a Python or Ansible class.
    """
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    if isinstance(value, (str, bytes)):
        return "a text" if value else "empty"
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, Sequence):
        return "a list" if value else "an empty list"
    return "something else"


def has_control_characters(value: str, allowed: str = "") -> bool:
    """Whether a text holds characters that would end a line, a value or a file early."""
    return any((ord(char) < 32 or ord(char) == 127) and char not in allowed for char in value)


def line(value: str) -> str | None:
    """A text of one line."""
    return "holds a line break or another control character: remove it" if has_control_characters(value) else None


def user(value: str) -> str | None:
    """A user's or group's name, as `useradd` takes it."""
    return None if _USER.fullmatch(value) else "is no user or group name: lower-case letters, digits, '-' and '_' only"


def path(value: str) -> str | None:
    """An absolute path that needs no quoting in a unit file."""
    if not value.startswith("/"):
        return f"{value!r} is not absolute: begin it with '/'"
    if ".." in value.split("/") or not _PATH.fullmatch(value):
        return f"{value!r} cannot stand in a unit file: leave out blanks, quotes, '..', and \\ $ % * ?"
    return None


def memory(value: str) -> str | None:
    """A size as systemd's `MemoryMax=` takes it."""
    if value == "infinity":
        return None
    found = _SIZE.fullmatch(value)
    if not found or float(found["number"]) == 0:
        return f"{value!r} is no amount of memory: write it as 512M, 2G or 25%"
    return None


def memory_bytes(value: object, host_memory: int) -> int | None:
    """The number of bytes that `value` stands for, a percentage being one of `host_memory`; `None` for no limit."""
    found = _SIZE.fullmatch(str(value))
    if not found:
        return None
    if found["unit"] == "%":
        return int(float(found["number"]) / 100 * host_memory)
    return int(float(found["number"]) * _UNITS[found["unit"]])


def cpu_share(value: str) -> str | None:
    """A share of CPU time as systemd's `CPUQuota=` takes it: 100% is one core."""
    if not _QUOTA.fullmatch(value) or float(value[:-1]) == 0:
        return f"{value!r} is no share of CPU time: write it as 150% for one and a half cores"
    return None
