# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of what is recorded of a fleet, and how it is taken from the status."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Optional

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import Value
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    WAIT_TIME,
)

WAITING = "waiting"
WAIT = "wait"
WORKERS = "workers"
STARTING = "starting"
DRAINING = "draining"
DOWN = "down"
WANTED = "wanted"
FLOOR = "floor"
CEILING = "ceiling"
FINISHED = "finished"

PRIORITY = "priority "
"""Before the name of a priority: tasks that wait with it, in all queues of the fleet together."""

MOST_PRIORITIES = 10
"""So many are told apart. The others are in C(waiting) all the same."""

Take = Callable[[Mapping[str, Any]], Optional[float]]
"""Takes a number from a fleet's part of the status; None is unknown."""


@dataclass(frozen=True)
class Recorded:
    """One number of a fleet.

    :ivar most: whether a point is the most of what was seen while it lasted, and not what was seen last. A queue that
        was full for a moment is to be seen in a picture of a day.
    """

    text: str
    take: Take
    most: bool = False


def _metric(fleet: Mapping[str, Any], name: str) -> float | None:
    value: float | None = fleet["metrics"].get(name)
    return value


def _count(fleet: Mapping[str, Any], name: str) -> float | None:
    value: float | None = fleet.get(name)
    return value


def _of_workers(fleet: Mapping[str, Any], name: str) -> float | None:
    # Where the workers could not be read none is starting, as far as anybody knows.
    return None if fleet["workers"] is None else _count(fleet, name)


def _bound(fleet: Mapping[str, Any], place: int) -> float | None:
    bounds = bounds_of(fleet)
    return None if bounds is None else bounds[place]


RECORDED: Mapping[str, Recorded] = MappingProxyType(
    {
        WAITING: Recorded("tasks that wait in the fleet's queues", partial(_metric, name=QUEUE_DEPTH), most=True),
        WAIT: Recorded("seconds that the oldest of them waits by now", partial(_metric, name=WAIT_TIME), most=True),
        WORKERS: Recorded("workers, draining ones not among them", partial(_count, name="workers")),
        STARTING: Recorded("those of them that do not take tasks yet", partial(_of_workers, name="starting")),
        DRAINING: Recorded("workers that finish what they have and end", partial(_of_workers, name="draining")),
        DOWN: Recorded("workers that are wanted and do not run", lambda fleet: float(len(fleet.get("down", ())))),
        WANTED: Recorded("workers that the decision wants", partial(_count, name="to")),
        FLOOR: Recorded("the fewest workers that are allowed", partial(_bound, place=0)),
        CEILING: Recorded("the most workers that are allowed", partial(_bound, place=1)),
        FINISHED: Recorded("tasks that ended so far", partial(_metric, name=PROCESSED_TOTAL)),
    }
)


def recorded(fleet: Mapping[str, Any]) -> Iterator[Value]:
    """Yield what is known of a fleet that was looked at.

    :param fleet: its part of the status.
    """
    for name, each in RECORDED.items():
        value = each.take(fleet)
        if value is not None:
            yield Value(name, value, name if each.most else "")
    for priority, count in list(by_priority(fleet).items())[:MOST_PRIORITIES]:
        # Those of one look, so that together they are what waits.
        yield Value(PRIORITY + priority, count, WAITING)


def bounds_of(fleet: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the floor and the ceiling that hold, by pause or policy; None for a fleet that has neither.

    :param fleet: its part of the status.
    """
    pause, window = fleet.get("pause"), fleet.get("window")
    if pause:
        return pause["workers"], pause["workers"]
    return (window["min_workers"], window["max_workers"]) if window else None


def by_priority(fleet: Mapping[str, Any]) -> dict[str, int]:
    """Return how many tasks wait by priority, in all queues together, in the order in which the broker names them."""
    counts: dict[str, int] = {}
    for priorities in (fleet.get("waiting_by_priority") or {}).values():
        for priority, count in priorities.items():
            counts[priority] = counts.get(priority, 0) + count
    return counts
