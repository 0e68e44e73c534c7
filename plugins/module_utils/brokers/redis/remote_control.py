# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak with workers through mailboxes on Redis, which tells how many hear a broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


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


class RedisRemoteControl(RemoteControl):
    """A conversation with the workers of a Redis."""

    def __init__(self, connection: Any, exchange: str) -> None:
        # With acknowledgements, a kombu channel that consumes would now and then give back messages unacknowledged for
        # longer than *our* visibility timeout, which may be shorter than the app's: running tasks would run twice.
        # Behind sentinels, workers with a kombu older than 5.4 listen under another name, which this one calls too.
        ours = {"ack_emulation": False, "sentinel_fanout_compat": True}
        connection.transport_options = {**(connection.transport_options or {}), **ours}
        super().__init__(connection, exchange)

    def listeners(self) -> int:
        """Count the nodes that surely hear a broadcast now, frozen ones included."""
        return max(self._listeners_by_topic())

    def most_listeners(self) -> int:
        """Count the nodes that may hear a broadcast: those under two names twice, as they may be others."""
        return sum(self._listeners_by_topic())

    def bound_nodes(self) -> frozenset[str]:
        """Return the names of the nodes that have a mailbox.

        A node that was killed leaves its name behind, so this may hold more than are there.
        """
        suffix = f".{self._mailbox.namespace}.pidbox"
        table = self._channel.get_table(self._mailbox.exchange.name)
        return frozenset(row[-1][: -len(suffix)] for row in table if row and row[-1].endswith(suffix))

    def has_mailbox(self, node: str) -> bool:
        return node in self.bound_nodes()

    def close(self) -> None:
        if self._channel._in_poll:
            # Closing would wait until the pending BRPOP ends by itself, a second or so later.
            self._channel._in_poll.disconnect()
        super().close()

    def _listeners_by_topic(self) -> list[int]:
        """Redis tells by the answer to PUBLISH (workers subscribe by pattern, which PUBSUB NUMSUB leaves out).

        The message is empty: kombu's readers skip empty ones.
        """
        name = self._mailbox.exchange.name
        topics = (
            self._channel._get_publish_topics(name, "")
            if hasattr(self._channel, "_get_publish_topics")
            else [self._channel._get_publish_topic(name, "")]
        )
        with self._channel.conn_or_acquire() as client:
            return [int(client.publish(topic, "")) for topic in topics]

    def _has_workers(self) -> bool:
        """Always true. A table that is written with another separator is not joined: nobody could answer workers then.

        :raises OperationError: with the separator of the workers.
        """
        self._mailbox.exchange(self._channel).declare()
        name = self._mailbox.exchange.name
        other = other_separator(self._channel.get_table(name))
        if other is not None:
            raise OperationError(
                "speak with the workers by remote control",
                f"the mailboxes of {name} are separated by {other!r} and not by {self._channel.sep!r}",
                f"Give sep: {other!r} in the transport options, as the app does, and with it what else the app sets "
                "there, such as priority_steps and global_keyprefix.",
            )
        return True
