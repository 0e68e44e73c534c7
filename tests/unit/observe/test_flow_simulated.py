# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait of a queue from its counts, against a simulated queue that knows when each message arrived."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.observe.flow import (
    NEAR,
    Flow,
    look,
    look_at_arrivals,
    wait,
)

INTERVAL = 5.0
TICK = 0.25


@dataclass
class Phase:
    """Some seconds of load: messages per second that arrive and can be taken, and a burst at the start."""

    seconds: int
    arrive: float
    take: float
    burst: int


@dataclass
class Queue:
    """First in, first out; C(history) are the counts of messages taken, tick by tick."""

    now: float = 0.0
    waiting: deque[float] = field(default_factory=deque)
    arrivals: list[float] = field(default_factory=list)
    taken: int = 0
    owed: float = 0.0
    able: float = 0.0
    history: list[int] = field(default_factory=lambda: [0])

    def put(self, count: int) -> None:
        self.waiting.extend([self.now] * count)
        self.arrivals.extend([self.now] * count)

    def get(self, count: int, counted: bool = True) -> None:
        for _number in range(min(count, len(self.waiting))):
            self.waiting.popleft()
            self.taken += counted

    def tick(self, arrive: float, take: float) -> None:
        self.now += TICK
        self.owed += arrive * TICK
        self.put(int(self.owed))
        self.owed -= int(self.owed)
        self.able += take * TICK
        self.get(int(self.able))
        self.able -= int(self.able)
        self.history.append(self.taken)

    @property
    def oldest(self) -> float:
        return self.now - self.waiting[0] if self.waiting else 0.0


PHASES = st.lists(
    st.builds(
        Phase,
        seconds=st.integers(1, 60),
        arrive=st.sampled_from([0.0, 0.1, 1.0, 7.3, 40.0]),
        take=st.sampled_from([0.0, 0.2, 1.0, 9.1, 60.0]),
        burst=st.sampled_from([0, 0, 1, 10, 600]),
    ),
    min_size=1,
    max_size=8,
)


@given(PHASES)
def test_within_the_time_between_two_looks(phases: list[Phase]) -> None:
    queue, flow = Queue(), Flow()
    flow = look(flow, 0.0, 0, 0)
    for phase in phases:
        queue.put(phase.burst)
        for tick in range(int(phase.seconds / TICK)):
            queue.tick(phase.arrive, phase.take)
            if (queue.now / INTERVAL).is_integer():
                flow = look(flow, queue.now, len(queue.waiting), queue.taken)
                told = wait(flow)
                assert told.seconds is not None
                assert told.exact
                assert abs(told.seconds - queue.oldest) <= max(INTERVAL, 0.1 * queue.oldest), (tick, phase)


@given(PHASES, st.lists(st.sampled_from([1, 2, 7, 15, 60, 300]), min_size=1, max_size=8))
def test_looks_far_apart_give_bounds_that_hold(phases: list[Phase], pauses: list[int]) -> None:
    queue, flow = Queue(), Flow()
    flow = look(flow, 0.0, 0, 0)
    turn, due = 0, float(pauses[0])
    for phase in phases:
        queue.put(phase.burst)
        for _tick in range(int(phase.seconds / TICK)):
            queue.tick(phase.arrive, phase.take)
            if queue.now < due:
                continue
            turn += 1
            due = queue.now + pauses[turn % len(pauses)]
            flow = look(flow, queue.now, len(queue.waiting), queue.taken)
            told = wait(flow)
            assert told.at_most is not None
            if told.exact:
                assert abs(told.at_most - queue.oldest) <= max(NEAR, 0.15 * queue.oldest)
            else:
                assert told.at_least <= queue.oldest <= told.at_most


@given(PHASES, st.randoms(use_true_random=False))
def test_counts_that_are_late_by_a_quarter_of_a_second(phases: list[Phase], chance: object) -> None:
    """As exact as if a few messages more or fewer had been taken; when no more than these wait, never too old."""
    queue, flow = Queue(), Flow()
    flow = look(flow, 0.0, 0, 0)
    fastest = 0.0
    for phase in phases:
        queue.put(phase.burst)
        fastest = max(fastest, phase.take)
        for _tick in range(int(phase.seconds / TICK)):
            queue.tick(phase.arrive, phase.take)
            if not (queue.now / INTERVAL).is_integer():
                continue
            late = chance.choice([0, 1])  # type: ignore[attr-defined]
            flow = look(flow, queue.now, len(queue.waiting), queue.history[-1 - late])
            told = wait(flow).seconds
            assert told is not None
            if not queue.waiting:
                assert told == 0
                continue
            few = 2 + fastest * TICK
            earliest = queue.arrivals[max(int(queue.taken - few), 0)]
            assert told <= queue.now - earliest + INTERVAL
            if len(queue.waiting) > few:
                assert told >= queue.now - queue.arrivals[int(queue.taken + few)] - INTERVAL


FAULTS = st.sampled_from(["", "", "", "unseen", "purge", "unknown counts", "no look"])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), FAULTS), min_size=1, max_size=40), st.integers(1, 60))
def test_faults_are_forgotten_once_the_queue_was_empty(steps: list[tuple[int, int, str]], after: int) -> None:
    """Whatever happened before: nothing breaks, and from an empty queue on the wait is right again."""
    queue, flow = Queue(), Flow()
    flow = look(flow, 0.0, 0, 0)
    for arrive, take, fault in steps:
        queue.put(arrive)
        queue.get(take, counted=fault != "unseen")
        if fault == "purge":
            queue.waiting.clear()
        queue.now += INTERVAL
        if fault != "no look":
            flow = look(flow, queue.now, len(queue.waiting), None if fault == "unknown counts" else queue.taken)
        told = wait(flow)
        assert told.seconds is None or 0 <= told.seconds <= queue.now
        if not queue.waiting and fault != "no look":
            assert told.seconds == 0
    queue.get(len(queue.waiting))
    queue.now += INTERVAL
    flow = look(flow, queue.now, 0, queue.taken)
    for turn in range(after):
        queue.put(3 if turn % 3 else 0)
        queue.now += INTERVAL
        queue.get(1)
        flow = look(flow, queue.now, len(queue.waiting), queue.taken)
        seconds = wait(flow).seconds
        assert seconds is not None
        assert abs(seconds - queue.oldest) <= 2 * INTERVAL


@given(PHASES, st.randoms(use_true_random=False))
def test_counts_that_are_late_by_seconds(phases: list[Phase], chance: object) -> None:
    """As those that RabbitMQ gathers every few seconds: never younger than with as many messages more taken."""
    queue, flow = Queue(), Flow()
    flow = look(flow, 0.0, 0, 0, late=INTERVAL)
    fastest = 0.0
    for phase in phases:
        queue.put(phase.burst)
        fastest = max(fastest, phase.take)
        for _tick in range(int(phase.seconds / TICK)):
            queue.tick(phase.arrive, phase.take)
            if not (queue.now / INTERVAL).is_integer():
                continue
            late = min(chance.randint(0, int(INTERVAL / TICK)), len(queue.history) - 1)  # type: ignore[attr-defined]
            flow = look(flow, queue.now, len(queue.waiting), queue.history[-1 - late], late=INTERVAL)
            told = wait(flow).seconds
            assert told is not None
            if not queue.waiting:
                assert told == 0
                continue
            few = 2 + fastest * INTERVAL
            earliest = queue.arrivals[max(int(queue.taken - few), 0)]
            assert told <= queue.now - earliest + INTERVAL
            if len(queue.waiting) > few:
                assert told >= queue.now - queue.arrivals[int(queue.taken + few)] - INTERVAL


@dataclass
class Watched:
    """A list whose arrivals the broker counts, and what is made of it."""

    queue: Queue = field(default_factory=Queue)
    flow: Flow = field(default_factory=Flow)
    seen: int = 0

    def look(self, known: bool = True) -> None:
        arrived = len(self.queue.arrivals) - self.seen
        self.seen = len(self.queue.arrivals)
        waiting = len(self.queue.waiting)
        self.flow = look_at_arrivals(self.flow, self.queue.now, waiting, min(arrived, waiting) if known else None)

    def hold_to_truth(self) -> None:
        told, oldest = wait(self.flow), self.queue.oldest
        if told.exact:
            assert abs(told.at_least - oldest) <= max(NEAR, 0.15 * oldest)
        else:
            assert told.at_least - 0.001 <= oldest <= (told.at_most or oldest) + 0.001


@given(PHASES, st.integers(0, 700), st.randoms(use_true_random=False))
def test_arrivals_that_the_broker_counts(phases: list[Phase], before: int, chance: object) -> None:
    """Whoever takes the messages, whatever waited before; some looks are missing, and some arrivals not known."""
    watched = Watched()
    watched.queue.put(before)
    watched.look()
    for phase in phases:
        watched.queue.put(phase.burst)
        for tick in range(int(phase.seconds / TICK)):
            watched.queue.tick(phase.arrive, phase.take)
            if tick % (INTERVAL / TICK) == 0 and chance.random() < 0.9:  # type: ignore[attr-defined]
                watched.look(known=chance.random() < 0.9)  # type: ignore[attr-defined]
                watched.hold_to_truth()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=40))
def test_messages_that_come_back_do_no_harm_once_they_are_taken(steps: list[tuple[int, int, int]]) -> None:
    watched = Watched()
    watched.look()
    back = 0
    for arrive, take, come_back in steps:
        # Those that came back are taken first, as they stand in front.
        watched.queue.get(max(take - back, 0))
        back = max(back - take, 0) + come_back
        watched.queue.put(arrive)
        watched.queue.now += INTERVAL
        arrived = len(watched.queue.arrivals) - watched.seen
        watched.seen += arrived
        waiting = len(watched.queue.waiting) + back
        watched.flow = look_at_arrivals(watched.flow, watched.queue.now, waiting, min(arrived, waiting))
        if watched.queue.waiting and not back:
            assert abs(wait(watched.flow).at_least - watched.queue.oldest) <= INTERVAL
