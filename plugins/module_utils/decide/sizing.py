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
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    CONCURRENCY,
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    RUNNING,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation

# Shares of the promise. The rest of it absorbs what the estimates do not see.
GROW_ABOVE = 0.6
GROW_ABOVE_SLOW = 0.3  # at least, where starts are slow
GROW_ABOVE_LONG = 0.2  # and so much more for tasks as long as the promise: what waits for them changes slowly
SHRINK_BELOW = 0.35
LOOK_PAST_A_START = 1 / 3

# An average is over so many tasks, as long as they fall within these seconds: few tasks tell little, and those of long
# ago tell of another time. Arrivals are averaged for growing, and over somewhat longer besides for shrinking.
ARRIVALS = 20.0
ARRIVALS_WITHIN = (20.0, 90.0)
ARRIVALS_SLOWER = 1.5
RUN_TIMES = 100.0
RUN_TIMES_WITHIN = (60.0, 200.0)

SLOTS = 120.0  # seconds for which full workers prove how many tasks one runs at once
DRAINED = 3.0  # mean run times after which the workers that were stopped have probably finished
LONG_DRAINED = 10.0  # and after which they surely have

# Until something was measured.
START_SECONDS = 5.0
TASK_SECONDS = 1.0

SHRINK_HOLD = 0.25  # of a start: how long a smaller number must have sufficed


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
class Start(OnAClock):
    """Workers asked for at the same instant, in seconds since the epoch, that did not consume yet when last seen."""

    at: float = field(metadata=INSTANT)
    workers: int


@dataclass(frozen=True)
class Flow(OnAClock):
    """Totals of an observation, to compare the next one with."""

    at: float = field(metadata=INSTANT)
    waiting: float
    running: float
    processed: float


@dataclass(frozen=True)
class Sizing(OnAClock):
    """What sizing remembers.

    :param start_seconds: how long a worker takes until it consumes.
    :param slots: tasks that a worker runs at once, as workers tell or, where they do not, as full ones showed.
    :param full: what full workers showed of late, as C((at, slots)).
    :param at_least: while no worker was seen full: how many it can surely run at once.
    :param busy: seconds of running tasks, and C(finished) the tasks that ended meanwhile, both forgetting.
    :param told_waits: whether the wait was ever known: of some fleets nobody tells it.
    :param wanted: C((at, workers)) of late, for as long as shrinking is held back.
    """

    starts: tuple[Start, ...] = ()
    start_seconds: float = START_SECONDS
    slots: int | None = None
    at_least: int = 1
    full: tuple[tuple[float, int], ...] = field(default=(), metadata=INSTANT)
    last: Flow | None = None
    shrunk_at: float | None = field(default=None, metadata=INSTANT)
    quick: Average = Average()
    slow: Average = Average()
    busy: float = 0.0
    finished: float = 0.0
    told_waits: bool = False
    wanted: tuple[tuple[float, int], ...] = field(default=(), metadata=INSTANT)

    @property
    def task_seconds(self) -> float:
        """The mean run time. While nothing has finished, what runs has run at least as long as it did."""
        return self.busy / max(self.finished, 1.0) if self.busy else TASK_SECONDS

    def restarted(self) -> Sizing:
        """Return what is worth remembering over a restart: how workers and tasks are, not what was going on."""
        return replace(self, starts=(), full=(), last=None, wanted=())


@dataclass(frozen=True)
class Size:
    """How many workers there should be, and the sentence that says why.

    :param short: whether the ceiling lets the promise be broken.
    """

    workers: int
    reason: str
    short: bool = False


def size(
    promise: float, memory: Sizing, seen: Observation, current: int, floor: int, ceiling: int
) -> tuple[Size | None, Sizing]:
    """Return the number of workers for a promised wait of C(promise) seconds, and what to remember.

    None stands for a number that cannot be told, because the flow of tasks is unknown.
    """
    memory = _note_starts(memory, seen)
    waiting, running, processed = (seen.value(name) for name in (QUEUE_DEPTH, RUNNING, PROCESSED_TOTAL))
    idle = current == 0 and not seen.draining
    if idle and running is None:
        running = 0.0  # nothing runs where no worker is there
    # A fleet of no workers comes back for its first task, whatever else is unknown.
    if waiting is None or running is None or (processed is None and not idle):
        return None, replace(memory, last=None)
    consuming = max(0, current - seen.starting)
    now = None if processed is None else Flow(seen.at, waiting, running, processed)
    concurrency = seen.value(CONCURRENCY)
    if concurrency:
        memory = replace(memory, slots=max(1, round(concurrency)), full=())
    elif now is not None:
        memory = _note_slots(memory, now, consuming, seen.draining)
    memory = replace(memory, last=None) if now is None else _note_flow(memory, now)
    slots = memory.slots or memory.at_least
    outlook = _Outlook(seen.at, waiting, consuming, current, slots, memory)
    at_least, at_most = seen.at_least(WAIT_TIME), seen.at_most(WAIT_TIME)
    wanted = _least(promise, outlook, (at_least or 0.0, at_most or 0.0), floor, ceiling)
    # Where nothing waits the wait is no question, and where nobody ever tells it the flow has to do.
    known = memory.told_waits or WAIT_TIME in seen.unknown
    fewer = wanted < min(current, ceiling)
    unsure = waiting > 0 and known and at_most is None and fewer
    if unsure or (fewer and seen.blocked):
        wanted = min(current, ceiling)
    memory = replace(memory, told_waits=memory.told_waits or at_least is not None)
    sized, memory = _hold_back(wanted, memory, seen.at, current)
    ahead = memory.start_seconds
    expected = outlook.wait(sized, ahead, memory.quick.rate)
    at_once = f"{slots} at once" if memory.slots else f"at least {slots} at once"
    outcome = f"keep the wait at {expected:.3g}s of {promise:g}s"
    if expected > promise:
        outcome = f"let the wait be {expected:.3g}s, above the {promise:g}s promised"
    outcome = f"{sized} workers of {at_once} {outcome}, {ahead:.3g}s from now"
    if math.isinf(expected):
        outcome = "without a worker they wait for ever"
    reason = (
        f"{waiting:g} tasks wait, {memory.quick.rate:.3g} arrive a second and run {memory.task_seconds:.3g}s each: "
        f"{outcome}"
    )
    if sized > wanted:
        reason += f"; {wanted} will do once they have been enough for {SHRINK_HOLD * ahead:.3g}s"
    if fewer and seen.blocked:
        reason += f"; none is taken away while the broker takes no tasks: {seen.blocked}"
    if unsure:
        reason += f"; none is taken away while {WAIT_TIME} is unknown" + (
            "" if at_least is None else f", but for that it is at least {at_least:.3g}s"
        )
    return Size(sized, reason, short=sized == ceiling and expected > promise), memory


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


def _note_slots(memory: Sizing, now: Flow, consuming: int, draining: int) -> Sizing:
    """Learn how many tasks a worker runs at once.

    While tasks wait the workers are full, and show it. While none wait a slot is free, so that there are more slots
    than tasks that run; a fleet that was never full is thus not taken for one that is.
    """
    calm = math.inf if memory.shrunk_at is None else now.at - memory.shrunk_at
    # For a while after shrinking, draining workers run some of the tasks, and not everybody tells how many they are.
    if not consuming or calm <= min(SLOTS, DRAINED * memory.task_seconds):
        return memory
    each = now.running / (consuming + draining)
    # At any instant a slot or two may be between two tasks.
    shown = max(1, math.ceil(each - 0.5))
    memory = replace(memory, at_least=max(memory.at_least, shown if now.waiting else math.floor(each) + 1))
    if memory.slots is not None and shown > memory.slots:
        # One very long task that drains must not make workers look larger than they are.
        if calm <= max(SLOTS, LONG_DRAINED * memory.task_seconds):
            return memory
    elif not (memory.last is not None and memory.last.waiting > 0 and now.waiting > 0):
        return memory
    full = (*(entry for entry in memory.full if entry[0] > now.at - SLOTS), (now.at, shown))
    return replace(memory, slots=max(slots for _at, slots in full), full=full)


def _note_flow(memory: Sizing, now: Flow) -> Sizing:
    last = memory.last
    memory = replace(memory, last=now)
    if last is None or now.at <= last.at or now.processed < last.processed:
        return memory
    seconds = now.at - last.at
    finished = now.processed - last.processed
    arrived = max(0.0, finished + now.waiting + now.running - last.waiting - last.running)
    # A burst is not averaged away. The other spans are those of before: what waits now counts as arrived, and shall
    # neither lower a rate nor change what is known of run times.
    burst = _span(ARRIVALS, max(memory.quick.rate, arrived / seconds), ARRIVALS_WITHIN)
    usual = _span(ARRIVALS, memory.quick.rate, ARRIVALS_WITHIN)
    kept = math.exp(-seconds / _span(RUN_TIMES, memory.quick.rate, RUN_TIMES_WITHIN))
    return replace(
        memory,
        quick=memory.quick.then(arrived, seconds, burst),
        slow=memory.slow.then(arrived, seconds, ARRIVALS_SLOWER * usual),
        busy=memory.busy * kept + (last.running + now.running) / 2 * seconds,
        finished=memory.finished * kept + finished,
    )


def _span(tasks: float, rate: float, within: tuple[float, float]) -> float:
    """Return the seconds in which so many tasks come at C(rate) a second, but not outside C(within)."""
    shortest, longest = within
    return min(longest, max(shortest, tasks / rate)) if rate else longest


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
        takes = self.memory.start_seconds
        # For how many seconds until then how many of those on their way will consume, the next ones first.
        starting = [
            (max(0.0, ahead - max(0.0, start.at + takes - self.at)), start.workers) for start in self.memory.starts
        ]
        seconds = self.consuming * ahead + sum(count * each for each, count in starting)
        seconds += max(0, workers - self.current) * max(0.0, ahead - takes)
        fewer = max(0, self.current - workers)
        for each, count in reversed(starting):
            taken = min(count, fewer)
            seconds -= taken * each
            fewer -= taken
        return (seconds - fewer * ahead) * self.slots / self.memory.task_seconds


def _least(promise: float, outlook: _Outlook, oldest: tuple[float, float], floor: int, ceiling: int) -> int:
    """Return the smallest number of workers that keeps the promise, changing the present number where it must.

    :param oldest: how long the oldest task waits, at least and at most: the one makes grow, the other keeps.
    """
    at_least, at_most = oldest
    memory = outlook.memory
    ahead = memory.start_seconds
    grow_above = _grow_above(promise, memory, at_least)
    workers = min(max(outlook.current, floor), ceiling)
    while workers < ceiling and outlook.wait(workers, ahead, memory.quick.rate) > grow_above:
        workers += 1
    if workers > outlook.current:
        return workers
    shrink_below = min(grow_above, SHRINK_BELOW * promise, max(promise - at_most, 0.1 * promise))
    arrivals = max(memory.quick.rate, memory.slow.rate)
    farther = 2 * ahead + LOOK_PAST_A_START * promise
    while workers > floor and all(
        outlook.wait(workers - 1, horizon, arrivals) <= shrink_below for horizon in (ahead, farther)
    ):
        workers -= 1
    return workers


def _grow_above(promise: float, memory: Sizing, oldest: float) -> float:
    """Return the foretold wait in seconds above which the fleet grows.

    :param oldest: how long the oldest task waits at least.
    """
    # The longer a start takes, the less of the promise is left to notice that one is needed.
    slow = GROW_ABOVE_SLOW + GROW_ABOVE_LONG * min(1.0, memory.task_seconds / promise)
    share = max(slow, GROW_ABOVE - GROW_ABOVE * max(0.0, memory.start_seconds / promise - 0.5))
    return min(share * promise, max(promise - oldest, 0.1 * promise))


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
