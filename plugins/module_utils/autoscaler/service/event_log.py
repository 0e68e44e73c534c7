# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler writes down and counts besides its decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock

Tell = Callable[[Mapping[str, Any]], None]
"""Receives what is to be written down, one mapping for each decision or event."""


class EventLog:
    """Events, and problems that last.

    :ivar counts: how often each event happened since the autoscaler started.
    """

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self.tell = tell
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._problems: dict[tuple[str, str], str] = {}

    def event(self, event: str, **details: Any) -> None:
        """Write down, and count, something that is no decision."""
        self.counts[event] += 1
        self.tell({"at": self._clock.wall(), "event": event, **details})

    def problem(self, event: str, problem: str, fleet: str = "") -> None:
        """Count a problem that may last for long each time, and write it down when it begins, changes and ends.

        :param problem: empty when there is none.
        """
        before, self._problems[event, fleet] = self._problems.get((event, fleet), ""), problem
        if problem == before:
            self.counts[event] += bool(problem)
        else:
            details = {**({"fleet": fleet} if fleet else {}), **({"error": problem} if problem else {})}
            self.event(event if problem else f"{event}_any_more", **details)
