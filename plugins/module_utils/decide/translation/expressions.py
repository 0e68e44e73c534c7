# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of the week in the languages of cron and of systemd."""

from __future__ import annotations

from collections.abc import Sequence

# Cron counts from Sunday, 0.
_CRON_DAYS = (1, 2, 3, 4, 5, 6, 0)
_SYSTEMD_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def cron(minute: int, days: Sequence[int]) -> str:
    """Return a crontab's five fields for C(minute) after midnight of C(days), numbers from Monday, 0."""
    numbers = sorted(_CRON_DAYS[day] for day in days)
    on = "*" if len(numbers) == 7 else ",".join(_ranges([str(number) for number in range(7)], numbers, "-"))
    return f"{minute % 60} {minute // 60} * * {on}"


def on_calendar(minute: int, days: Sequence[int], zone: str) -> str:
    """Return likewise what systemd takes as C(OnCalendar=), on the clock of a zone."""
    on = "" if len(days) == 7 else ",".join(_ranges(_SYSTEMD_DAYS, sorted(days), "..")) + " "
    return f"{on}*-*-* {minute // 60:02}:{minute % 60:02}:00 {zone}"


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
