# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instants among what is remembered: where they are, so that all of them follow a clock that was set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

INSTANT: Mapping[str, bool] = MappingProxyType({"instant": True})
"""Metadata of a field with an instant, in seconds since the epoch, or None; or with tuples that begin with one."""

_T = TypeVar("_T", bound="OnAClock")


@dataclass(frozen=True)
class OnAClock:
    """What has instants, which are marked as such, its own and those of what it holds."""

    def shifted(self: _T, seconds: float) -> _T:
        """Return the same on a clock that was set by C(seconds), forward or (negative) back."""
        changes = {}
        for field in fields(self):
            shift = _moved if "instant" in field.metadata else _following
            changes[field.name] = shift(getattr(self, field.name), seconds)
        return replace(self, **changes)


def _moved(instant: Any, seconds: float) -> Any:
    if isinstance(instant, tuple):
        return tuple((at + seconds, *rest) for at, *rest in instant)
    return None if instant is None else instant + seconds


def _following(value: Any, seconds: float) -> Any:
    if isinstance(value, OnAClock):
        return value.shifted(seconds)
    if isinstance(value, tuple):
        return tuple(_following(each, seconds) for each in value)
    if isinstance(value, Mapping):
        return {name: _following(each, seconds) for name, each in value.items()}
    return value
