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
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
_Reader = Callable[[object, str], Any]


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
    return cast(_T, _reader_of(cast(Any, kind))(raw, path))


@cache
def _reader_of(kind: Any) -> _Reader:
    # get_type_hints would need Python 3.10 for "float | None".
    names = vars(sys.modules[kind.__module__])
    fields = [field for field in dataclasses.fields(kind) if field.init]
    readers = {field.name: _read_as(ast.parse(str(field.type), mode="eval").body, names) for field in fields}
    needed = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def read(raw: object, path: str) -> Any:
        entries = _object(raw, path)
        odd = [*(key for key in entries if key not in readers), *(name for name in needed if name not in entries)]
        if odd:
            raise ValueError(f"{path}.{odd[0]} is {'not known' if odd[0] in entries else 'missing'}")
        return kind(**{key: readers[key](value, f"{path}.{key}") for key, value in entries.items()})

    return read


def _read_as(annotation: ast.expr, names: Mapping[str, Any]) -> _Reader:
    """Return the reader for an annotation such as C(tuple[Run, ...]) or C(float | None)."""
    if isinstance(annotation, ast.Name):
        named = _PLAIN.get(annotation.id)
        return named or _read_named(names[annotation.id])
    if isinstance(annotation, ast.BinOp) and ast.unparse(annotation.right) == "None":
        return _optional(_read_as(annotation.left, names))
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        inner = annotation.slice.elts
        if ast.unparse(annotation.value) == "tuple":
            if ast.unparse(inner[-1]) == "...":
                return _tuple_of(_read_as(inner[0], names))
            return _tuple(tuple(_read_as(item, names) for item in inner))
        if ast.unparse(annotation.value) == "Mapping" and ast.unparse(inner[0]) == "str":
            return _mapping_of(_read_as(inner[1], names))
    raise TypeError(f"a field of type {ast.unparse(annotation)} is not read from JSON")


def _read_named(kind: Any) -> _Reader:
    if issubclass(kind, Enum):
        return _choice(kind)

    def read(raw: object, path: str) -> Any:
        # Not before it is needed: a class may be told of before it is defined.
        return _reader_of(kind)(raw, path)

    return read


def _object(raw: object, path: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is not an object")
    return raw


def _list(raw: object, path: str) -> list[object]:
    if not isinstance(raw, list):
        raise ValueError(f"{path} is not a list")
    return raw


def _number(raw: object, path: str) -> float:
    try:
        number = math.nan if isinstance(raw, bool) or not isinstance(raw, (int, float)) else float(raw)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{path} is not a number")
    return number


def _whole(raw: object, path: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"{path} is not a whole number")
    return raw


def _text(raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{path} is not a text")
    return raw


def _truth(raw: object, path: str) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{path} is not true or false")
    return raw


def _optional(read: _Reader) -> _Reader:
    return lambda raw, path: None if raw is None else read(raw, path)


def _tuple_of(read: _Reader) -> _Reader:
    return lambda raw, path: tuple(read(item, f"{path}[{place}]") for place, item in enumerate(_list(raw, path)))


def _tuple(readers: tuple[_Reader, ...]) -> _Reader:
    def read(raw: object, path: str) -> tuple[Any, ...]:
        listed = _list(raw, path)
        if len(listed) != len(readers):
            raise ValueError(f"{path} has {len(listed)} entries, not {len(readers)}")
        return tuple(read(item, f"{path}[{place}]") for place, (read, item) in enumerate(zip(readers, listed)))

    return read


def _mapping_of(read: _Reader) -> _Reader:
    return lambda raw, path: {key: read(value, f"{path}.{key}") for key, value in _object(raw, path).items()}


def _choice(kind: type[Enum]) -> _Reader:
    def read(raw: object, path: str) -> Enum:
        try:
            return kind(raw)
        except ValueError:
            raise ValueError(f"{path} is {raw!r}, which is not known") from None

    return read


_PLAIN: dict[str, _Reader] = {"float": _number, "int": _whole, "str": _text, "bool": _truth}
