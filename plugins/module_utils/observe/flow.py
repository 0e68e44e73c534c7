# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the oldest waiting message of a queue has waited, from counts alone.

Messages need not carry the time of their sending. At each look it is known how many messages wait, and either how many
have arrived or how many have left; together that is the whole flow. A queue is first in, first out: when 900 have left,
the oldest one that waits is the 901st that arrived, and it arrived when the count of arrivals went from 900 to 901.
Between two looks arrivals are taken to be spread, nearly, evenly, so a wait is exact to the time between the two looks
around the arrival. Where these are far apart, as after a time without readings, only bounds are known: it arrived after
the one look and before the other.

C(look_at_arrivals) is for a broker that counts what arrives in each list, which is exact: whoever takes messages, what
arrived less what waits has left. C(look) is for counts of what was taken, by the broker or by workers. What those do
not show, and what comes of it:

* Departures that nobody counts (the queue is purged, messages expire, a worker is killed between two looks). The
  number that waits falls by more than was taken; the difference is taken for departures.
* Messages that come back (given back by a worker that stops, delivered again after its death): they arrive again.
  Their first wait is not known any more.
* Counts that are older than the number that waits. Departures may be uncounted for as long as counts may be late;
  what is uncounted for longer will never be counted. The last few messages of a queue, as many as are taken in that
  time, can look younger than they are.
* Messages that somebody takes who is not among the counted: to be seen as departures only while fewer arrive.
* Priorities: within one queue, the wait is that of a queue that ignores them.

Messages that waited already at the first look arrived at an unknown time before it; until all of them have left only a
lower bound is known: the time since that look.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock

LATE = 1.0
"""Seconds by which workers' counts may be late."""

EDGE = 0.15
"""Share of the time between two looks that no arrival is put nearer to either.

Of a burst, all of which came at one moment between them, the first or the last would otherwise be off by nearly all
of that time. Of a steady stream they are off by this share at most.
"""

MOST_POINTS = 400
"""Looks that are remembered of one queue; beyond, those long ago are thinned out."""

THINNING = 0.04
"""Time between two remembered looks over their age, up to which a look between them is not needed."""

NEAR = 10.0
"""Seconds between the two looks around an arrival up to which the wait is taken for exact."""

NEAR_SHARE = 0.1
"""Likewise as a share of the wait: after an hour it does not matter which minute it was."""

TELLING = 30.0
"""Seconds from which on a lower bound is told as the wait.

A lower bound proves that a wait is above a threshold, never that it is below one. By the time it is this long, it is
past the thresholds below which anybody would call a fleet idle, and a queue that stands still must not stay unknown.
"""


@dataclass(frozen=True)
class Wait:
    """The age of the oldest waiting message, in seconds.

    :ivar at_least: it is no less than this.
    :ivar at_most: it is no more than this; None where nothing is known of that.
    :ivar why: why the two are not the same.
    """

    at_least: float = 0.0
    at_most: float | None = None
    why: str = ""

    @classmethod
    def exactly(cls, seconds: float) -> Wait:
        """Return a wait that is known."""
        return cls(seconds, seconds)

    @property
    def exact(self) -> bool:
        """Whether it is known, and not only bounds of it."""
        return self.at_least == self.at_most

    @property
    def seconds(self) -> float | None:
        """The one number to tell: the wait, else its upper bound, else from C(TELLING) on its lower one, else None."""
        if self.at_most is not None:
            return self.at_most
        return self.at_least if self.at_least >= TELLING else None


@dataclass(frozen=True)
class Flow(OnAClock):
    """What is remembered of one queue.

    :ivar points: looks as (seconds since the epoch, messages that had arrived by then). The first one is the first
        look, or the last one by which only messages had arrived that have departed.
    :ivar departed: messages that left the queue.
    :ivar uncounted: those among them that nobody has counted and nobody will.
    :ivar recent: C(departed) at the last looks, as (seconds since the epoch, messages): those that counts may not have
        caught up with, and one before.
    """

    points: tuple[tuple[float, float], ...] = field(default=(), metadata=INSTANT)
    departed: float = 0.0
    uncounted: float = 0.0
    recent: tuple[tuple[float, float], ...] = field(default=(), metadata=INSTANT)

    @property
    def at(self) -> float:
        """Seconds since the epoch of the last look. There must have been one."""
        return self.points[-1][0]

    @property
    def waiting(self) -> float:
        """Messages that waited at the last look."""
        return self.points[-1][1] - self.departed if self.points else 0.0


def look(flow: Flow, at: float, waiting: float, taken: float | None, late: float = LATE) -> Flow:
    """Return what is remembered after one more look at a queue of which it is counted what is taken.

    :param at: seconds since the epoch.
    :param waiting: messages that wait.
    :param taken: messages taken from the queue since whenever; may fall, which counts as none taken. None where that
        is not known. The look then tells something only when nothing waits.
    :param late: seconds by which C(taken) may be older than C(waiting).
    """
    if not flow.points:
        return flow if taken is None else Flow(((at, taken + waiting),), departed=taken, recent=((at, taken),))
    if at < flow.at:
        # The clock was set back and nobody has said so: what has waited has still waited.
        flow = flow.shifted(at - flow.at)
    arrived_before = flow.points[-1][1]
    if taken is None:
        if waiting:
            return flow
        return _remember(replace(flow, departed=arrived_before), at, arrived_before)
    counted = taken + flow.uncounted
    settled = [departed for since, departed in flow.recent if since <= at - late]
    never = max(settled[-1] - counted, 0.0) if settled else 0.0
    # Neither departures nor arrivals ever become fewer.
    departed = max(flow.departed, counted + never, arrived_before - waiting)
    recent = (*flow.recent[max(len(settled) - 1, 0) :], (at, departed))
    after = replace(flow, departed=departed, uncounted=flow.uncounted + never, recent=recent)
    return _remember(after, at, departed + waiting)


def look_at_arrivals(flow: Flow, at: float, waiting: float, arrived: float | None) -> Flow:
    """Return what is remembered after one more look at a list whose arrivals are counted.

    A message that comes back to the front waits once more without having arrived: then more wait than can be, and the
    count of departures stays. Such a message is the next to be taken, so the wait is that of the one behind it.

    :param at: seconds since the epoch.
    :param waiting: messages that wait.
    :param arrived: messages that arrived since the last look; C(waiting) where all that wait have. None where that is
        not known.
    """
    if not flow.points:
        return Flow(((at, waiting),))
    if at < flow.at:
        flow = flow.shifted(at - flow.at)
    if arrived is None:
        return _begun_again(flow, at, waiting)
    total = flow.points[-1][1] + arrived
    return _remember(replace(flow, departed=max(flow.departed, total - waiting)), at, total)


def _begun_again(flow: Flow, at: float, waiting: float) -> Flow:
    """Return a flow of which no more is known than that the oldest message came after the one that was oldest before.

    That is nothing at all where that one waited already at the first look.
    """
    since, arrived = flow.points[0]
    return Flow(((since, 0.0), (at, waiting)) if arrived <= flow.departed else ((at, waiting),))


def wait(flow: Flow) -> Wait:
    """Return the wait at the last look."""
    if not flow.points:
        return Wait(why="how many tasks were taken from it has not been known yet")
    if flow.waiting <= 0:
        return Wait.exactly(0.0)
    oldest = flow.departed + 1.0
    place = bisect_left([arrived for _at, arrived in flow.points], oldest)
    if place == 0:
        since = flow.at - flow.points[0][0]
        return Wait(since, why=f"tasks wait that waited already at the first look, {since:.0f} s ago")
    # The last point has all that wait, so one of them reaches the oldest.
    (before, fewer), (after, more) = flow.points[place - 1], flow.points[min(place, len(flow.points) - 1)]
    apart = after - before
    if apart > max(NEAR, NEAR_SHARE * (flow.at - before)):
        return Wait(
            flow.at - after, flow.at - before, f"the two looks between which it arrived are {apart:.0f} s apart"
        )
    return Wait.exactly(max(flow.at - (before + _share((oldest - 0.5 - fewer) / (more - fewer)) * apart), 0.0))


def longest(waits: Collection[tuple[str, Wait]]) -> Wait:
    """Return the wait of several queues together, given by name: the largest."""
    most = [each.at_most for _name, each in waits]
    why = "; ".join(f"{name}: {each.why}" if name else each.why for name, each in waits if each.why)
    wait = Wait(
        max((each.at_least for _name, each in waits), default=0.0),
        None if None in most else max((bound for bound in most if bound is not None), default=0.0),
    )
    return wait if wait.exact else replace(wait, why=why)


def _share(place: float) -> float:
    """Return where between two looks an arrival is put that has C(place) of those between them before it."""
    return EDGE + (1 - 2 * EDGE) * min(max(place, 0.0), 1.0)


def _remember(flow: Flow, at: float, arrived: float) -> Flow:
    points = [*flow.points, (at, arrived)]
    # Nothing arrived at two looks in a row: the one between them tells nothing.
    if len(points) > 2 and points[-3][1] == arrived:
        del points[-2]
    # Of the looks by which only those had arrived that have departed, the last one is the edge to measure from.
    edge = 0
    while edge + 1 < len(points) and points[edge + 1][1] <= flow.departed:
        edge += 1
    return replace(flow, points=_thinned(tuple(points[edge:])))


def _thinned(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    coarseness = THINNING
    while len(points) > MOST_POINTS:
        now = points[-1][0]
        kept = [points[0]]
        for point, after in zip(points[1:], points[2:]):
            if after[0] - kept[-1][0] > coarseness * (now - after[0]):
                kept.append(point)
        points = (*kept, points[-1])
        coarseness *= 2
    return points
