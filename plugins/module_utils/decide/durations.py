# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them: 90, 90s, 2m, 1h30m."""

from __future__ import annotations

import re

# A bare number is seconds, and stands alone: who writes 1h30 means minutes.
_WRITTEN = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?|(?P<bare>\d+)", re.ASCII)
_LONGEST = 1e9  # seconds: some thirty years
_FORMS = "90, 90s, 2m or 1h30m"


def parse_duration(value: object) -> float:
    """Return C(value) in seconds.

    :param value: a number of seconds, or text such as C(90s), C(2m), C(1h30m).
    :raises ValueError: for anything else, negative and infinite numbers and booleans included.
    """
    if isinstance(value, bool):
        raise ValueError(f"is a boolean, not a duration such as {_FORMS}")
    if isinstance(value, (int, float)):
        if not 0 <= value <= _LONGEST:
            raise ValueError(f"{value} is not a duration: give 0 to {_LONGEST:g} seconds")
        return float(value)
    if isinstance(value, str):
        text = value.strip()
        found = _WRITTEN.fullmatch(text)
        if text and found:
            hours, minutes, seconds, bare = (int(amount or 0) for amount in found.groups())
            return parse_duration(hours * 3600 + minutes * 60 + seconds + bare)
    raise ValueError(f"{value!r} is not a duration such as {_FORMS}")


def format_duration(seconds: float) -> str:
    """Return C(seconds) in the same notation, e.g. C(5m), C(1h30m), C(0.5s)."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if amount]
    return "".join(parts) or "0s"
