# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a Redis server, for many read-only commands in one write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

try:
    from redis.exceptions import ResponseError
except ImportError:
    ResponseError = Exception

ServerRefused = ResponseError
"""An error reply of the server."""

Reply = Any
"""What the server answered: bytes, a number, a list, or a ServerRefused as a value."""


class RedisLink:
    """One connection of a pool, held for one reading.

    A client of redis-py connects again by itself when its connection is gone, and a
    reading that goes on with a server that has just started would report a broker
    that died as an empty one. Here a lost connection is always an error. It also
    spares the client's work for each command and answer.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def ask(self, commands: Iterable[Sequence[str | bytes | int]]) -> list[Reply]:
        """Send commands in one write and return their replies in order.

        :raises redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: when the server is gone.
        """
        return self._send([pack(command) for command in commands])

    def answers(self, commands: Iterable[Sequence[str | bytes | int]]) -> list[Reply]:
        """Do as C(ask), and raise the first ServerRefused among the replies."""
        replies = self.ask(commands)
        for reply in replies:
            if isinstance(reply, ServerRefused):
                raise reply
        return replies

    def call(self, *command: str | bytes | int) -> Reply:
        """Send one command and return its reply, or raise it where it is a ServerRefused."""
        return self.answers([command])[0]

    def ask_each(self, name: str, keys: Sequence[str]) -> list[Reply]:
        """Send one command of one argument for each key, in one write."""
        head = f"*2\r\n${len(name)}\r\n{name}\r\n$".encode()
        encoded = [key.encode("utf-8", "surrogateescape") for key in keys]
        return self._send([b"%b%d\r\n%b\r\n" % (head, len(key), key) for key in encoded])

    def _send(self, packed: Sequence[bytes]) -> list[Reply]:
        replies: list[Reply] = []
        if packed:
            self._connection.send_packed_command([b"".join(packed)], check_health=False)
        for _command in packed:
            try:
                replies.append(self._connection.read_response())
            except ServerRefused as error:
                replies.append(error)
        return replies


def pack(command: Sequence[str | bytes | int]) -> bytes:
    """Return a command as the Redis protocol writes it."""
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        value = argument if isinstance(argument, bytes) else str(argument).encode("utf-8", "surrogateescape")
        parts.append(b"$%d\r\n%b\r\n" % (len(value), value))
    return b"".join(parts)


def literal(text: str) -> str:
    """Return a text as a pattern that matches only itself."""
    return "".join(f"\\{character}" if character in "\\*?[]" else character for character in text)


def take_connection(pool: Any) -> Any:
    """Take a connection from a pool of redis-py."""
    try:
        return pool.get_connection()
    except TypeError:
        # redis-py before 5.3 wants the name of a command, which it does not use.
        return pool.get_connection("_")


@contextlib.contextmanager
def link_of(pool: Any) -> Iterator[RedisLink]:
    """Take a connection from a pool of redis-py for the length of a with block."""
    connection = take_connection(pool)
    try:
        yield RedisLink(connection)
    except BaseException:
        # Replies may still be on their way, and would be taken for those of the next reading.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
