# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wall clock of a zone: when it shows a time, and dates with times as people write them."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?: ?(Z|[+-]\d\d:\d\d))?)?",
    re.ASCII | re.IGNORECASE,
)
_YEARS = range(1970, 9999)

LATEST = datetime(9998, 12, 31, tzinfo=timezone.utc).timestamp()
"""A day before the end of Python's calendar, in seconds since the epoch: every time zone still has a date for it."""


def zone_of(name: str) -> tzinfo:
    """Return the time zone called C(name). UTC is there even on a host that has no database of zones.

    :raises KeyError: when there is none; C(OSError) or C(ValueError) when the name is no name at all.
    """
    return timezone.utc if name == "UTC" else ZoneInfo(name)


def instant(day: date, minutes: int, zone: tzinfo) -> float:
    """Return when the wall clock of C(zone) shows C(minutes) after midnight of C(day), in seconds since the epoch.

    In a repeated hour it is the first occurrence; in a skipped one the first instant after the gap.
    """
    return first_shown(datetime.combine(day, time()) + timedelta(minutes=minutes), zone)


def first_shown(wall: datetime, zone: tzinfo) -> float:
    """Return likewise when the wall clock shows C(wall), a date and time without a zone."""
    first = wall.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.fromtimestamp(first, zone).replace(tzinfo=None) == wall:
        return first
    # Inside a gap the two readings of the wall clock lie on both sides of the change.
    before = wall.replace(tzinfo=zone, fold=1).timestamp()
    offset = datetime.fromtimestamp(first, zone).utcoffset()
    low, high = int(before), int(first)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return float(high)


def moment_of(written: object, zone: tzinfo) -> float:
    """Return the instant that a person means, in whole seconds since the epoch; fractions of a second are cut.

    With an offset or C(Z) it is RFC 3339. Without one it is what the wall clock of C(zone) shows, and a day without a
    time is its midnight. C(24:00) is the midnight at the end of a day. Values of YAML's own types, which an unquoted
    date becomes, mean the same.

    :raises ValueError: for anything else.
    """
    if isinstance(written, datetime):
        written = written.isoformat(sep=" ")
    elif isinstance(written, date):
        written = written.isoformat()
    found = _MOMENT.fullmatch(written.strip()) if isinstance(written, str) else None
    if not found:
        raise ValueError('no date with a time such as "2026-12-01 08:00" or "2026-12-01T08:00:00+01:00"')
    year, month, day, *numbers = (int(number or 0) for number in found.groups()[:6])
    hours, minutes, seconds = numbers
    if year not in _YEARS:
        raise ValueError("not in the years 1970 to 9998")
    # A leap second is the first of the next minute.
    if minutes > 59 or seconds > 60 or hours > 24 or (hours == 24 and (minutes or seconds)):
        raise ValueError("no time of day: it goes from 00:00 to 24:00")
    wall = datetime(year, month, day) + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    offset = found.group(7)
    meant = wall.replace(tzinfo=_fixed(offset)).timestamp() if offset else first_shown(wall, zone)
    if not 0 <= meant <= LATEST:
        raise ValueError("not in the years 1970 to 9998")
    return float(int(meant))


def written(at: float, zone: tzinfo) -> str:
    """Return an instant, in whole seconds, as RFC 3339 on the clock of C(zone)."""
    moment = datetime.fromtimestamp(at, zone)
    # Offsets of long ago have seconds, which RFC 3339 has no place for.
    if (moment.utcoffset() or timedelta()) % timedelta(minutes=1):
        moment = moment.astimezone(timezone.utc)
    return moment.isoformat(timespec="seconds")


def _fixed(offset: str) -> tzinfo:
    if offset in "Zz":
        return timezone.utc
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{offset} is no offset from UTC")
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(-ahead if offset[0] == "-" else ahead)
