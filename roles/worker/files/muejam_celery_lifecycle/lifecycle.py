# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker: its connections, its pulse, and the parts that they move on."""

from __future__ import annotations

import time
from typing import Any, Mapping

from celery import bootsteps

from .changes_to_celery import restore_by_priority, watch_messages
from .drain import DRAIN_PULSE, Drain
from .events import Receiving
from .give_back import GivingBack
from .log import report
from .probes import Probes
from .publishing import Publishing
from .reporter import Reporter
from .silence import Silence
from .status import Status

PULSE = 0.5  # seconds between two proofs that the event loop turns


class Lifecycle:
    """Everything runs in the worker's main thread, but for the reporter's own and the one that answers probes."""

    def __init__(self, worker: Any, environ: Mapping[str, str]) -> None:
        self.status = Status(worker, environ)
        self.receiving = Receiving(self.status.tally)
        self.publishing = Publishing(self.status)
        self.reporter = Reporter(self.status, self.publishing.is_held_up, environ)
        self.probes = Probes(self.status, self.reporter, environ)
        self.giving_back = GivingBack(self.status)
        self.drain = Drain(self.status, self.giving_back, self.reporter.wake)
        self.silence = Silence()
        self.generation = 0  # of connections
        self.pulse_queued = False
        self.faults: set[str] = set()

    def connected(self, consumer: Any) -> None:
        """The consumer is set up; it asks for messages when the event loop starts, which is next."""
        status = self.status
        self.generation += 1
        self.pulse_queued = False
        status.beat = time.monotonic()
        status.attached, status.up = True, False
        self.drain.take_signal()
        self.silence.connected(consumer)
        if consumer.task_consumer is not None:
            watch_messages(consumer.task_consumer, self.receiving.watched)
            restore_by_priority(consumer.task_consumer.channel)
        if consumer.hub:
            self.schedule(consumer, self.generation, 0.0)
        else:
            # At once into the main loop's first turn: its next one may be two seconds later.
            self.tick(consumer, self.generation)

    def disconnected(self, consumer: Any) -> None:
        """The connection is lost, or the worker shuts down."""
        status = self.status
        self.generation += 1
        status.attached = status.up = status.consuming = False
        if consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            status.stopping = True
        else:
            self.drain.connection_lost()
        self.reporter.wake()

    def schedule(self, consumer: Any, generation: int, delay: float) -> None:
        consumer.timer.call_after(delay, self.tick, (consumer, generation))

    def tick(self, consumer: Any, generation: int) -> None:
        """Run by the worker's timer, which is the event loop itself or, without one, a greenlet or a thread."""
        if generation != self.generation:
            return
        try:
            if consumer.hub:
                self.pulse(consumer, generation)
            elif not self.pulse_queued:
                self.pulse_queued = True
                consumer.call_soon(self.pulse, consumer, generation)
            elif self.giving_back.waits_for_the_pool:
                # A full pool of greenlets holds up the main loop until a task has ended; the timers go on.
                self.status.beat = time.monotonic()
        finally:
            if generation == self.generation:
                self.schedule(consumer, generation, DRAIN_PULSE if self.status.draining else PULSE)

    def pulse(self, consumer: Any, generation: int) -> None:
        """Prove that the main loop turns, note whether it consumes, and move the drain on. Runs in the main loop."""
        self.pulse_queued = False
        if generation != self.generation:
            return
        self.status.beat = time.monotonic()
        try:
            if self.status.look(consumer):
                self.reporter.wake()
            self.publishing.look_again(consumer.event_dispatcher)
            self.report_fault(self.reporter.fault or self.status.tally.fault, "reporting the worker's state")
            self.report_fault(self.probes.fault, "answering probes")
        except Exception as error:
            self.report_fault(error, "watching the worker")
        if self.drain.is_on:
            self.drain.move_on(consumer)
        elif self.status.consuming:
            self.silence.demand_answers(self.status.beat)

    def report_fault(self, error: Exception | None, doing: str) -> None:
        """Log a failure of ours once; the worker goes on."""
        if error is not None and doing not in self.faults:
            self.faults.add(doing)
            report(f"{doing} failed: {error!r}")
