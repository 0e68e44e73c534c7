# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one reading of the broker says about a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import ListReading

Warn = Callable[[str], None]
"""Receives what limits a reading, in one sentence."""

BOOKKEEPING_EXCHANGES = (".pidbox", "celeryev")
"""Ends of the names of exchanges that carry remote control and events, not tasks."""

_RETURNED = ("name", "exists", "waiting", "waiting_by_priority", "unacknowledged", "consumers")

_BOOKKEEPING_QUEUE_START = "celeryev."
_BOOKKEEPING_QUEUE_END = ".pidbox"


class QueueReading(NamedTuple):
    """A queue as the broker showed it. None is unknown, and never stands for zero.

    C(waiting): messages that nobody has taken yet, all priorities together.
    C(waiting_by_priority): the same by priority step (Redis only).
    C(unacknowledged): messages delivered to a worker and not acknowledged.
    C(consumers): how many consumers the broker knows.
    C(lists): what arrived in its lists, those in which nothing waits left out (Redis, when asked for).
    C(delivered): messages delivered for the first time, since whenever (RabbitMQ, when asked for).
    C(uncounted): why neither is known, when asked for.

    There may be a thousand in one reading, and a tuple is made in a third of the time of a frozen dataclass.
    """

    name: str
    exists: bool | None = None
    waiting: int | None = None
    waiting_by_priority: Mapping[str, int] | None = None
    unacknowledged: int | None = None
    consumers: int | None = None
    lists: Mapping[str, ListReading] | None = None
    delivered: int | None = None
    uncounted: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as a module returns it."""
        return {name: getattr(self, name) for name in _RETURNED}


def is_bookkeeping(queue: str) -> bool:
    """Tell whether a queue carries remote control or events, by the names that Celery gives them."""
    return queue.startswith(_BOOKKEEPING_QUEUE_START) or queue.endswith(_BOOKKEEPING_QUEUE_END)
