# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last points of some numbers, as many as there is room for."""

from __future__ import annotations

import math
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple, TypeVar

POINTS = 300
"""Of each number. A picture has no room for more."""

MOST_COLUMNS = 32
"""More than are recorded. What a file names beyond is no history of ours."""

UNKNOWN = math.nan

T = TypeVar("T")

_PACKED = Struct(f"<{POINTS}f")


@dataclass(frozen=True)
class Span:
    """What a ring has of a time that ends now.

    :ivar start: seconds since the epoch at which the first of C(POINTS) points begins, each of which lasts C(step).
    :ivar columns: the numbers of each name; C(UNKNOWN) where it was not known, or nobody looked.
    :ivar looked: whether somebody looked while the point lasted.
    """

    start: float
    step: float
    columns: Mapping[str, list[float]]
    looked: list[bool]

    @property
    def end(self) -> float:
        """When the last point ends."""
        return self.start + POINTS * self.step

    def column(self, name: str) -> list[float]:
        """Return the points of a name; nothing is known of one that was never recorded."""
        return self.columns.get(name) or [UNKNOWN] * POINTS


class Value(NamedTuple):
    """A number that was seen.

    :ivar most_of: the name of the number whose most says at which look a point is taken, which stands before the others
        that are taken with it. Empty is the last look.
    """

    name: str
    value: float
    most_of: str = ""


class Ring:
    """Points that last C(step) seconds each. A point is known by its number, which is the time divided by C(step)."""

    def __init__(self, step: float) -> None:
        self.step = step
        self._newest: int | None = None
        self._columns: dict[str, array[float]] = {}
        self._looked = bytearray(POINTS)

    def put(self, at: float, values: Iterable[Value], *, goes_on: bool) -> None:
        """Record what was seen at C(at) seconds since the epoch.

        :param goes_on: whether what was seen before held until now. Looks may be further apart than points.
        """
        number = int(at // self.step)
        self._move_to(number, goes_on)
        place = number % POINTS
        self._looked[place] = 1
        beaten = set()
        for name, value, most_of in values:
            column = self._columns.get(name)
            if column is None:
                if len(self._columns) >= MOST_COLUMNS:
                    continue
                column = self._columns[name] = array("f", [UNKNOWN]) * POINTS
            # What is not known is greater than nothing.
            if most_of == name and column[place] > value:
                beaten.add(name)
            if most_of not in beaten:
                column[place] = value

    def shift(self, seconds: float) -> None:
        """Have the clock set by so many seconds: what was recorded is as long ago as it was."""
        points = round(seconds / self.step)
        if self._newest is None or not points:
            return
        self._newest += points
        turn = points % POINTS
        for name, column in self._columns.items():
            self._columns[name] = column[-turn:] + column[:-turn] if turn else column
        self._looked = self._looked[-turn:] + self._looked[:-turn] if turn else self._looked

    def span(self, now: float) -> Span:
        """Return the points up to now."""
        last = int(now // self.step)
        newest = last - POINTS if self._newest is None else self._newest
        columns = {name: _in_order(column.tolist(), newest, last, UNKNOWN) for name, column in self._columns.items()}
        looked = _in_order([bool(one) for one in self._looked], newest, last, False)
        return Span((last - POINTS + 1) * self.step, self.step, columns, looked)

    def first_look(self) -> float | None:
        """Return when the first point begins in which somebody looked, in seconds since the epoch."""
        if self._newest is None:
            return None
        numbers = range(self._newest - POINTS + 1, self._newest + 1)
        return next((number * self.step for number in numbers if self._looked[number % POINTS]), None)

    def as_json(self) -> dict[str, Any]:
        """Return what C(of_json) makes a ring of again."""
        columns = {name: _written(_PACKED.pack(*column)) for name, column in self._columns.items()}
        return {"newest": self._newest, "looked": _written(bytes(self._looked)), "columns": columns}

    @classmethod
    def of_json(cls, step: float, raw: Mapping[str, Any]) -> Ring:
        """Return the ring that was written.

        :raises LookupError: when something is missing; TypeError or ValueError when it is something else.
        """
        ring = cls(step)
        if raw["newest"] is None:
            return ring
        ring._newest = int(raw["newest"])
        ring._looked = bytearray(_read(raw["looked"], POINTS))
        for name, text in list(raw["columns"].items())[:MOST_COLUMNS]:
            ring._columns[str(name)] = array("f", _PACKED.unpack(_read(text, _PACKED.size)))
        return ring

    def _move_to(self, number: int, goes_on: bool) -> None:
        before = self._newest
        self._newest = number
        if before is None or number == before:
            return
        if abs(number - before) >= POINTS:
            self._forget(range(POINTS))
        elif number < before:
            # The clock was set back: what comes after now has not happened.
            self._forget(each % POINTS for each in range(number + 1, before + 1))
        else:
            self._forget(each % POINTS for each in range(before + 1, number + 1))
            if goes_on:
                self._repeat(before % POINTS, [each % POINTS for each in range(before + 1, number)])

    def _forget(self, places: Iterable[int]) -> None:
        for place in places:
            self._looked[place] = 0
            for column in self._columns.values():
                column[place] = UNKNOWN

    def _repeat(self, origin: int, places: Iterable[int]) -> None:
        for place in places:
            self._looked[place] = self._looked[origin]
            for column in self._columns.values():
                column[place] = column[origin]


def _in_order(places: list[T], newest: int, last: int, nothing: T) -> list[T]:
    """Return the points that end with the number C(last), by the places of those that end with C(newest)."""
    first = (newest + 1) % POINTS
    points = places[first:] + places[:first]
    missing = last - newest
    if missing >= 0:
        return points[missing:] + [nothing] * min(missing, POINTS)
    # The clock was set back, and nobody has looked since.
    return [nothing] * min(-missing, POINTS) + points[:missing]


def _written(data: bytes) -> str:
    return b64encode(zlib.compress(data, 1)).decode("ascii")


def _read(text: str, size: int) -> bytes:
    try:
        # It never unpacks to more than is wanted.
        data = zlib.decompressobj().decompress(b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes in the place of {size}")
    return data
