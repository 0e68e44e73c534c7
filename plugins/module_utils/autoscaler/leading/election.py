# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who leads, judged by a record that all candidates see and only one at a time can replace.

The rules are those of client-go. A candidate never compares the record's times with its own clock: it takes the record
for as long as it lasts from the instant at which it saw it change, on a clock of its own that cannot be set. So clocks
may differ as they like, as long as they go at about the same speed. The one who leads stops to do so well before
anybody else can think that he is gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORTEST, LONGEST = 5.0, 15.0
"""Seconds. What lasts shorter is lost whenever the API server takes a breath."""


@dataclass(frozen=True)
class Times:
    """In seconds.

    :ivar lasts: after which a record that does not change is nobody's.
    :ivar deadline: for which the one who wrote it may act on it.
    :ivar pause: between two looks at it.
    """

    lasts: int
    deadline: float
    pause: float


def times(interval: float) -> Times:
    """Return times with which another one decides within two intervals after the leader was killed.

    The record was written at most when the leader was killed, is seen to have changed one pause later, and to last no
    more another one later: one and a half times as long as it lasts. Intervals below the shortest are not kept up with.

    :param interval: seconds between two looks at the fleets.
    """
    lasts = math.ceil(min(max(interval, SHORTEST), LONGEST))
    return Times(lasts, lasts * 2 / 3, lasts / 4)


@dataclass(frozen=True)
class Record:
    """What all candidates see.

    :ivar holder: who leads; empty where he has stepped back.
    :ivar lasts: seconds, as its writer has it.
    :ivar acquired: when he began to lead, as he wrote it; C(renewed) when he wrote last.
    :ivar transitions: how often it went from one to another.
    :ivar fleets: those that the holder sizes, or that he did who stepped back. None where the writer did not tell.
    """

    holder: str
    lasts: float
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0
    fleets: tuple[str, ...] | None = None


class Election:
    """One candidate's view. Instants are seconds on his own clock, which cannot be set.

    :ivar fleets: those that he sizes where he leads.
    :ivar record: as he last saw it, None where there is none, or he has to look again.
    """

    def __init__(self, identity: str, times: Times) -> None:
        """Be a candidate of a name that no other one has, nor ever had."""
        self.identity = identity
        self.times = times
        self.fleets: tuple[str, ...] = ()
        self.record: Record | None = None
        self._seen_at = -math.inf
        self._until = -math.inf

    def leads(self, at: float) -> bool:
        """Whether this candidate may act at this instant."""
        return at < self._until

    def saw(self, record: Record | None, at: float) -> None:
        """Take what was read, and when the answer was there."""
        if record is None or record != self.record:
            self.record, self._seen_at = record, at
        if record is None or record.holder != self.identity:
            self._until = -math.inf

    def may_write(self, at: float) -> bool:
        """Whether this candidate may put himself in: nobody else leads, as far as anybody can know."""
        record = self.record
        if record is None or record.holder in ("", self.identity):
            return True
        return at - self._seen_at >= (record.lasts if record.lasts > 0 else self.times.lasts)

    def next_record(self, now: str) -> Record:
        """Return what to write to lead, or to go on.

        :param now: the time of day, for people.
        """
        before = self.record
        if before is not None and before.holder == self.identity:
            acquired, transitions = before.acquired, before.transitions
        else:
            acquired, transitions = now, 0 if before is None else before.transitions + 1
        return Record(self.identity, self.times.lasts, acquired, now, transitions, self.fleets)

    def last_record(self, now: str) -> Record:
        """Return what to write to step back: any other candidate may take it at once."""
        return Record("", 1, now, now, 0 if self.record is None else self.record.transitions, self.fleets)

    def wrote(self, record: Record, asked_at: float) -> None:
        """Take what was written, in the place of what was seen, and when it was sent: not when the answer came."""
        self.record, self._seen_at = record, asked_at
        self._until = asked_at + self.times.deadline if record.holder == self.identity else -math.inf

    def step_down(self) -> None:
        """Do not act before having written again."""
        self._until = -math.inf
