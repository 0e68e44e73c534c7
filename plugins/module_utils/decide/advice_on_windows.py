# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows without effect, and what of a week they cover. The clock's changes are left out of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import (
    OneOffWindow,
    WeeklyWindow,
    Window,
)

_DAY = 24 * 60  # minutes
_WEEK = 7 * _DAY
_ROUND = 8 * 86400.0  # seconds: a week, and the hour by which the clock may be changed in it


def window_advice(policy: Policy, at: float) -> Iterator[tuple[str, str]]:
    """Yield the path of a window, and what to say of it at C(at) seconds since the epoch."""
    limits = policy.limits
    for place, window in enumerate(policy.schedule.windows):
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
        if isinstance(window, WeeklyWindow):
            yield from _on_weekly(policy, place, window, path)
        elif window.until <= at:
            over = written(window.until, zone_of(policy.schedule.timezone))
            yield f"{path}.until", f"{window.name} has been over since {over}: take it out, or give it other dates"
        else:
            yield from _on_one_off(policy, place, window, path)


def bounds_to_come(policy: Policy, at: float) -> set[tuple[int, int]]:
    """Return every floor with its ceiling that is in force at some time of the week, or once after C(at)."""
    found, left = set(), (1 << _WEEK) - 1
    for window in reversed(policy.schedule.weekly):
        if _minutes(window) & left:
            found.add(policy.limits.narrowed(window))
        left &= ~_minutes(window)
    if left:
        found.add(policy.limits.narrowed(None))
    for place, once in enumerate(policy.schedule.windows):
        if (
            isinstance(once, OneOffWindow)
            and once.until > at
            and any(held for held, _else in _held(policy, place, once))
        ):
            found.add(policy.limits.narrowed(once))
    return found


def seconds(window: WeeklyWindow | OneOffWindow) -> float:
    """Return how long C(window) lasts when it begins, without end where it begins again as it ends."""
    if isinstance(window, OneOffWindow):
        return window.until - window.since
    return math.inf if window.whole_day else window.minutes * 60.0


def _on_weekly(policy: Policy, place: int, window: WeeklyWindow, path: str) -> Iterator[tuple[str, str]]:
    def others(windows: tuple[WeeklyWindow | OneOffWindow, ...]) -> list[tuple[WeeklyWindow, int]]:
        return [(other, _minutes(other)) for other in windows if isinstance(other, WeeklyWindow)]

    windows, minutes, limits = policy.schedule.windows, _minutes(window), policy.limits
    earlier, later = others(windows[:place]), others(windows[place + 1 :])
    if not minutes & ~_together(later):
        yield path, _never(window, [other for other, theirs in later if theirs & minutes])
    elif limits.narrowed(window) == limits.narrowed(None) and not minutes & _together(earlier):
        yield path, f"{window.name} changes nothing: its bounds are those of the limits"


def _on_one_off(policy: Policy, place: int, window: OneOffWindow, path: str) -> Iterator[tuple[str, str]]:
    bounds = policy.limits.narrowed
    pieces = list(_held(policy, place, window))
    if not any(held for held, _otherwise in pieces):
        winners = [other for other in policy.schedule.windows if any(other is winner for _mine, winner in pieces)]
        yield path, _never(window, winners)
    elif all(bounds(otherwise) == bounds(window) for held, otherwise in pieces if held):
        yield path, f"{window.name} changes nothing: its bounds hold then without it too"


def _never(window: Window, winners: Sequence[Window]) -> str:
    names = ", ".join(other.name for other in winners)
    return f"{window.name} is never in force: later windows win over it all the time ({names})"


def _held(policy: Policy, place: int, window: OneOffWindow) -> Iterator[tuple[bool, Window | None]]:
    """Yield for each piece of the time of C(window) whether it is in force, and which one is without it."""
    schedule = policy.schedule
    without = replace(schedule, windows=(*schedule.windows[:place], *schedule.windows[place + 1 :]))
    edges = {edge for each in schedule.one_offs for edge in (each.since, each.until)}
    marks = sorted({window.since, window.until, *(edge for edge in edges if window.since < edge < window.until)})
    for begin, end in zip(marks, marks[1:]):
        # Between the edges of those that come once, one week is like the other.
        end = min(end, begin + _ROUND)
        for instant in sorted({since for each in (schedule, without) for since, _to, _w in each.timeline(begin, end)}):
            yield schedule.in_force(instant) is window, without.in_force(instant)


def _together(windows: list[tuple[WeeklyWindow, int]]) -> int:
    return reduce(or_, (minutes for _window, minutes in windows), 0)


def _minutes(window: WeeklyWindow) -> int:
    """Return the minutes of the week that C(window) has, one bit each, from Monday's midnight."""
    span = ((1 << window.minutes) - 1) << window.start
    found = reduce(or_, (span << day * _DAY for day in window.days), 0)
    # What goes past Sunday's midnight is Monday again.
    return (found | found >> _WEEK) & ((1 << _WEEK) - 1)
