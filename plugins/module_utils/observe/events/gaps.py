# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep account of when events could not be heard."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import StreamHealth


class Gaps:
    """What was heard from when to when. Instants are seconds of a clock that cannot be set."""

    def __init__(self) -> None:
        self.problem = "the events of the broker are not heard yet"
        self.count = 0
        self.last: float | None = None
        self._ended = 0.0
        self._joined_at: float | None = None
        self._lost_at: float | None = None

    def joined(self, at: float) -> None:
        """Events are heard from now on."""
        if self._lost_at is not None:
            self.last = at - self._lost_at
            self._ended += self.last
        self._joined_at, self._lost_at = at, None
        self.problem = ""

    def lost(self, at: float, problem: str) -> float | None:
        """Events are not heard, again or still; return the seconds for which they were, None when still."""
        self.problem = problem
        if self._joined_at is None:
            return None
        lasted = at - self._joined_at
        self._joined_at, self._lost_at = None, at
        self.count += 1
        return lasted

    def health(self, at: float, events: int, foreign: int, garbage: int) -> StreamHealth:
        """Return the account as a value."""
        return StreamHealth(
            connected_for=None if self._joined_at is None else at - self._joined_at,
            problem=self.problem,
            gaps=self.count,
            gap_seconds=self._ended + (0.0 if self._lost_at is None else at - self._lost_at),
            last_gap_seconds=self.last,
            events=events,
            foreign=foreign,
            garbage=garbage,
        )
