# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow the events of a broker that is RabbitMQ."""

from __future__ import annotations

import socket
import threading
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import EventSink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.event_messages import body_of_amqp_message
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.exchanges import consume, has_exchange

try:
    from kombu import Exchange
except ImportError:
    # Whoever opened the connection given to us has said what is missing.
    Exchange = None

BOUNDS = {"message_ttl": 5.0, "expires": 60.0, "max_length": 50_000, "max_length_bytes": 64 * 1024 * 1024}
"""What the broker keeps for us; it drops the oldest beyond, and the count of missed starts shows it.

Seconds are as Celery's C(event_queue_ttl) and C(event_queue_expires).
"""

BATCH = 64
"""Messages between two moments in which other threads have a turn."""

GATHER_SECONDS = 0.2
LOOK_SECONDS = 0.5
DRAINED_SECONDS = 0.001
"""Wait for further events, because waking up costs more than an event does; longest wait between two looks at whether
to stop; and wait after which there is nothing to read."""


def follow(connection: Any, exchange: str, sink: EventSink, stop: threading.Event) -> None:
    """Give the events to C(sink) until C(stop) is set.

    :raises OSError, amqp.exceptions.AMQPError: when the connection breaks or the broker refuses.
    """
    if not has_exchange(connection, exchange, "topic"):
        # No worker has made it yet. It is made as Celery does.
        with connection.channel() as made:
            Exchange(exchange, type="topic")(made).declare()
    messages: list[Any] = []
    consume(connection.channel(), exchange, "#", BOUNDS, on_message=messages.append)
    sink.joined()
    while not stop.is_set():
        connection.heartbeat_check()
        _gather(connection, messages, stop)
        if messages:
            sink.take(_body_of, messages)
            messages.clear()


def _gather(connection: Any, messages: list[Any], stop: threading.Event) -> None:
    """Take a batch, or what there is before a silence, and then wait for more to come together."""
    wait = LOOK_SECONDS
    try:
        while len(messages) < BATCH:
            connection.drain_events(timeout=wait)
            wait = DRAINED_SECONDS
    except socket.timeout:
        if messages:
            stop.wait(GATHER_SECONDS)


def _body_of(message: Any) -> Any:
    return body_of_amqp_message(message.body, message.content_type, message.headers)
