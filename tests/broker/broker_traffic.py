# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages made and taken by kombu's own producers and consumers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kombu


class Traffic:
    """An application's side of a broker."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.producer = kombu.Producer(self.channel)

    def declare(
        self,
        name: str,
        exchange: str | None = None,
        key: str | None = None,
        kind: str = "direct",
        arguments: Mapping[str, Any] | None = None,
    ) -> Any:
        """Declare and bind a queue, as Celery does when nothing else is said: all named after the queue."""
        queue = kombu.Queue(
            name,
            kombu.Exchange(exchange or name, kind),
            routing_key=name if key is None else key,
            queue_arguments=dict(arguments or {}),
        )(self.channel)
        queue.declare()
        return queue

    def send(self, queue: Any, count: int = 1, priority: int | None = None, key: str | None = None) -> None:
        """Publish messages to a declared queue."""
        for number in range(count):
            self.producer.publish(
                {"number": number},
                exchange=queue.exchange.name,
                routing_key=queue.routing_key if key is None else key,
                priority=priority,
            )

    def take(self, queue: Any, count: int = 1) -> list[Any]:
        """Take messages and leave them unacknowledged."""
        messages = [queue.get(no_ack=False) for _turn in range(count)]
        assert None not in messages, f"{queue.name} had fewer than {count} messages"
        return messages


@contextlib.contextmanager
def traffic(
    url: str, options: Mapping[str, Any] | None = None, ssl: Any = None, give_back: bool = False
) -> Iterator[Traffic]:
    """Connect as an application for the length of a with block.

    :param give_back: whether messages taken and not acknowledged return to their queue at the end.
    """
    # Virtual transports print what they give back when a channel is closed.
    connection = kombu.Connection(url, transport_options=dict(options or {}), ssl=ssl or False)
    made = Traffic(connection)
    try:
        yield made
    finally:
        made.channel.do_restore = give_back
        connection.release()


def redis_lengths(server: Any, name: str, sep: str, steps: Sequence[int], db: int = 0) -> dict[str, int]:
    """Return the lengths of a queue's lists as redis-cli shows them."""
    return {str(step): int(server.cli("LLEN", f"{name}{sep}{step}" if step else name, db=db)) for step in steps}
