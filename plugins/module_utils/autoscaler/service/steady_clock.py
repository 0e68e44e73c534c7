# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of day, which may be set at any moment, as it is from one look to the next."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock

CLOCK_STEP = 1.0
"""Seconds by which the wall clock must have gone astray between two looks to count as having been set."""


class SteadyClock:
    """A wall clock that is set between looks only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drift = self._offset()

    def time_of_day(self) -> float:
        """Return the seconds since the epoch by the clock as it was at the beginning of this look.

        One that is set in the middle counts as set from the next look on: what is remembered of this one
        is then shifted as a whole.
        """
        return self._drift + self._clock.monotonic()

    def step(self) -> float:
        """Begin a look. Return by how many seconds the wall clock was set since the last one, 0 when it was not."""
        now = self._offset()
        step, self._drift = now - self._drift, now
        return step if abs(step) >= CLOCK_STEP else 0.0

    def _offset(self) -> float:
        return self._clock.wall() - self._clock.monotonic()
