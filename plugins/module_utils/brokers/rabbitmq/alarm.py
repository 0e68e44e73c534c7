# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether RabbitMQ blocks publishers, as it does during a memory or disk alarm.

Queues then look empty, because nothing comes into them. RabbitMQ tells a connection about it only when it publishes,
and reads nothing more from it until the alarm is over. So there is a connection for this alone. It publishes a message
that goes to no queue and asks something, of which the answer proves that the message was read. Nothing is changed by
it: the broker drops what has no queue.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn

NO_QUEUE = "muejam.celery.is-anybody-blocked"
"""A routing key of the default exchange, which leads to the queue of that name alone; there is none."""

BLOCKED = "RabbitMQ blocks publishers, as it does during a memory or disk alarm (see rabbitmq-diagnostics alarms)"

_GLANCE = 0.01  # seconds to look for a notice that may have come


class _Notice(Exception):
    """The broker has said that it blocks."""


class AmqpAlarm:
    """Asks again and again. Not for use by several threads at once."""

    def __init__(self, connection: Any) -> None:
        """Prepare to ask the broker of a connection of kombu's."""
        self._connection = connection
        self._amqp: Any = None
        self._blocked = False
        self._refused = False

    def blocked(self, warn: Warn) -> str:
        """Return why publishers are blocked, the empty text when they are not or this user may not publish.

        :param warn: told once where this user may not publish.
        :raises Exception: what py-amqp raises when the connection fails.
        """
        if self._refused:
            return ""
        if self._blocked:
            if not self._is_over():
                return BLOCKED
            # It has answers on their way that nobody waits for any more.
            self.close()
        try:
            self._publish()
        except _Notice:
            return BLOCKED
        except self._connection.channel_errors as error:
            # The message was read, and refused: nothing is blocked. Asking again would fill the broker's log.
            self._refused = True
            self.close()
            warn(
                "It is not known whether RabbitMQ blocks publishers, as this user may not publish: "
                f"{getattr(error, 'reply_text', None) or error}. While it blocks them, queues look empty. Allow the "
                "user to write to amq.default."
            )
        return ""

    def close(self) -> None:
        """Drop the connection without a word: a broker that blocks hears none."""
        connection, self._amqp, self._blocked = self._amqp, None, False
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect()

    def _is_over(self) -> bool:
        with contextlib.suppress(TimeoutError, socket.timeout):
            self._amqp.drain_events(timeout=_GLANCE)
        return not self._blocked

    def _publish(self) -> None:
        if self._amqp is None:
            self._amqp = self._connection.clone().transport.establish_connection()
            self._amqp.on_blocked = self._begin
            self._amqp.on_unblocked = self._end
        channel = self._amqp.channel()
        message = channel.prepare_message(b"", content_encoding="binary")
        channel.basic_publish(message, exchange="", routing_key=NO_QUEUE)
        channel.basic_qos(0, 0, False)
        channel.close()

    def _begin(self, _reason: str) -> None:
        self._blocked = True
        raise _Notice

    def _end(self) -> None:
        self._blocked = False
