# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the oldest task of a fleet's queues waits, and who counted what that is made of.

The broker's own counts are right whoever else takes from a queue: another fleet, other hosts, workers that are not
ours. Only for a queue of which it does not count are the counts of the fleet's workers taken, which see what they take
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import ListReading, Marks, QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.observe.flow import (
    Flow,
    Wait,
    longest,
    look,
    look_at_arrivals,
    wait,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.worker_totals import Missing, Totals

ALL_QUEUES = ""
"""The flow of all queues together, for workers that do not count by queue."""

BROKER_LATE = 6.0
"""Seconds by which a broker's counts of deliveries may be late: RabbitMQ gathers them every 5 s."""

BY_BROKER = "the broker"
BY_WORKERS = "this fleet's workers"


@dataclass(frozen=True)
class MarkedFlow(OnAClock):
    """The flow of one list, and the broker's mark to count the next arrivals from."""

    mark: str
    flow: Flow


@dataclass(frozen=True)
class CountedQueue(OnAClock):
    """A queue whose arrivals the broker shows.

    :ivar at: seconds since the epoch of the last look.
    :ivar lists: those in which messages waited then.
    """

    at: float = field(metadata=INSTANT)
    lists: Mapping[str, MarkedFlow] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting(OnAClock):
    """What is remembered of a fleet's queues.

    :ivar counted: by queue, where the broker shows what arrived.
    :ivar delivered: by queue, where the broker counts what it delivered.
    :ivar taken: by queue, where only the workers count what they took.
    """

    counted: Mapping[str, CountedQueue] = field(default_factory=dict)
    delivered: Mapping[str, Flow] = field(default_factory=dict)
    taken: Mapping[str, Flow] = field(default_factory=dict)

    @property
    def marks(self) -> Marks:
        """What to give the broker at the next reading."""
        return {
            queue: {name: each.mark for name, each in known.lists.items() if each.mark}
            for queue, known in self.counted.items()
        }


def look_at_queues(
    before: Waiting, queues: QueuesReading, totals: Totals, missing: Missing
) -> tuple[Wait, str, Waiting]:
    """Return how long the oldest task waits; who counted, and why not the broker where it did not; what to remember.

    :param totals: what the workers took, and C(missing) what of it is not known.
    """
    if queues.waiting is None:
        return Wait(why=queues.problem or "the broker could not be read"), "", before
    counted = {queue: _counted(before.counted.get(queue), queues.at, lists) for queue, lists in queues.lists.items()}
    delivered = {
        queue: look(before.delivered.get(queue, Flow()), queues.at, queues.waiting[queue], count, BROKER_LATE)
        for queue, count in queues.delivered.items()
    }
    uncounted = {
        queue: waiting for queue, waiting in queues.waiting.items() if queue not in counted and queue not in delivered
    }
    taken = _taken(before.taken, queues.at, uncounted, totals, missing)
    after = Waiting(counted, delivered, taken)
    waits = [
        *((_name(queue, name), wait(each.flow)) for queue, of in counted.items() for name, each in of.lists.items()),
        *((queue, wait(flow)) for queue, flow in delivered.items()),
    ]
    if not any(uncounted.values()):
        return longest(waits), BY_BROKER, after
    why = f" ({queues.uncounted})" if queues.uncounted else ""
    return longest([*waits, *_by_workers(taken, uncounted, missing)]), BY_WORKERS + why, after


def _counted(before: CountedQueue | None, at: float, lists: Mapping[str, ListReading]) -> CountedQueue:
    after = {}
    for name, seen in lists.items():
        known = before.lists.get(name) if before else None
        if known is not None:
            flow, arrived = known.flow, seen.arrived
        else:
            # A list in which nothing waited at the last look: all that waits has arrived since.
            flow, arrived = Flow(((before.at, 0.0),)) if before else Flow(), seen.waiting
        after[name] = MarkedFlow(seen.mark, look_at_arrivals(flow, at, seen.waiting, arrived))
    return CountedQueue(at, after)


def _taken(
    before: Mapping[str, Flow], at: float, waiting: Mapping[str, int], totals: Totals, missing: Missing
) -> Mapping[str, Flow]:
    """Look at each queue, and at all of them together."""
    if not waiting:
        return {}
    taken = None if missing.taken else totals.taken
    flows = {
        queue: look(before.get(queue, Flow()), at, count, None if taken is None else taken.get(queue, 0.0))
        for queue, count in waiting.items()
    }
    # With other queues than before, neither what waits nor what was taken compares.
    same = set(before) - {ALL_QUEUES} == set(waiting)
    together = before.get(ALL_QUEUES, Flow()) if same else Flow()
    departed = None if missing.departed else totals.departed
    return {**flows, ALL_QUEUES: look(together, at, sum(waiting.values()), departed)}


def _by_workers(flows: Mapping[str, Flow], waiting: Mapping[str, int], missing: Missing) -> list[tuple[str, Wait]]:
    if missing.departed:
        return [("", Wait(why="; ".join(missing.departed)))]
    if missing.taken:
        return [("", wait(flows[ALL_QUEUES]))]
    return [(queue, wait(flows[queue])) for queue in waiting]


def _name(queue: str, name: str) -> str:
    return queue if name in ("", "0") else f"{queue} (priority {name})"
