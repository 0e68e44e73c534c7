# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow the events of a broker that is Redis.

The client is kombu's own, so that everything it honours is honoured here. Reading is
not: its way through redis-py and its own layers takes most of the time of an event.
"""

from __future__ import annotations

import select
import ssl
import threading
import time
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import EventSink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.event_messages import body_of_redis_message
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import literal, pack, take_connection
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.push import PushReader, ServerSaid
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

CHUNK = 64 * 1024
"""Bytes taken at once: about a millisecond of work."""

GATHER_SECONDS = 0.2
"""Wait for further events after a silence, because waking up costs more than an event does."""

LOOK_SECONDS = 0.5
"""Longest wait between two looks at whether to stop."""

QUIET_SECONDS = 10.0
"""Silence after which the server is asked for a sign of life, which it has as long again to give."""


def follow(channel: Any, url: str, exchange: str, sink: EventSink, stop: threading.Event) -> None:
    """Give the events to C(sink) until C(stop) is set.

    :param channel: kombu's.
    :param url: of the broker, as it can be shown.
    :raises OperationError: when the server refuses the subscription.
    :raises OSError, redis.exceptions.RedisError: when the connection breaks.
    """
    pool = channel.pool
    pattern = topic_pattern(channel, exchange).encode()
    connection = take_connection(pool)
    try:
        channel.client.connection_pool.disconnect()
        connection.send_packed_command([pack(["PSUBSCRIBE", pattern])], check_health=False)
        _read(connection, PushReader(pattern), sink, stop)
    except ServerSaid as error:
        raise OperationError(
            f"subscribe to the events of the broker {url}",
            str(error),
            f"Grant the user the command and the channels, for example with ACL SETUSER <user> +psubscribe "
            f"'&{pattern.decode()}'.",
        ) from error
    finally:
        connection.disconnect()


def topic_pattern(channel: Any, exchange: str) -> str:
    """Return the pattern of the channels to which kombu publishes what is sent to a fanout exchange.

    :param channel: kombu's, after its pool was made, which completes the prefix.
    """
    prefix = channel.keyprefix_fanout
    if getattr(channel, "sentinel_fanout_compat", False) and channel.fanout_prefix is True:
        # While old and new versions meet, only this topic has the events of all; it lacks the database's number.
        prefix = type(channel).keyprefix_fanout
    topic = literal(f"{channel.global_keyprefix or ''}{prefix}{exchange}")
    # The rest is the routing key, such as task.multi.
    return f"{topic}/*" if channel.fanout_patterns else topic


def _read(connection: Any, reader: PushReader, sink: EventSink, stop: threading.Event) -> None:
    # redis-py has no public name for it; kombu's event loop takes it too.
    sock = connection._sock
    sock.setblocking(False)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    heard_at = time.monotonic()
    asked = joined = False
    while not stop.is_set():
        try:
            chunk = sock.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if poll.poll(LOOK_SECONDS * 1000):
                stop.wait(GATHER_SECONDS)
            elif time.monotonic() - heard_at > QUIET_SECONDS:
                if asked:
                    raise ConnectionError(f"the server was silent for {2 * QUIET_SECONDS:g} s") from None
                sock.sendall(pack(["PING"]))
                heard_at, asked = time.monotonic(), True
            continue
        if not chunk:
            raise ConnectionError("the server closed the connection")
        heard_at, asked = time.monotonic(), False
        dropped = reader.dropped
        messages = reader.feed(chunk)
        if reader.confirmed and not joined:
            sink.joined()
            joined = True
        sink.take(body_of_redis_message, messages, reader.dropped - dropped)
