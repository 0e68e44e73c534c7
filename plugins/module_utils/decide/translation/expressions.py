# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of the week, and of the calendar, in the languages of cron and of systemd."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone

from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of

# Cron counts from Sunday, 0.
_CRON_DAYS = (1, 2, 3, 4, 5, 6, 0)
_SYSTEMD_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EVERY_DATE = "*-*-*"
LAST_YEAR = 2199
"""The last one of systemd's calendar."""

_A_DAY = 86400.0


def cron(minute: int, days: Sequence[int]) -> str:
    """Return a crontab's five fields for C(minute) after midnight of C(days), numbers from Monday, 0."""
    numbers = sorted(_CRON_DAYS[day] for day in days)
    on = "*" if len(numbers) == 7 else ",".join(_ranges([str(number) for number in range(7)], numbers, "-"))
    return f"{minute % 60} {minute // 60} * * {on}"


def cron_of_a_date(at: float, zone: str) -> str:
    """Return a crontab's five fields for an instant, in seconds since the epoch, on the clock of a zone.

    They have no year and no seconds.
    """
    wall = datetime.fromtimestamp(at, zone_of(zone))
    return f"{wall.minute} {wall.hour} {wall.day} {wall.month} *"


def on_calendar(minute: int, days: Sequence[int], zone: str, dates: str = _EVERY_DATE) -> str:
    """Return what systemd takes as C(OnCalendar=) for a minute of days of the week, on the clock of a zone.

    :param dates: which dates alone, as C(calendar_dates) gives them.
    """
    on = "" if len(days) == 7 else ",".join(_ranges(_SYSTEMD_DAYS, sorted(days), "..")) + " "
    return f"{on}{dates} {minute // 60:02}:{minute % 60:02}:00 {zone}"


def on_calendar_of_a_date(at: float, zone: str) -> str:
    """Return likewise what stands for an instant, in whole seconds since the epoch.

    It is told on the clock of the zone; near a change of that clock in UTC, which has but one meaning. (systemd 252
    takes the first instant after the gap in Pacific/Chatham for none.)
    """
    clock = zone_of(zone)
    before, after = (datetime.fromtimestamp(at + days * _A_DAY, clock).utcoffset() for days in (-1, 1))
    if before != after:
        clock, zone = timezone.utc, "UTC"
    return f"{datetime.fromtimestamp(at, clock):%Y-%m-%d %H:%M:%S} {zone}"


def calendar_dates(first: date | None, last: date | None, today: date) -> Iterator[tuple[str, date, date]]:
    """Yield the dates from C(first) to C(last) as systemd writes them, in as few parts as whole years and months allow.

    :param first: None is the beginning of this year, and C(last) of None the end of time.
    :param today: parts that were over before it are left out.
    """
    if first is None and last is None:
        yield _EVERY_DATE, date(today.year, 1, 1), date(LAST_YEAR, 12, 31)
        return
    begin, end = first or date(today.year, 1, 1), min(last or date.max, date(LAST_YEAR, 12, 31))
    while begin <= end:
        months_end = date(begin.year, begin.month, monthrange(begin.year, begin.month)[1])
        if (begin.month, begin.day) == (1, 1) and date(begin.year, 12, 31) <= end:
            final = end.year if (end.month, end.day) == (12, 31) else end.year - 1
            text, until = f"{_span(begin.year, final, 4)}-*-*", date(final, 12, 31)
        elif begin.day == 1 and months_end <= end:
            final = 12 if end.year > begin.year else end.month
            if end < date(begin.year, final, monthrange(begin.year, final)[1]):
                final -= 1
            text = f"{begin.year}-{_span(begin.month, final, 2)}-*"
            until = date(begin.year, final, monthrange(begin.year, final)[1])
        else:
            until = min(months_end, end)
            text = f"{begin.year}-{begin.month:02}-{_span(begin.day, until.day, 2)}"
        if until >= today:
            yield text, begin, until
        if until == date(LAST_YEAR, 12, 31):
            return
        begin = until + timedelta(days=1)


def _span(first: int, last: int, digits: int) -> str:
    return f"{first:0{digits}}" if first == last else f"{first:0{digits}}..{last:0{digits}}"


def _ranges(names: Sequence[str], numbers: Sequence[int], to: str) -> list[str]:
    """Return the names of the numbers, three and more in a row as a range."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return [
        text
        for row in rows
        for text in ([f"{names[row[0]]}{to}{names[row[-1]]}"] if len(row) > 2 else [names[number] for number in row])
    ]
