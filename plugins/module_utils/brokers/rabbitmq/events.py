# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow the events of a broker that is RabbitMQ."""

from __future__ import annotations

import socket
import threading
import uuid
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import EventSink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.event_messages import body_of_amqp_message
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.exchanges import has_exchange

try:
    from kombu import Consumer, Exchange, Queue
except ImportError:
    # Whoever opened the connection given to us has said what is missing.
    Consumer = Exchange = Queue = None

MESSAGE_TTL = 5.0
QUEUE_EXPIRES = 60.0
"""Seconds, as Celery's C(event_queue_ttl) and C(event_queue_expires)."""

MESSAGES_MAX = 50_000
BYTES_MAX = 64 * 1024 * 1024
"""What the broker keeps for us; it drops the oldest beyond, and the count of missed starts shows it."""

BATCH = 64
"""Messages between two moments in which other threads have a turn."""

GATHER_SECONDS = 0.05
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
    channel = connection.channel()
    queue = Queue(
        f"{exchange}.{uuid.uuid4()}",
        exchange=Exchange(exchange, type="topic", passive=True),
        routing_key="#",
        durable=False,
        exclusive=True,
        auto_delete=True,
        message_ttl=MESSAGE_TTL,
        expires=QUEUE_EXPIRES,
        max_length=MESSAGES_MAX,
        max_length_bytes=BYTES_MAX,
    )
    messages: list[Any] = []
    Consumer(channel, [queue], no_ack=True, on_message=messages.append).consume()
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
