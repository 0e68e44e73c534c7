# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instants as people and programs write them."""

from __future__ import annotations

import re
from datetime import datetime

from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import LATEST

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d|)", re.ASCII)


def instant_of(written: object) -> float:
    """Return seconds since the epoch for a number of them or a date and time of RFC 3339.

    :raises ValueError: for anything else.
    """
    if written is None:
        raise ValueError("at is missing")
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        raise ValueError(f"at is {written!r}, not a number")
    seconds = _of_rfc3339(written) if isinstance(written, str) else written
    if not 0 <= seconds <= LATEST:
        raise ValueError(f"at is {written!r}, which is not in the years 1970 to 9998")
    return float(seconds)


def _of_rfc3339(written: str) -> float:
    found = _RFC3339.fullmatch(written.upper())
    if not found:
        raise ValueError(f"at is {written!r}, neither a number of seconds nor a time such as 2026-03-04T12:00:00Z")
    date, time, second, fraction, zone = found.groups()
    # Versions of Python differ in the fractions and zones that they read, and none knows a leap second.
    leap = second == "60"
    zone = "+00:00" if zone in ("", "Z") else zone
    moment = datetime.fromisoformat(f"{date}T{time}:{'59' if leap else second}{zone}")
    return moment.timestamp() + leap + float(fraction or 0)
