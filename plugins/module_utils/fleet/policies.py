# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet's policy means to the fleet: its faults, and how many workers it may come to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy

_NUMBERS = frozenset(
    {
        *("min_workers", "max_workers", "scale_up_max", "scale_down_max"),
        *("above", "below", "equals"),
        *("workers", "percent"),
    }
)
"""Keys that take a number, wherever they stand in a policy."""

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def plain(policy: object) -> dict[Any, Any] | None:
    """The policy with numbers where a text spells one; `None` when it is no dictionary."""
    return _plain(policy) if isinstance(policy, Mapping) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _number(one) if key in _NUMBERS else _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(one) for one in value]
    return value


def _number(value: object) -> object:
    return checks.number(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def faults(policy: object) -> Iterator[str]:
    """Every fault of a policy, each with its place in it, such as `.scale_up.any[2].for: ...`."""
    try:
        parse_policy(policy)
    except PolicyError as error:
        yield from (f".{fault}" for fault in error.faults)


def most_workers(fleet: Mapping[str, Any]) -> int:
    """The most workers that a resolved fleet comes to: those it has at first, or as many as its policy allows.

    :raises PolicyError: when the policy has faults.
    """
    if fleet["policy"] is None:
        return int(fleet["workers"])
    return max(int(fleet["workers"]), parse_policy(fleet["policy"]).limits.max_workers)
