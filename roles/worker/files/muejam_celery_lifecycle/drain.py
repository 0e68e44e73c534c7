# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the first SIGTERM of a worker to Celery's own handler."""

from __future__ import annotations

import signal
import time
from typing import Any, Callable

from celery.worker import state as worker_state

from .changes_to_celery import shorten_waits
from .counts import active
from .early_stop import end_at_once
from .give_back import GivingBack
from .log import logger
from .status import Status

DRAIN_PULSE = 0.1  # seconds between two looks while draining
ACKNOWLEDGE_WITHIN = 2.0  # seconds to wait for acknowledgements that may never come (a terminated task has none)


def shutdown_begun() -> bool:
    """Return whether Celery is told to end."""
    # 0 is an exit code, and means yes.
    flags = (worker_state.should_stop, worker_state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)


class Drain:
    """The drain of one worker: requested by a signal handler, moved on by the main loop."""

    def __init__(self, status: Status, giving_back: GivingBack, wake: Callable[[], None]) -> None:
        self.status = status
        self.giving_back = giving_back
        self.wake = wake
        self.celerys_handler: Callable[..., Any] | None = None
        self.handed_over = False
        self.began: float | None = None
        self.unfinished: set[Any] = set()  # requests that are not acknowledged yet
        self.quiet_since: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether the worker was asked to drain, and Celery's own shutdown has not begun."""
        return self.status.draining and not self.handed_over

    def take_signal(self) -> None:
        """Put our SIGTERM handler before Celery's, which is in place since before the first connection."""
        installed = signal.getsignal(signal.SIGTERM)
        # Once only: a handler that the app has put before ours leads back to us.
        # And where our own is still there, Celery has none.
        if self.celerys_handler is not None or not callable(installed) or installed is end_at_once:
            return
        self.celerys_handler = installed
        try:
            signal.signal(signal.SIGTERM, self.on_sigterm)
        except ValueError:
            # An embedded worker, not in the main thread: it has no handlers of its own either.
            self.celerys_handler = None

    def on_sigterm(self, signum: int, frame: Any) -> None:
        if self.status.is_here():
            if self.request():
                return
            self.handed_over = True
        if self.celerys_handler is not None:
            self.celerys_handler(signum, frame)

    def request(self) -> bool:
        """Begin to drain where that is possible and new; return whether it is. Safe in a signal handler."""
        status = self.status
        if not status.up or self.celerys_handler is None:
            return False
        if status.draining or status.stopping or shutdown_begun():
            return False
        status.draining = True
        self.wake()
        return True

    def hand_over(self) -> None:
        """Go on with Celery's own SIGTERM handler, once."""
        if not self.handed_over and self.celerys_handler is not None:
            self.handed_over = True
            self.celerys_handler(signal.SIGTERM, None)

    def connection_lost(self) -> None:
        if self.is_on:
            logger.warning("The broker's connection is lost while draining: going on with Celery's warm shutdown")
            self.hand_over()

    def move_on(self, consumer: Any) -> None:
        """Do what can be done now. Where that fails Celery's own shutdown goes on."""
        try:
            self.look(consumer)
        except Exception as error:
            logger.error("Draining failed (%r): going on with Celery's own shutdown", error, exc_info=True)
            self.hand_over()

    def look(self, consumer: Any) -> None:
        status = self.status
        if self.began is None:
            self.began = status.beat
            logger.warning(
                "Stop requested: consuming no more; %d running tasks are finished, %d reserved ones given back",
                active(),
                status.counts.reserved(),
            )
            if not consumer.hub:
                shorten_waits(consumer.connection, DRAIN_PULSE)
        for name in status.queues:
            consumer.cancel_task_queue(name)
        status.look(consumer)
        self.giving_back.give_back(consumer)
        if self.is_over(consumer, status.beat) and not self.giving_back.waiting:
            logger.warning(
                "Drained in %.1f seconds; %d tasks went back to the broker",
                status.beat - self.began,
                self.giving_back.returned,
            )
            status.drained_at = time.monotonic()
            self.hand_over()
        self.wake()

    def is_over(self, consumer: Any, now: float) -> bool:
        """Return whether nothing was left at two looks in a row, acknowledgements included."""
        try:
            # Strong references: a finished request leaves Celery's own sets before it is acknowledged.
            self.unfinished.update(worker_state.reserved_requests, worker_state.active_requests)
        except RuntimeError:
            # A pool thread changed a set meanwhile: it is not over.
            self.quiet_since = None
            return False
        self.unfinished = {request for request in self.unfinished if not request.acknowledged}
        busy = worker_state.active_requests or worker_state.reserved_requests
        if busy or getattr(consumer, "_pending_operations", None):
            self.quiet_since = None
            return False
        if self.quiet_since is None:
            self.quiet_since = now
            return False
        return not self.unfinished or now - self.quiet_since > ACKNOWLEDGE_WITHIN
