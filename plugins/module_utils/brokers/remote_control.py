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
import io
import pickle
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

try:
    from kombu import Consumer, Producer, Queue
    from kombu.pidbox import Mailbox
except ImportError:
    # Whoever opened the connection given to us has said what is missing.
    Consumer = Producer = Queue = Mailbox = None

CONTROL_EXCHANGE = "celery"
"""Celery's default for C(control_exchange)."""

REPLY_QUEUE_EXPIRES = 10.0
"""Seconds after which the broker drops a reply queue whose reader died, as in Celery's own."""

MAX_TICKETS = 1000
"""Questions whose answers are still taken; older ones are forgotten, as a conversation may last hours."""

ACCEPTED_CONTENT = ("json", "yaml", "msgpack")
"""Serializers whose answers are decoded by kombu. Pickled answers are read as plain values."""


class Round:
    """Commands sent together, and the answers to them so far.

    C(answers[node][command]) is what a worker returned. A worker that could not carry
    out a command answers C({"error": text}). C(nobody) is true once RabbitMQ has said that
    no worker at all hears us.
    """

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.nobody = False


def other_separator(table: Sequence[Sequence[str]]) -> str | None:
    """The separator that a table of mailboxes on Redis is written with, where every row has another one than ours.

    A row is the routing key and the pattern, both empty, and the name of the mailbox. It is in one piece when it was
    written with another separator than the one it was split by. Rows of both kinds are leftovers and newer ones.
    """
    if not table or any(len(row) > 1 for row in table):
        return None
    text = table[0][0]
    ends = (end for end in range(len(text) // 2, 0, -1) if text[:end] == text[end : 2 * end])
    return text[: next(ends, 0)]


class RemoteControl:
    """A conversation with the workers of one broker, over one channel of an open kombu connection.

    :param connection: a connected C(kombu.Connection) to Redis or RabbitMQ. Errors of
        the broker are raised as they come.
    :param exchange: the app's C(control_exchange).
    """

    def __init__(self, connection: Any, exchange: str = CONTROL_EXCHANGE) -> None:
        self._connection = connection
        self._on_redis: bool = connection.transport.driver_type == "redis"
        if self._on_redis:
            # With it, a kombu channel that consumes would now and then give back messages unacknowledged for
            # longer than *our* visibility timeout, which may be shorter than the app's: running tasks would run twice.
            # Behind sentinels, workers with a kombu older than 5.4 listen under another name, which this one calls too.
            ours = {"ack_emulation": False, "sentinel_fanout_compat": True}
            connection.transport_options = {**(connection.transport_options or {}), **ours}
        self._mailbox = Mailbox(exchange, type="fanout", connection=connection)
        self._rounds: dict[str, tuple[Round, str]] = {}
        self._consumer: Any = None
        self._reply_queue: Any = None
        self._producer: Any = None
        self._channel = connection.channel()

    def __enter__(self) -> RemoteControl:
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        # On a broken connection, tidying up fails too and would hide what broke it.
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()

    @property
    def counts_listeners(self) -> bool:
        """Whether the broker tells how many hear a broadcast (Redis does, RabbitMQ does not)."""
        return self._on_redis

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
            if not self._exists():
                asked.nobody = True
                return asked
            self._check_separator()
            self._listen_for_replies()
        for command, values in arguments.items():
            ticket = str(uuid.uuid4())
            self._rounds[ticket] = (asked, command)
            if len(self._rounds) > MAX_TICKETS:
                del self._rounds[next(iter(self._rounds))]
            self._send(ticket, command, dict(values), None if destination is None else list(destination), seconds)
        return asked

    def listen(self, seconds: float) -> bool:
        """Wait until something arrives on the connection, at most C(seconds); tell whether it did."""
        try:
            self._connection.drain_events(timeout=max(seconds, 0.001))
        except socket.timeout:
            return False
        return True

    def listeners(self) -> int | None:
        """Count the nodes that surely hear a broadcast now, frozen ones included; None where the broker does not tell.

        Redis tells by the answer to PUBLISH (workers subscribe by pattern, which PUBSUB
        NUMSUB leaves out). The message is empty: kombu's readers skip empty ones.
        """
        counts = self._listeners_by_topic()
        return None if counts is None else max(counts)

    def most_listeners(self) -> int | None:
        """Count the nodes that may hear a broadcast: those under two names twice, as they may be others."""
        counts = self._listeners_by_topic()
        return None if counts is None else sum(counts)

    def _listeners_by_topic(self) -> list[int] | None:
        if not self._on_redis:
            return None
        name = self._mailbox.exchange.name
        topics = (
            self._channel._get_publish_topics(name, "")
            if hasattr(self._channel, "_get_publish_topics")
            else [self._channel._get_publish_topic(name, "")]
        )
        with self._channel.conn_or_acquire() as client:
            return [int(client.publish(topic, "")) for topic in topics]

    def bound_nodes(self) -> frozenset[str] | None:
        """Names of the nodes that have a mailbox on Redis; None where the broker does not tell.

        A node that was killed leaves its name behind, so this may hold more than are there.
        """
        if not self._on_redis:
            return None
        suffix = f".{self._mailbox.namespace}.pidbox"
        table = self._channel.get_table(self._mailbox.exchange.name)
        return frozenset(row[-1][: -len(suffix)] for row in table if row and row[-1].endswith(suffix))

    def has_mailbox(self, node: str) -> bool:
        """Whether the node has a mailbox. False means that it is not there; on Redis true may be a leftover."""
        if self._on_redis:
            return node in (self.bound_nodes() or ())
        name = f"{node}.{self._mailbox.namespace}.pidbox"
        with self._connection.channel() as channel:
            try:
                channel.queue_declare(name, passive=True)
            except self._connection.channel_errors as error:
                # Any other refusal (405: it is exclusive to the worker's connection) is about a queue that exists.
                return getattr(error, "code", None) != 404
        return True

    def is_there(self, node: str, seconds: float) -> bool:
        """Whether the node is connected; a leftover name on Redis is told from it by calling everybody.

        :param seconds: how long everybody may take to answer. When somebody does not, true is returned.
        """
        if not self.has_mailbox(node):
            return False
        listening = self.most_listeners()
        if listening is None:
            return True
        everybody = self.ask(["ping"], seconds=seconds)
        give_up = time.monotonic() + seconds
        while node not in everybody.answers and len(everybody.answers) < listening:
            left = give_up - time.monotonic()
            if left <= 0:
                return True
            self.listen(left)
        return node in everybody.answers

    def close(self) -> None:
        """Remove the reply queue."""
        consumer, self._consumer = self._consumer, None
        if self._on_redis and self._channel._in_poll:
            # Closing would wait until the pending BRPOP ends by itself, a second or so later.
            self._channel._in_poll.disconnect()
        if consumer is not None:
            consumer.cancel()
            self._channel.queue_delete(self._reply_queue.name)
        self._channel.close()

    def _exists(self) -> bool:
        # Workers make the exchange. Making it ourselves would change the broker, and could clash with theirs.
        if self._on_redis:
            self._mailbox.exchange(self._channel).declare()
            return True
        with self._connection.channel() as channel:
            try:
                channel.exchange_declare(self._mailbox.exchange.name, "fanout", passive=True)
            except self._connection.channel_errors as error:
                if getattr(error, "code", None) != 404:
                    raise
                return False
        return True

    def _check_separator(self) -> None:
        """Refuse to join a table that is written with another separator: workers that read it could not answer anybody.

        :raises OperationError: with the separator of the workers.
        """
        if not self._on_redis:
            return
        name = self._mailbox.exchange.name
        other = other_separator(self._channel.get_table(name))
        if other is not None:
            raise OperationError(
                "speak with the workers by remote control",
                f"the mailboxes of {name} are separated by {other!r} and not by {self._channel.sep!r}",
                f"Give sep: {other!r} in the transport options, as the app does, and with it what else the app sets "
                "there, such as priority_steps and global_keyprefix.",
            )

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
            callbacks=[self._on_answer],
            on_decode_error=self._on_undecoded,
        )
        self._consumer.consume()
        on_return = None if self._on_redis else self._on_return
        self._producer = Producer(self._channel, auto_declare=False, on_return=on_return)

    def _send(
        self, ticket: str, command: str, arguments: dict[str, Any], destination: list[str] | None, seconds: float
    ) -> None:
        message = {
            "method": command,
            "arguments": arguments,
            "destination": destination,
            "pattern": None,
            "matcher": None,
            "ticket": ticket,
            "reply_to": {
                "exchange": self._mailbox.reply_exchange.name,
                "routing_key": self._reply_queue.routing_key,
            },
        }
        options: dict[str, Any] = {} if self._on_redis else {"mandatory": True}
        self._producer.publish(
            message,
            exchange=self._mailbox.exchange.name,
            headers={"clock": 0, "ticket": ticket, "expires": time.time() + seconds},
            serializer="json",
            retry=False,
            **options,
        )

    def _on_return(self, _error: object, _exchange: str, _routing_key: str, message: Any) -> None:
        # RabbitMQ hands a broadcast back when not one mailbox is bound.
        headers = getattr(message, "headers", None) or message.properties.get("application_headers") or {}
        asked = self._rounds.get(str(headers.get("ticket")))
        if asked is not None:
            asked[0].nobody = True

    def _on_answer(self, body: Any, message: Any) -> None:
        self._take(message.headers.get("ticket"), body)

    def _on_undecoded(self, message: Any, _error: Exception) -> None:
        try:
            body = _plain_unpickle(message.body)
        except Exception:
            return
        self._take(message.headers.get("ticket"), body)

    def _take(self, ticket: Any, body: Any) -> None:
        asked = self._rounds.get(ticket)
        if asked is None or not isinstance(body, dict):
            return
        current, command = asked
        for node, value in body.items():
            current.answers.setdefault(str(node), {})[command] = value


class _Opaque:
    """Stands for an object of the app's, of which nothing but its being there is of interest."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> _Opaque:
        return object.__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __call__(self, *_arguments: Any) -> _Opaque:
        return _Opaque()

    def __setstate__(self, _state: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _item: Any) -> None:
        """Take what belongs to a list."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists and dictionaries, and neither imports nor calls anything else."""

    def find_class(self, module: str, name: str) -> Any:
        # A Counter is how workers count their tasks.
        return Counter if (module, name) == ("collections", "Counter") else _Opaque


def _plain_unpickle(body: bytes) -> Any:
    """Decode the answer of a worker whose app serializes with pickle, without the danger of pickle."""
    return _PlainUnpickler(io.BytesIO(body)).load()
