# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an open broker does, whichever kind it is. A new kind of broker is a class of this one, and a C(Kind)."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading, Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Found
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import Marks
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide, shown

T = TypeVar("T")

CLOSE_SECONDS = 1.0
"""Closing politely is a courtesy to the broker's log, not worth more of anybody's time."""


class EventSink(Protocol):
    """Where the messages go that carry events."""

    def joined(self) -> None:
        """The broker sends events from now on."""

    def take(self, decode: Callable[[Any], Any], messages: Iterable[Any], dropped: int = 0) -> None:
        """Take messages, what makes events of them, and how many were too large."""


class Queues(Protocol):
    """The queues of an open broker."""

    def read(
        self, names: Sequence[str] | None, limit: TimeLimit, warn: Warn, marks: Marks | None
    ) -> list[QueueReading]:
        """Read queues, or all there are when C(names) is None."""


class Broker(ABC):
    """An open connection to a broker, made by C(open_broker). What changes something at the broker says so.

    C(connection) is kombu's. C(url) can be shown, and C(hide) masks this broker's secrets in what a library says. Not
    for use by several threads at once.
    """

    kind: ClassVar[Kind]
    _queues: Queues

    def __init__(self, connection: Any, url: str, timeout: float, hide: Hide, _management_url: str | None) -> None:
        self.connection = connection
        self.url = shown(url)
        self.hide = hide
        self.timeout = timeout

    @classmethod
    def prepare(cls, url: str, options: dict[str, Any], timeout: float) -> int:
        """Change the transport options so that connecting ends in time; return how many addresses kombu is to try."""
        return addresses_in(url)

    def read_queues(
        self,
        names: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        warn: Warn = lambda text: None,
        marks: Marks | None = None,
    ) -> list[QueueReading]:
        """Read queues, in the order of C(names); with None all that the broker knows, by name.

        :param timeout: seconds for the whole reading, by default the broker's.
        :param warn: called with a sentence for each thing that could not be learned (and is None in the reading).
        :param marks: of the last reading, to count what arrived since, or what was delivered; None to count nothing.
        :raises OperationError: when the broker cannot be read; there is then no reading at all.
        """
        wanted = None if names is None else list(dict.fromkeys(names))
        readings = self.in_time(
            lambda limit: self._queues.read(wanted, limit, self._masked(warn), marks),
            timeout,
            f"read the queues of the broker {self.url}",
        )
        if names is None:
            return readings
        by_name = {reading.name: reading for reading in readings}
        return [by_name[name] for name in names]

    def publishers_blocked(
        self, names: Sequence[str], *, timeout: float | None = None, warn: Warn = lambda text: None
    ) -> str:
        """Return why the broker takes no tasks at present, the empty text when it does or this user may not ask.

        Queues of one that blocks may be empty only because nothing comes in.

        :param timeout: seconds, by default the broker's.
        :param warn: called with a sentence, once for this connection, where this user may not ask.
        :raises OperationError: when the broker does not answer.
        """
        return self.in_time(
            lambda _limit: self._publishers_blocked(names, self._masked(warn)),
            timeout,
            f"see whether the broker {self.url} takes tasks",
        )

    @abstractmethod
    def follow_events(self, exchange: str, sink: EventSink, stop: threading.Event) -> None:
        """Give events to C(sink) until C(stop) is set. What a library raises when the connection breaks is raised."""

    @abstractmethod
    def remote_control(self, exchange: str) -> RemoteControl:
        """Return a conversation with the workers, over the app's C(control_exchange)."""

    @abstractmethod
    def call_everybody(
        self, names: Collection[str], control_exchange: str, event_exchange: str, deadline: float
    ) -> Found:
        """Ask all workers who they are. What a library raises is raised.

        :param names: those that are expected.
        :param deadline: instant of C(time.monotonic()) at which to give up waiting for answers.
        """

    def in_time(self, work: Callable[[TimeLimit], T], timeout: float | None, tried: str) -> T:
        """Return what C(work) does within so many seconds, by default the broker's.

        :raises OperationError: when it fails or takes too long; the connection is then of no use any more.
        """
        limit = TimeLimit(self.timeout if timeout is None else timeout)
        with self.explaining(tried):
            return limit.run(lambda: work(limit))

    @contextlib.contextmanager
    def explaining(self, tried: str) -> Iterator[None]:
        """Make an OperationError of whatever is raised inside, and drop the connection.

        :param tried: what is attempted and on what, as the rest of "Could not ...".
        """
        try:
            yield
        except Exception as error:
            self.abort()
            raise explain(error, tried, opening=False, hide=self.hide) from error

    def close(self) -> None:
        """Close the connection, within a second even where the broker does not answer."""
        with contextlib.suppress(Exception):
            TimeLimit(CLOSE_SECONDS).run(self.connection.release)
            return
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word, which also ends a read that waits in another thread.

        Connections beside kombu's are those of the kind, which cuts them first.
        """
        with contextlib.suppress(Exception):
            TimeLimit(CLOSE_SECONDS).run(lambda: self.connection.collect(socket_timeout=CLOSE_SECONDS))

    def _publishers_blocked(self, names: Sequence[str], warn: Warn) -> str:
        """Return why nobody can publish, the empty text when everybody can or, as here, it cannot be known."""
        return ""

    def _masked(self, warn: Warn) -> Warn:
        return lambda text: warn(self.hide(text))


def addresses_in(url: str) -> int:
    """Return how many addresses a URL has, as kombu counts them."""
    return len(list(filter(None, url.split(";"))))
