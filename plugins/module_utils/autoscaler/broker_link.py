# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a broker that is kept from one look to the next, and made anew after it failed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading, Warn
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import Marks, QueuesReading


class BrokerLink:
    """Reads queues of one broker. A failure is part of the reading, never an exception."""

    def __init__(
        self,
        url: str,
        transport_options: Mapping[str, Any],
        ssl: bool | Mapping[str, Any] | None,
        timeout: float,
        clock: Callable[[], float] = time.time,
        warn: Warn = lambda text: None,
        management_url: str | None = None,
    ) -> None:
        """Prepare to read; `warn` is told once of each thing that cannot be known of this broker.

        :param management_url: of RabbitMQ's management API; by default it is looked for where it usually is.
        """
        self._url = url
        self._options = transport_options
        self._ssl = ssl
        self._timeout = timeout
        self._clock = clock
        self._warn = warn
        self._warned: set[str] = set()
        self._management_url = management_url
        self._open = contextlib.ExitStack()
        self._broker: Broker | None = None

    def read(self, queues: Sequence[str], marks: Marks | None = None) -> QueuesReading:
        """Read queues by name; takes three times the timeout at most.

        :param marks: of the last reading, to have the broker count from there.
        """
        try:
            if self._broker is None:
                connection = open_broker(self._url, self._options, self._ssl, self._timeout, self._management_url)
                self._broker = self._open.enter_context(connection)
            readings = self._broker.read_queues(queues, marks=marks or {})
            read = _together(self._clock(), readings)
        except OperationError as error:
            self.close()
            return QueuesReading(self._clock(), None, problem=str(error))
        try:
            return replace(read, blocked=self._broker.publishers_blocked(queues, warn=self._tell_once))
        except OperationError as error:
            # It may well be that it does not take tasks.
            self.close()
            return replace(read, blocked=str(error))

    def _tell_once(self, text: str) -> None:
        # Each new connection finds it out again.
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._broker = None
        self._open.close()


def _together(at: float, readings: Sequence[QueueReading]) -> QueuesReading:
    # In a queue that does not exist nothing waits; workers or the first task will make it.
    unknown = [reading.name for reading in readings if reading.waiting is None and reading.exists is not False]
    if unknown:
        return QueuesReading(at, None, problem=f"the broker did not tell how many tasks wait in {', '.join(unknown)}")
    without_counts = [reading for reading in readings if reading.lists is None and reading.delivered is None]
    unacknowledged = [reading.unacknowledged for reading in readings]
    return QueuesReading(
        at,
        {reading.name: reading.waiting or 0 for reading in readings},
        None if None in unacknowledged else sum(count or 0 for count in unacknowledged),
        by_priority={
            reading.name: {str(step): count for step, count in reading.waiting_by_priority.items()}
            for reading in readings
            if reading.waiting_by_priority
        },
        lists={reading.name: reading.lists for reading in readings if reading.lists is not None},
        delivered={reading.name: reading.delivered for reading in readings if reading.delivered is not None},
        uncounted=next((reading.uncounted for reading in without_counts if reading.uncounted), ""),
    )
