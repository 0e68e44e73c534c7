# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A consumer on Redis that is connected and gets nothing."""

from __future__ import annotations

from typing import Any, Callable

from celery.worker import state as worker_state

from .changes_to_celery import watch_questions

STALL_AFTER = 30.0  # seconds in which a connected consumer on Redis asks for no message, or gets no answer


class Silence:
    """Makes Celery reconnect when Redis has been silent for long, which no timeout of kombu's notices everywhere."""

    def __init__(self) -> None:
        self.channel: Any = None
        self.asked = 0
        self.asked_before = -1
        self.since: float | None = None

    def connected(self, consumer: Any) -> None:
        """Begin anew with a connection. Only an event loop asks without waiting for the answer."""
        channel = getattr(consumer.task_consumer, "channel", None)
        self.channel = channel if consumer.hub and hasattr(channel, "_brpop_start") else None
        self.asked_before, self.since = -1, None
        if self.channel is not None:
            watch_questions(self.channel, self.ask)

    def ask(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return function(*args, **kwargs)

    def demand_answers(self, now: float) -> None:
        """Raise ConnectionError after a long silence of a worker that consumes.

        Only while nothing is held: a late acknowledgement could not be sent on the new connection.
        """
        if self.channel is None:
            return
        if self.asked != self.asked_before or not self.channel.qos.can_consume() or worker_state.reserved_requests:
            self.asked_before, self.since = self.asked, None
            return
        self.since = self.since or now
        limit = STALL_AFTER + 2 * (getattr(self.channel, "brpop_timeout", None) or 1)
        if now - self.since > limit:
            self.since = None
            raise ConnectionError(f"connected, but no message was asked for or answered in {limit:g} seconds")
