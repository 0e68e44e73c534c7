# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listen to the events of Celery workers in a thread of its own, for as long as the process lives."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import hide_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import EVENT_EXCHANGE
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import fleet_of_node
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.gaps import Gaps
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.nodes import FleetOf
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.tally import NAMES_MAX, Tally
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import Snapshot
from ansible_collections.muejam.celery.plugins.module_utils.redaction import shown

RETRY_FIRST = 0.1
RETRY_LONGEST = 5.0
"""Seconds between two attempts to join, doubled with each."""

STEADY_SECONDS = 30.0
"""A connection that lasted for so long was a good one: the next attempt follows quickly."""

LOST = (
    "The autoscaler tries again until it succeeds. Check the broker's health and its log; Redis also hangs up on "
    "listeners that are too slow for its client-output-buffer-limit of class pubsub."
)

YIELD_SECONDS = 0.00005
"""Sleep between two batches.

The interpreter switches threads every 5 ms by itself, and a turn of the main thread
waits for that at each of its hundreds of reads and writes. So a thread that has much to
do gives way of its own accord, after about a millisecond.
"""


class Sink:
    """Decodes messages and counts their events, under a lock that is never held for long."""

    def __init__(self, lock: threading.Lock, tally: Tally, gaps: Gaps, clock: Callable[[], float]) -> None:
        self._lock = lock
        self._tally = tally
        self._gaps = gaps
        self._clock = clock

    def joined(self) -> None:
        """The broker sends events from now on."""
        with self._lock:
            self._gaps.joined(self._clock())

    def take(self, decode: Callable[[Any], Any], messages: Iterable[Any], dropped: int = 0) -> None:
        """Take messages; those that cannot be decoded, and those that were dropped, are counted as garbage."""
        bodies = []
        for message in messages:
            try:
                bodies.append(decode(message))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                dropped += 1
        at = self._clock()
        with self._lock:
            self._tally.garbage += dropped
            for body in bodies:
                self._tally.take(body, at)
        time.sleep(YIELD_SECONDS)


class EventStream:
    """The events of one broker, counted for several fleets.

    All methods may be called from any thread, and none waits for the broker.

    :param url: as Celery's C(broker_url).
    :param fleets: queues that each fleet consumes from; workers of other fleets are not counted.
    :param transport_options: as Celery's C(broker_transport_options).
    :param ssl: as Celery's C(broker_use_ssl).
    :param timeout: seconds for connecting.
    :param exchange: as Celery's C(event_exchange).
    :param limit: task names, and queues, that are told apart in a fleet.
    :param fleet_of: tells which fleet the worker of a name belongs to; by default those of all hosts count.
    """

    def __init__(
        self,
        url: str,
        fleets: Mapping[str, Collection[str]],
        transport_options: Mapping[str, Any] | None = None,
        ssl: bool | Mapping[str, Any] | None = None,
        *,
        timeout: float = 5.0,
        exchange: str = EVENT_EXCHANGE,
        limit: int = NAMES_MAX,
        fleet_of: FleetOf = fleet_of_node,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._ssl = ssl
        self._timeout = timeout
        self._exchange = exchange
        self._clock = clock
        kind = kind_of(url)
        self._options = {**(kind.listening_options if kind else {}), **(transport_options or {})}
        self._lock = threading.Lock()
        self._tally = Tally(fleets, limit, fleet_of)
        self._gaps = Gaps()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen. Once only."""
        self._thread = threading.Thread(target=self._run, name="event-stream", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop listening; return when the thread has ended, or after C(timeout) seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def watch(self, fleets: Mapping[str, Collection[str]]) -> None:
        """Watch these fleets from now on; those watched before keep their counts."""
        with self._lock:
            self._tally.watch(fleets)

    def snapshot(self) -> Snapshot:
        """Return everything heard so far."""
        with self._lock:
            at, tally = self._clock(), self._tally
            health = self._gaps.health(at, tally.events, tally.foreign, tally.garbage)
            return Snapshot(health, tally.fleets(at))

    def _run(self) -> None:
        sink = Sink(self._lock, self._tally, self._gaps, self._clock)
        wait = RETRY_FIRST
        while not self._stop.is_set():
            problem = self._follow(sink)
            if self._stop.is_set():
                return
            with self._lock:
                lasted = self._gaps.lost(self._clock(), problem)
            wait = RETRY_FIRST if lasted is not None and lasted >= STEADY_SECONDS else wait
            # Not all at once, where many listen to the same broker.
            self._stop.wait(wait * random.uniform(0.75, 1.25))
            wait = min(2 * wait, RETRY_LONGEST)

    def _follow(self, sink: Sink) -> str:
        """Listen as long as that goes well; return what ended it."""
        try:
            with open_broker(self._url, self._options, self._ssl, self._timeout) as broker:
                broker.follow_events(self._exchange, sink, self._stop)
        except OperationError as error:
            return str(error)
        except Exception as error:
            hide = hide_of(self._url, self._options, self._ssl)
            tried = f"listen to the events of the broker {shown(self._url)}"
            if isinstance(error, (OSError, EOFError)):
                return str(OperationError(tried, hide(error) or type(error).__name__, LOST))
            return str(explain(error, tried, opening=False, hide=hide))
        return ""
