# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the messages out of what a Redis server sends to a subscriber."""

from __future__ import annotations

try:
    import hiredis
except ImportError:
    # Whoever follows events says that it is missing.
    hiredis = None

MESSAGE_MAX = 8 * 1024 * 1024
"""Bytes of the largest message that is looked into; Celery's events are a few hundred to a few thousand bytes."""

_NOT_YET = object()


class ServerSaid(Exception):
    """An error reply of the server."""


class PushReader:
    """Takes the bytes of a subscribed connection, and gives the messages of one pattern.

    :ivar confirmed: whether the server has confirmed the subscription.
    :ivar dropped: messages that were too large.
    """

    def __init__(self, pattern: bytes) -> None:
        self.confirmed = False
        self.dropped = 0
        self._pattern = pattern
        self._reader = hiredis.Reader(protocolError=ValueError, replyError=ServerSaid, notEnoughData=_NOT_YET)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the messages that are complete with these bytes.

        :raises ServerSaid: when the server answered with an error.
        :raises ValueError: when this is not the protocol of Redis.
        """
        messages: list[bytes] = []
        self._reader.feed(chunk)
        gets, pattern = self._reader.gets, self._pattern
        while (reply := gets()) is not _NOT_YET:
            # Replies to questions of ours come in between.
            if isinstance(reply, ServerSaid):
                raise reply
            if not isinstance(reply, list):
                continue
            if len(reply) == 4 and reply[0] == b"pmessage" and reply[1] == pattern:
                messages.append(reply[3])
            elif reply[:1] == [b"psubscribe"]:
                self.confirmed = True
        small = [message for message in messages if len(message) <= MESSAGE_MAX]
        self.dropped += len(messages) - len(small)
        return small
