# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak with Celery workers through their process mailbox (kombu's C(pidbox)).

C(celery inspect) asks one command at a time and waits out its whole timeout. Here
any number of commands go out at once, their answers come back over one queue, and
the broker is asked how many workers hear them, so a caller knows when it has heard all.
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.brokers.plain_pickle import plain_unpickle

try:
    from kombu import Consumer, Producer, Queue
    from kombu.pidbox import Mailbox
except ImportError:
    # Whoever opened the connection given to us has said what is missing.
    Consumer = Producer = Queue = Mailbox = None

Control = TypeVar("Control", bound="RemoteControl")

CONTROL_EXCHANGE = "celery"
"""Celery's default for C(control_exchange)."""

REPLY_QUEUE_EXPIRES = 10.0
"""Seconds after which the broker drops a reply queue whose reader died, as in Celery's own."""

MAX_TICKETS = 1000
"""Questions whose answers are still taken; older ones are forgotten, as a conversation may last hours."""

ACCEPTED_CONTENT = ("json", "yaml", "msgpack")
"""Serializers whose answers are decoded by kombu. Pickled answers are read as plain values."""

PICKLED = "application/x-python-serialize"


@dataclass
class Round:
    """Commands sent together, and the answers to them so far.

    C(answers[node][command]) is what a worker returned. A worker that could not carry
    out a command answers C({"error": text}). C(nobody) is true once RabbitMQ has said that
    no worker at all hears us.
    """

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    nobody: bool = False


class RemoteControl(ABC):
    """A conversation with the workers of one broker, over one channel of an open kombu connection.

    :param connection: a connected C(kombu.Connection) to Redis or RabbitMQ. Errors of
        the broker are raised as they come.
    :param exchange: the app's C(control_exchange).
    """

    def __init__(self, connection: Any, exchange: str = CONTROL_EXCHANGE) -> None:
        self._connection = connection
        self._mailbox = Mailbox(exchange, type="fanout", connection=connection)
        self._rounds: dict[str, tuple[Round, str]] = {}
        self._consumer: Any = None
        self._reply_queue: Any = None
        self._producer: Any = None
        self._channel = connection.channel()

    def __enter__(self: Control) -> Control:
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        # On a broken connection, tidying up fails too and would hide what broke it.
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()

    def ask(
        self,
        commands: Mapping[str, Mapping[str, Any]] | Iterable[str],
        destination: Iterable[str] | None = None,
        seconds: float = 60.0,
    ) -> Round:
        """Send commands to the workers and return the round their answers will appear in.

        :param commands: names, or names with arguments.
        :param destination: node names; all workers when None.
        :param seconds: how long the commands are of interest to anybody.
        """
        arguments = commands if isinstance(commands, Mapping) else {command: {} for command in commands}
        asked = Round()
        if self._consumer is None:
            if not self._has_workers():
                asked.nobody = True
                return asked
            self._listen_for_replies()
        for command, values in arguments.items():
            ticket = str(uuid.uuid4())
            self._rounds[ticket] = (asked, command)
            if len(self._rounds) > MAX_TICKETS:
                del self._rounds[next(iter(self._rounds))]
            self._producer.publish(
                {
                    "method": command,
                    "arguments": dict(values),
                    "destination": None if destination is None else list(destination),
                    "pattern": None,
                    "matcher": None,
                    "ticket": ticket,
                    "reply_to": {
                        "exchange": self._mailbox.reply_exchange.name,
                        "routing_key": self._reply_queue.routing_key,
                    },
                },
                exchange=self._mailbox.exchange.name,
                headers={"clock": 0, "ticket": ticket, "expires": time.time() + seconds},
                serializer="json",
                retry=False,
                # RabbitMQ then hands back what nobody hears; Redis does not know of it.
                mandatory=True,
            )
        return asked

    def listen(self, seconds: float) -> bool:
        """Wait until something arrives on the connection, at most C(seconds); tell whether it did."""
        try:
            self._connection.drain_events(timeout=max(seconds, 0.001))
        except socket.timeout:
            return False
        return True

    def most_listeners(self) -> int | None:
        """Count the nodes that may hear a broadcast; None where the broker does not tell."""
        return None

    @abstractmethod
    def has_mailbox(self, node: str) -> bool:
        """Whether the node has a mailbox. False means that it is not there; on Redis true may be a leftover."""

    @abstractmethod
    def _has_workers(self) -> bool:
        """Whether there is anything to speak with workers through; said before the first question."""

    def close(self) -> None:
        """Remove the reply queue."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.cancel()
            self._channel.queue_delete(self._reply_queue.name)
        self._channel.close()

    def _listen_for_replies(self) -> None:
        key = str(uuid.uuid4())
        exchange = self._mailbox.reply_exchange
        self._reply_queue = Queue(
            f"{key}.{exchange.name}",
            exchange=exchange,
            routing_key=key,
            durable=False,
            exclusive=True,
            auto_delete=True,
            expires=REPLY_QUEUE_EXPIRES,
        )
        self._consumer = Consumer(
            self._channel,
            [self._reply_queue],
            no_ack=True,
            accept=ACCEPTED_CONTENT,
            on_message=self._take,
            # What cannot be decompressed is no answer.
            on_decode_error=lambda _message, _error: None,
        )
        self._consumer.consume()
        self._producer = Producer(self._channel, auto_declare=False)

    def _take(self, message: Any) -> None:
        current, command = self._rounds.get(message.headers.get("ticket"), (None, ""))
        try:
            body = plain_unpickle(message.body) if message.content_type == PICKLED else message.decode()
        except Exception:
            return
        if current is not None and isinstance(body, dict):
            for node, value in body.items():
                current.answers.setdefault(str(node), {})[command] = value
