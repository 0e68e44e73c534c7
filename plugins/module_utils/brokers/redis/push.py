# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a Redis server sends to a subscriber."""

from __future__ import annotations

from typing import Any

MESSAGE_MAX = 8 * 1024 * 1024
"""Bytes of the largest message that is kept; Celery's events are a few hundred to a few thousand bytes."""

DEPTH_MAX = 8

_END = b"\r\n"
_SIMPLE = b"+-:_#,("
_BULK = b"$=!"
_AGGREGATE = b"*>~"


class ServerSaid(Exception):
    """An error reply of the server."""


class PushReader:
    """Takes the bytes of a subscribed connection, and gives the messages of one pattern.

    Messages of the pattern all begin alike, so they are recognised at a glance; anything
    else (confirmations, pongs, in either version of the protocol) is parsed as what it is.

    :ivar confirmed: whether the server has confirmed the subscription.
    :ivar dropped: messages that were too large.
    """

    def __init__(self, pattern: bytes) -> None:
        self.confirmed = False
        self.dropped = 0
        head = b"4\r\n$8\r\npmessage\r\n$%d\r\n%b\r\n$" % (len(pattern), pattern)
        self._heads = (b"*" + head, b">" + head)
        self._rest = b""
        self._skip = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the messages that are complete with these bytes.

        :raises ServerSaid: when the server answered with an error.
        :raises ValueError: when this is not the protocol of Redis.
        """
        if self._skip:
            skipped, chunk = chunk[: self._skip], chunk[self._skip :]
            self._skip -= len(skipped)
        data = self._rest + chunk if self._rest else chunk
        heads, length = self._heads, len(self._heads[0])
        find, startswith = data.find, data.startswith
        messages: list[bytes] = []
        at, there = 0, len(data)
        while at < there:
            if not startswith(heads, at):
                after = self._take_other(data, at)
                if after is None:
                    break
                at = after
                continue
            begin = at + length
            end = find(_END, begin)
            if end < 0:
                break
            # Past the channel's name, and the dollar sign of the message.
            begin = end + 2 + int(data[begin:end]) + 3
            end = find(_END, begin)
            if end < 0:
                break
            begin, end = end + 2, end + 2 + int(data[begin:end])
            if end + 2 > there:
                if end - begin > MESSAGE_MAX:
                    self.dropped += 1
                    self._skip, at = end + 2 - there, there
                break
            messages.append(data[begin:end])
            at = end + 2
        self._rest = data[at:]
        return messages

    def _take_other(self, data: bytes, at: int) -> int | None:
        """Take a reply that is no message of ours, and return where it ends, None when it is not complete."""
        found = _value(data, at, 0)
        if found is None:
            if len(data) - at > MESSAGE_MAX:
                raise ValueError("a reply without an end")
            return None
        value, after = found
        if isinstance(value, ServerSaid):
            raise value
        if isinstance(value, list) and value[:1] == [b"psubscribe"]:
            self.confirmed = True
        return after


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int] | None:
    """Return the value that begins there and where it ends, None when it is not complete."""
    end = data.find(_END, at)
    if end < 0:
        return None
    kind, text, after = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in _SIMPLE:
        return (ServerSaid(text.decode(errors="replace")) if kind == b"-" else text), after
    if kind in _BULK:
        size = int(text)
        if size < 0:
            return None if size < -1 else (b"", after)
        return (data[after : after + size], after + size + 2) if after + size + 2 <= len(data) else None
    if kind not in _AGGREGATE or depth > DEPTH_MAX:
        raise ValueError(f"not the protocol of Redis: {data[at : at + 40]!r}")
    values = []
    for _turn in range(int(text)):
        found = _value(data, after, depth + 1)
        if found is None:
            return None
        value, after = found
        values.append(value)
    return values, after
