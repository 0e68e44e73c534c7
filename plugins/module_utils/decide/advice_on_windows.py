# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows without effect, and what of a week they cover. The clock's changes are left out of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import Window

_DAY = 24 * 60  # minutes
_WEEK = 7 * _DAY


def window_advice(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield the path of a window, and what to say of it."""
    windows, limits = policy.schedule.windows, policy.limits
    minutes = [_minutes(window) for window in windows]
    for place, window in enumerate(windows):
        path = f"schedule.windows[{place}]"
        if window.min_workers is not None and window.min_workers < limits.min_workers:
            yield (
                f"{path}.min_workers",
                f"a window only narrows the limits: the floor stays {limits.min_workers}, as limits.min_workers says",
            )
        if window.max_workers is not None and window.max_workers > limits.max_workers:
            yield (
                f"{path}.max_workers",
                f"a window only narrows the limits: the ceiling stays {limits.max_workers}, as limits.max_workers says",
            )
        earlier, later = reduce(or_, minutes[:place], 0), reduce(or_, minutes[place + 1 :], 0)
        if not minutes[place] & ~later:
            over = zip(windows[place + 1 :], minutes[place + 1 :])
            names = ", ".join(other.name for other, theirs in over if theirs & minutes[place])
            yield path, f"{window.name} is never in force: later windows win over it all the time ({names})"
        elif limits.narrowed(window) == limits.narrowed(None) and not minutes[place] & earlier:
            yield path, f"{window.name} changes nothing: its bounds are those of the limits"


def bounds_of_the_week(policy: Policy) -> set[tuple[int, int]]:
    """Return every floor with its ceiling that is in force at some time of the week."""
    found, left = set(), (1 << _WEEK) - 1
    for window in reversed(policy.schedule.windows):
        if _minutes(window) & left:
            found.add(policy.limits.narrowed(window))
        left &= ~_minutes(window)
    if left:
        found.add(policy.limits.narrowed(None))
    return found


def length(window: Window) -> int:
    """Return how many minutes of the wall clock C(window) lasts."""
    return (window.end - window.start) % _DAY or _DAY


def _minutes(window: Window) -> int:
    """Return the minutes of the week that C(window) has, one bit each, from Monday's midnight."""
    span = ((1 << length(window)) - 1) << window.start
    found = reduce(or_, (span << day * _DAY for day in window.days), 0)
    # What goes past Sunday's midnight is Monday again.
    return (found | found >> _WEEK) & ((1 << _WEEK) - 1)
