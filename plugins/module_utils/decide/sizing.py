# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers keep a promised wait: look ahead as far as a worker takes to start, and take as few as will do.

From the flow of tasks it estimates how many arrive, how long one runs and how many a worker runs at once, and from the
fleet's own starts how long a worker takes to consume. For a number of workers it then foretells the wait at the moment
from which a change can have an effect. Growing takes the smallest number under which that wait stays below a share of
the promise; shrinking looks further ahead, because what was taken away is missing for as long as a start takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import (
    PROCESSED_TOTAL,
    RUNNING,
    Observation,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import QUEUE_DEPTH, WAIT_TIME

# Shares of the promise. The rest of it absorbs what the estimates do not see.
GROW_ABOVE = 0.6
GROW_ABOVE_SLOW = 0.3
SHRINK_BELOW = 0.35
LOOK_PAST_A_START = 1 / 3

# Seconds over which an average forgets: a quick one of arrivals for growing, a slow one besides for shrinking, and one
# of run times, which change least.
ARRIVALS_QUICK = 20.0
ARRIVALS_SLOW = 30.0
RUN_TIMES = 120.0

# Until something was measured.
START_SECONDS = 5.0
TASK_SECONDS = 1.0

SHRINK_HOLD = 0.5  # of a start: how long a smaller number must have sufficed


@dataclass(frozen=True)
class Average:
    """A mean over time that forgets: C(amount) over C(weight) seconds."""

    amount: float = 0.0
    weight: float = 0.0

    def then(self, amount: float, seconds: float, memory: float) -> Average:
        """Return the mean after C(seconds) more, in which there was C(amount)."""
        kept = math.exp(-seconds / memory)
        return Average(self.amount * kept + amount, self.weight * kept + seconds)

    @property
    def rate(self) -> float:
        """The amount in a second."""
        return self.amount / self.weight if self.weight else 0.0


@dataclass(frozen=True)
class Start:
    """Workers asked for at the same instant, in seconds since the epoch, that did not consume yet when last seen."""

    at: float
    workers: int


@dataclass(frozen=True)
class Flow:
    """Totals of an observation, to compare the next one with."""

    at: float
    waiting: float
    running: float
    processed: float


@dataclass(frozen=True)
class Sizing:
    """What sizing remembers.

    :param start_seconds: how long a worker takes until it consumes.
    :param slots: tasks that a worker runs at once, C(full) what full workers showed of late as C((at, slots)).
    :param busy: seconds of running tasks, and C(finished) the tasks that ended meanwhile, both forgetting.
    :param wanted: C((at, workers)) of late, for as long as shrinking is held back.
    """

    starts: tuple[Start, ...] = ()
    start_seconds: float = START_SECONDS
    slots: int | None = None
    full: tuple[tuple[float, int], ...] = ()
    last: Flow | None = None
    shrunk_at: float | None = None
    quick: Average = Average()
    slow: Average = Average()
    busy: float = 0.0
    finished: float = 0.0
    wanted: tuple[tuple[float, int], ...] = ()

    @property
    def task_seconds(self) -> float:
        """The mean run time. While nothing has finished, what runs has run at least as long as it did."""
        return self.busy / max(self.finished, 1.0) if self.busy else TASK_SECONDS

    def restarted(self) -> Sizing:
        """Return what is worth remembering over a restart: how workers and tasks are, not what was going on."""
        return replace(self, starts=(), full=(), last=None, wanted=())

    def shifted(self, seconds: float) -> Sizing:
        """Return the same memory on a clock that was set by C(seconds)."""
        return replace(
            self,
            starts=tuple(Start(start.at + seconds, start.workers) for start in self.starts),
            full=tuple((at + seconds, slots) for at, slots in self.full),
            last=None if self.last is None else replace(self.last, at=self.last.at + seconds),
            shrunk_at=None if self.shrunk_at is None else self.shrunk_at + seconds,
            wanted=tuple((at + seconds, workers) for at, workers in self.wanted),
        )


@dataclass(frozen=True)
class Size:
    """How many workers there should be, and the sentence that says why."""

    workers: int
    reason: str


def size(
    promise: float, memory: Sizing, seen: Observation, current: int, floor: int, ceiling: int
) -> tuple[Size | None, Sizing]:
    """Return the number of workers for a promised wait of C(promise) seconds, and what to remember.

    None stands for a number that cannot be told, because the flow of tasks is unknown.
    """
    memory = _note_starts(memory, seen)
    waiting, running, processed = (seen.value(name) for name in (QUEUE_DEPTH, RUNNING, PROCESSED_TOTAL))
    if waiting is None or running is None or processed is None:
        return None, replace(memory, last=None)
    consuming = max(0, current - seen.starting)
    slots = memory.slots or max(1, _slots_of(running, consuming))
    memory = _note_flow(memory, Flow(seen.at, waiting, running, processed), consuming)
    outlook = _Outlook(seen.at, waiting, consuming, current, slots, memory)
    wanted = _least(promise, outlook, seen.value(WAIT_TIME) or 0.0, floor, ceiling)
    held, memory = _hold_back(wanted, memory, seen.at, current)
    ahead = memory.start_seconds
    foretold = outlook.wait(held, ahead, memory.quick.rate)
    reason = (
        f"{waiting:g} tasks wait, {memory.quick.rate:.3g} arrive a second and run {memory.task_seconds:.3g}s each: "
        f"{held} workers of {slots} at once keep the wait at {foretold:.3g}s of {promise:g}s, {ahead:.3g}s from now"
    )
    if held > wanted:
        reason += f"; {wanted} would do, when they have done for {SHRINK_HOLD * ahead:.3g}s"
    return Size(held, reason), memory


def _slots_of(running: float, consuming: int) -> int:
    return math.ceil(running / consuming - 0.5) if consuming else 0


def _note_starts(memory: Sizing, seen: Observation) -> Sizing:
    """Learn how long starts take from those that are over. The oldest are over first."""
    over = sum(start.workers for start in memory.starts) - seen.starting
    starts, seconds = list(memory.starts), memory.start_seconds
    while over > 0 and starts:
        first = starts.pop(0)
        seconds += (seen.at - first.at - seconds) / 2
        if first.workers > over:
            starts.insert(0, replace(first, workers=first.workers - over))
        over -= first.workers
    return replace(memory, starts=tuple(starts), start_seconds=seconds)


def _note_flow(memory: Sizing, now: Flow, consuming: int) -> Sizing:
    last = memory.last
    memory = replace(memory, last=now)
    if last is None or now.at <= last.at or now.processed < last.processed:
        return memory
    seconds = now.at - last.at
    finished = now.processed - last.processed
    arrived = max(0.0, finished + now.waiting + now.running - last.waiting - last.running)
    kept = math.exp(-seconds / RUN_TIMES)
    settled = memory.shrunk_at is None or now.at - memory.shrunk_at > RUN_TIMES
    # Full workers show how many tasks one runs at once; for a while after shrinking, draining ones run some too.
    full = tuple(entry for entry in memory.full if entry[0] > now.at - RUN_TIMES)
    if settled and consuming and last.waiting > 0 and now.waiting > 0:
        full = (*full, (now.at, max(1, _slots_of(now.running, consuming))))
    return replace(
        memory,
        # The most of them: at any instant a slot or two may be between two tasks.
        slots=max(slots for _at, slots in full) if full else memory.slots,
        full=full,
        quick=memory.quick.then(arrived, seconds, ARRIVALS_QUICK),
        slow=memory.slow.then(arrived, seconds, ARRIVALS_SLOW),
        busy=memory.busy * kept + (last.running + now.running) / 2 * seconds,
        finished=memory.finished * kept + finished,
    )


@dataclass(frozen=True)
class _Outlook:
    """What will wait, and how long, if the fleet gets a number of workers now."""

    at: float
    waiting: float
    consuming: int
    current: int
    slots: int
    memory: Sizing

    def wait(self, workers: int, ahead: float, arrivals: float) -> float:
        """Return how long a task that comes C(ahead) seconds from now will wait, in seconds."""
        left = max(0.0, self.waiting + arrivals * ahead - self._done(workers, ahead))
        if workers == 0:
            return math.inf if left else 0.0
        return left * self.memory.task_seconds / (workers * self.slots)

    def _done(self, workers: int, ahead: float) -> float:
        """Return how many tasks can be done until then."""
        seconds = self.consuming * ahead + sum(count * max(0.0, ahead - left) for left, count in self._starting())
        seconds += max(0, workers - self.current) * max(0.0, ahead - self.memory.start_seconds)
        fewer = max(0, self.current - workers)
        for left, count in reversed(list(self._starting())):
            taken = min(count, fewer)
            seconds -= taken * max(0.0, ahead - left)
            fewer -= taken
        return (seconds - fewer * ahead) * self.slots / self.memory.task_seconds

    def _starting(self) -> Iterator[tuple[float, int]]:
        """Yield in how many seconds how many workers will consume, the next ones first."""
        for start in self.memory.starts:
            yield max(0.0, start.at + self.memory.start_seconds - self.at), start.workers


def _least(promise: float, outlook: _Outlook, oldest: float, floor: int, ceiling: int) -> int:
    """Return the smallest number of workers that keeps the promise, changing the present number where it must."""
    memory = outlook.memory
    ahead = memory.start_seconds
    # The longer a start takes, the less of the promise is left to notice that one is needed.
    share = max(GROW_ABOVE_SLOW, GROW_ABOVE - GROW_ABOVE * max(0.0, ahead / promise - 0.5))
    grow_above = min(share * promise, max(promise - oldest, 0.1 * promise))
    workers = min(max(outlook.current, floor), ceiling)
    while workers < ceiling and outlook.wait(workers, ahead, memory.quick.rate) > grow_above:
        workers += 1
    if workers > outlook.current:
        return workers
    shrink_below = min(grow_above, SHRINK_BELOW * promise)
    arrivals = max(memory.quick.rate, memory.slow.rate)
    farther = 2 * ahead + LOOK_PAST_A_START * promise
    while workers > floor and all(
        outlook.wait(workers - 1, horizon, arrivals) <= shrink_below for horizon in (ahead, farther)
    ):
        workers -= 1
    return workers


def _hold_back(wanted: int, memory: Sizing, at: float, current: int) -> tuple[int, Sizing]:
    """Return the number to take now: a smaller one only when none larger was wanted for a while."""
    since = at - SHRINK_HOLD * memory.start_seconds
    older = [entry for entry in memory.wanted if entry[0] <= since]
    recent = (*older[-1:], *(entry for entry in memory.wanted if entry[0] > since), (at, wanted))
    memory = replace(memory, wanted=recent)
    if wanted >= current:
        return wanted, memory
    if recent[0][0] > since:
        return current, memory
    return min(current, max(workers for _at, workers in recent)), memory


def ordered(memory: Sizing, at: float, current: int, workers: int) -> Sizing:
    """Return the memory after the fleet was told, at C(at), to go from C(current) to C(workers)."""
    if workers > current:
        return replace(memory, starts=(*memory.starts, Start(at, workers - current)))
    if workers == current:
        return memory
    fewer = current - workers
    starts = list(memory.starts)
    while fewer and starts:
        # Those that do not consume yet are stopped first, the youngest among them.
        youngest = starts.pop()
        if youngest.workers > fewer:
            starts.append(replace(youngest, workers=youngest.workers - fewer))
        fewer = max(0, fewer - youngest.workers)
    return replace(memory, starts=tuple(starts), shrunk_at=at)
