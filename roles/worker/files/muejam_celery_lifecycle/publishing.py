# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker itself publishes through AMQP: events, answers to remote control, results of lost tasks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from typing import Any, Callable

from .status import Status

PUBLISH_WITHIN = 2.0  # seconds that the worker itself waits for the broker to take or confirm a message
CLOSE_WITHIN = 5.0  # ... and to answer a farewell
REFUSE_FOR = 10.0  # seconds in which nothing but events is tried again after that


class HeldUpError(Exception):
    """The broker takes no message now. No error of a connection: those are tried again without end."""


class Publishing:
    """Limits how long the worker's own messages may take.

    RabbitMQ blocks who publishes during an alarm: it reads nothing from such a connection any more, and confirms
    nothing. Tasks that publish may wait for it; the worker's own loop may not, which has to be proven alive.
    """

    def __init__(self, status: Status) -> None:
        self.status = status
        self.blocked: weakref.WeakSet[Any] = weakref.WeakSet()  # connections that the broker has told so
        self.unanswered: weakref.WeakSet[Any] = weakref.WeakSet()  # ... of events that owe us a confirmation
        self.events_held_up = False
        self.refuse_until = 0.0
        self.local = threading.local()

    def is_held_up(self) -> bool:
        return self.events_held_up or time.monotonic() < self.refuse_until

    def look_again(self, dispatcher: Any) -> None:
        """Notice in the main loop that the broker takes messages again, though no event is to be sent."""
        producer = getattr(dispatcher, "producer", None)
        if self.events_held_up and (producer is None or self.takes_events(producer)):
            self.events_held_up = False

    def takes_events(self, producer: Any) -> bool:
        """Return whether an event can be sent: one that cannot is worth nothing later."""
        connection: Any = getattr(producer.channel, "connection", None)
        if not hasattr(connection, "blocking_read"):
            return True  # no connection of amqp's
        if threading.get_native_id() == self.status.pid and self.is_silent(connection):
            # Any failure shows again when something is published.
            with contextlib.suppress(Exception):
                connection.drain_events(timeout=0)
        self.events_held_up = self.is_silent(connection)
        return not self.events_held_up

    def is_silent(self, connection: Any) -> bool:
        return connection in self.blocked or connection in self.unanswered

    def owner(self) -> str | None:
        """Return on whose behalf somebody publishes: `events`, the worker's `loop`, or None, which is a task's."""
        status = self.status
        if not status.is_here():
            return None
        if getattr(self.local, "events", False):
            return "events"
        if threading.get_native_id() != status.pid or status.worker.app.current_task is not None:
            return None
        # Until the consumer is set up, Celery is free to wait.
        return "loop" if status.attached or status.stopping else None

    # In place of functions of amqp and Celery.

    def publish(self, function: Callable[..., Any], channel: Any, *args: Any, **kwargs: Any) -> Any:
        owner = self.owner()
        if owner is None:
            return function(channel, *args, **kwargs)
        if owner == "loop" and self.is_held_up():
            raise HeldUpError("the broker blocks what is published")
        kwargs["timeout"] = PUBLISH_WITHIN
        if kwargs.get("confirm_timeout"):
            kwargs["confirm_timeout"] = PUBLISH_WITHIN
        connection = channel.connection
        try:
            return function(channel, *args, **kwargs)
        except socket.timeout as error:
            if owner == "events":
                # Kept, because it tells when the broker takes messages again.
                self.unanswered.add(connection)
                self.events_held_up = True
            else:
                # Its next confirmation would be the one of this message.
                self.refuse_until = time.monotonic() + REFUSE_FOR
                connection.collect()
            raise HeldUpError(f"the broker has not confirmed a message in {PUBLISH_WITHIN:g} seconds") from error
        except Exception as error:
            if isinstance(error.__context__, socket.timeout):
                # Written in part, so nothing that follows would be understood; the next use connects again.
                connection.collect()
            raise

    def send_event(
        self, function: Callable[..., Any], dispatcher: Any, event: Any, producer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if producer is None or not self.status.is_here():
            return function(dispatcher, event, producer, *args, **kwargs)
        if not self.takes_events(producer):
            return None
        self.local.events = True
        try:
            return function(dispatcher, event, producer, *args, **kwargs)
        finally:
            self.local.events = False

    def close(self, function: Callable[..., Any], channel: Any, *args: Any, **kwargs: Any) -> Any:
        """Close a connection or channel; where the broker does not answer, without its answer."""
        connection = channel.connection
        transport = getattr(connection, "transport", None)
        if not self.status.is_here() or transport is None or transport.sock is None:
            return function(channel, *args, **kwargs)
        if self.is_silent(connection):
            return connection.collect() if channel is connection else None
        limit = transport.sock.gettimeout()
        try:
            transport.sock.settimeout(CLOSE_WITHIN if limit is None else min(limit, CLOSE_WITHIN))
            return function(channel, *args, **kwargs)
        except socket.timeout:
            return connection.collect()
        finally:
            with contextlib.suppress(AttributeError, OSError):
                transport.sock.settimeout(limit)
