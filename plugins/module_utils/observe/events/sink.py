# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the events go that are read from a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.gaps import Gaps
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.tally import Tally

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
