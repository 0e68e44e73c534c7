# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the starts of tasks that a worker's heartbeats tell of and its task events do not."""

from __future__ import annotations

BUFFERED = 24
"""Task events that a worker may hold back for a moment, to send them together (celery.events.dispatcher)."""


class MissedStarts:
    """Compares both counts over one life of a worker.

    Heartbeats carry how many tasks were started, so nothing can be missed without a
    trace but what came before the first one heard. Task events follow a moment later than
    the heartbeat that counts them already, which must not look like a loss: a
    difference is believed at once when nothing was started since the heartbeat before,
    and otherwise as far as it lasts and is larger than what can be on its way.

    :param base: starts that were told before, by whomever; None until the first heartbeat tells.
    """

    def __init__(self, base: int | None = None) -> None:
        self.missed = 0
        self._base = base
        self._seen = 0
        self._processed: int | None = None
        self._lacking = 0

    def started(self) -> None:
        """A task event told of a start."""
        self._seen += 1

    def heartbeat(self, processed: int, expected: bool) -> int:
        """Take a heartbeat's count, and return how many more starts are known to have been missed.

        :param processed: starts since the worker's process started.
        :param expected: whether the worker sends task events at all.
        """
        if self._base is None or not expected:
            self._base, self._seen = processed, 0
        lacking = processed - self._base - self._seen
        if lacking < 0:
            # Events of starts that were counted before we listened.
            self._base += lacking
            lacking = 0
        settled = processed == self._processed
        certain = lacking if settled else min(lacking, self._lacking) - BUFFERED
        self._processed, self._lacking = processed, lacking
        more = max(0, certain - self.missed)
        self.missed += more
        return more
