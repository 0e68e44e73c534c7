# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchanges of RabbitMQ: whether one is there, asked without making it, and what is sent to it."""

from __future__ import annotations

import uuid
from typing import Any

try:
    from kombu import Consumer, Exchange, Queue
except ImportError:
    # Whoever opened the connection given to us has said what is missing.
    Consumer = Exchange = Queue = None

NOT_FOUND = 404
"""Reply code of AMQP 0-9-1."""


def has_exchange(connection: Any, name: str, kind: str) -> bool:
    """Whether the exchange is there. Making it would change the broker, and could clash with whoever makes it.

    :raises amqp.exceptions.AMQPError: when the broker refuses for another reason.
    """
    with connection.channel() as channel:
        try:
            channel.exchange_declare(name, kind, passive=True)
        except connection.channel_errors as error:
            if getattr(error, "code", None) != NOT_FOUND:
                raise
            return False
    return True


def consume(channel: Any, exchange: str, routing_key: str, bounds: dict[str, Any], **consumer: Any) -> None:
    """Consume what is sent to a topic exchange that is there, from a queue that goes with the connection.

    :param bounds: of the queue, as kombu's C(Queue) takes them.
    :param consumer: what becomes of the messages, as kombu's C(Consumer) takes it.
    """
    queue = Queue(
        f"{exchange}.{uuid.uuid4()}",
        exchange=Exchange(exchange, type="topic", passive=True),
        routing_key=routing_key,
        durable=False,
        exclusive=True,
        auto_delete=True,
        **bounds,
    )
    Consumer(channel, [queue], no_ack=True, **consumer).consume()
