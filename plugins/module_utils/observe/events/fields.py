# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of events, which come from the network and may be anything."""

from __future__ import annotations

from typing import Any

LARGEST_COUNT = 2**53


def text_of(value: Any) -> str:
    """Return a text.

    :raises TypeError: when it is none.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def count_of(value: Any) -> int | None:
    """Return a count, None when it is none."""
    # A bool is an int to isinstance.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT else None


def seconds_of(value: Any, longest: float) -> float | None:
    """Return a length of time between 0 and C(longest) seconds, None when it is none."""
    # JSON as Python reads it has NaN, which is in no range.
    return float(value) if type(value) in (float, int) and 0 <= value <= longest else None
