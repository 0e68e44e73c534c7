# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values to JSON and back: frozen dataclasses, read as strictly as their annotations say.

The shape of the JSON is the shape of the dataclasses, so a field that is added is written and read at once. What is
absent takes the field's default, so that a file survives an upgrade; what is not known, or of the wrong kind, is
refused.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import sys
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


def to_json(value: object) -> Any:
    """Return C(value) as what the module json writes: a dataclass becomes an object, a tuple a list.

    :raises TypeError: for a value that has no place in a JSON file.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not written to JSON")


def from_json(kind: type[_T], raw: object, path: str) -> _T:
    """Return the dataclass C(kind) that C(raw) describes.

    :param path: where C(raw) stands in its file, for the message.
    :raises ValueError: when C(raw) is anything else, with the place and the reason.
    """
    annotations, needed = _fields_of(cast(Any, kind))
    entries = _of(dict, raw, path, "an object")
    odd = [*(key for key in entries if key not in annotations), *(name for name in needed if name not in entries)]
    if odd:
        raise ValueError(f"{path}.{odd[0]} is {'not known' if odd[0] in entries else 'missing'}")
    # get_type_hints would need Python 3.10 for "float | None".
    names = vars(sys.modules[kind.__module__])
    return kind(**{key: _read(annotations[key], names, value, f"{path}.{key}") for key, value in entries.items()})


@cache
def _fields_of(kind: Any) -> tuple[dict[str, ast.expr], list[str]]:
    """Return the annotations of a dataclass by field, and the fields that have no default."""
    fields = [field for field in dataclasses.fields(kind) if field.init]
    annotations = {field.name: ast.parse(str(field.type), mode="eval").body for field in fields}
    missing = dataclasses.MISSING
    return annotations, [each.name for each in fields if each.default is missing and each.default_factory is missing]


def _read(kind: ast.expr, names: Mapping[str, Any], raw: object, path: str) -> Any:
    """Return what is read by an annotation such as C(tuple[Run, ...]) or C(float | None)."""
    if isinstance(kind, ast.Name):
        return _read_named(kind.id, names, raw, path)
    if isinstance(kind, ast.BinOp) and ast.unparse(kind.right) == "None":
        return None if raw is None else _read(kind.left, names, raw, path)
    if isinstance(kind, ast.Subscript) and isinstance(kind.slice, ast.Tuple):
        inner = kind.slice.elts
        if ast.unparse(kind.value) == "tuple":
            items = _of(list, raw, path, "a list")
            if ast.unparse(inner[-1]) == "...":
                inner = inner[:1] * len(items)
            if len(items) != len(inner):
                raise ValueError(f"{path} has {len(items)} entries, not {len(inner)}")
            both = enumerate(zip(inner, items))
            return tuple(_read(each, names, item, f"{path}[{place}]") for place, (each, item) in both)
        if ast.unparse(kind.value) == "Mapping" and ast.unparse(inner[0]) == "str":
            entries = _of(dict, raw, path, "an object").items()
            return {key: _read(inner[1], names, value, f"{path}.{key}") for key, value in entries}
    raise TypeError(f"a field of type {ast.unparse(kind)} is not read from JSON")


def _read_named(name: str, names: Mapping[str, Any], raw: object, path: str) -> Any:
    if name == "float":
        return _number(raw, path)
    if name in _PLAIN:
        python, words = _PLAIN[name]
        return _of(python, raw, path, words)
    kind = names[name]
    if not issubclass(kind, Enum):
        return from_json(kind, raw, path)
    try:
        return kind(raw)
    except ValueError:
        raise ValueError(f"{path} is {raw!r}, which is not known") from None


def _number(raw: object, path: str) -> float:
    words = "a number"
    try:
        number = float(_of((int, float), raw, path, words))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{path} is not {words}")
    return number


def _of(kind: Any, raw: object, path: str, words: str) -> Any:
    """Return what is of this kind of Python. A truth value is no number."""
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ValueError(f"{path} is not {words}")
    return raw


_PLAIN = {"int": (int, "a whole number"), "str": (str, "a text"), "bool": (bool, "true or false")}
