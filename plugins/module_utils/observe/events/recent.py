# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember what was learned of a task until it ends, without growing for ever."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Maps keys to values, and forgets the oldest when there are too many.

    Two generations: when the young one is full, it takes the old one's place. That costs
    nothing for each entry, where an ordered mapping doubles the memory. Between half of
    C(limit) and all of it is remembered.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[int, V] = {}
        self._old: dict[int, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def put(self, key: int, value: V) -> None:
        """Remember a value in place of any other of this key."""
        self._young[key] = value
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def get(self, key: int) -> V | None:
        """Return the value, None when it is not known (any more)."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def pop(self, key: int) -> V | None:
        """Forget the value and return it, None when it is not known (any more)."""
        value = self._young.pop(key, None)
        older = self._old.pop(key, None) if self._old else None
        return older if value is None else value
