# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add up Celery's events. No I/O and no clock of its own; whatever comes, nothing is raised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import fleet_of_node
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.counts import FleetCounts
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.fields import seconds_of, text_of
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.labels import Label, Labels
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.nodes import FleetOf, Node, Nodes
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.recent import Recent
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import FleetEvents, TaskCounts

NAMES_MAX = 200
"""Task names, and queues, that are told apart in a fleet."""

TASKS_MAX = 100_000
"""Tasks between their sending and their end whose names are remembered."""

RUNNING_MAX = 20_000
"""Running tasks whose start is remembered."""

LONGEST_RUN = 10 * 365 * 86_400.0
"""Seconds beyond which a run time is taken for nonsense."""

TIMEOUTS = frozenset(("TimeLimitExceeded", "SoftTimeLimitExceeded"))
WRAPPED = "ExceptionWithTraceback"
"""What Celery calls the exception of a hard time limit; its traceback ends with the real one."""

UNKNOWN: Label = ("", "")

Event = dict[str, Any]


class Tally:
    """Counts of the watched fleets, by task and queue and by worker.

    Only the first event of a task has its name, and only some its queue, so both are
    remembered until the task ends.

    :ivar events: events taken, of whomever.
    :ivar foreign: events of workers of no watched fleet, which are not counted further.
    :ivar garbage: what was no event that could be understood.
    :param fleets: queues that each fleet consumes from.
    :param limit: task names, and queues, that are told apart in a fleet.
    :param fleet_of: tells which fleet the worker of a name belongs to; by default those of all hosts count.
    """

    def __init__(
        self, fleets: Mapping[str, Collection[str]], limit: int = NAMES_MAX, fleet_of: FleetOf = fleet_of_node
    ) -> None:
        self.events = self.foreign = self.garbage = 0
        self._limit = limit
        self._fleets: dict[str, FleetCounts] = {}
        self._nodes = Nodes(self._fleets.get, fleet_of)
        self._labels = Labels(10 * limit)
        # The hash of a task's id takes a third of the memory of the id, however long somebody makes that. Should two
        # ever meet, one task is counted under the other's name.
        self._label_of: Recent[Label] = Recent(TASKS_MAX)
        self._begun: Recent[float] = Recent(RUNNING_MAX)
        self._has_failed: Recent[bool] = Recent(RUNNING_MAX)
        self._worker_events: Mapping[str, Callable[[Node, Event, float], None]] = {
            "worker-online": Node.beat,
            "worker-heartbeat": Node.beat,
            "worker-offline": lambda node, _event, at: node.leave(at),
        }
        self._task_events: Mapping[str, Callable[[Node, Event, int], None]] = {
            "task-received": self._received,
            "task-started": self._started,
            "task-succeeded": self._succeeded,
            "task-failed": self._failed,
            "task-retried": self._retried,
            "task-revoked": self._revoked,
            "task-rejected": self._rejected,
            "task-cancelled": self._cancelled,
        }
        self.watch(fleets)

    def watch(self, fleets: Mapping[str, Collection[str]]) -> None:
        """Watch these fleets from now on; those watched before keep their counts."""
        for name, queues in fleets.items():
            if name in self._fleets:
                self._fleets[name].take_from(queues)
            else:
                self._fleets[name] = FleetCounts(name, queues, self._limit)
        for name in self._fleets.keys() - fleets.keys():
            del self._fleets[name]
        self._nodes.forget(float("-inf"))

    def take(self, body: object, at: float) -> None:
        """Take what one message brought: an event, or a list of them.

        :param at: when it came, in seconds of a clock that cannot be set.
        """
        for event in body if isinstance(body, list) else (body,):
            self.events += 1
            try:
                self._take(event, at)
            except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
                self.garbage += 1

    def fleets(self, at: float) -> dict[str, FleetEvents]:
        """Return what was heard up to the instant C(at)."""
        self._nodes.forget(at)
        return {name: fleet.heard(self._nodes.workers(fleet, at)) for name, fleet in self._fleets.items()}

    def _take(self, event: Any, at: float) -> None:
        kind = event["type"]
        if kind == "task-sent":
            self._sent(event)
            return
        node = self._nodes.get(event["hostname"], at)
        if node is None:
            self.foreign += 1
        elif kind in self._task_events:
            self._task_events[kind](node, event, _key(event["uuid"]))
        elif kind in self._worker_events:
            self._worker_events[kind](node, event, at)

    # What tells the name of a task.

    def _sent(self, event: Event) -> None:
        # From the client that sent it: it tells no fleet, but of Celery's own events it alone has the queue. A worker
        # may be faster than it; what was counted until then stays without a queue.
        self._label_of.put(_key(event["uuid"]), self._labels.of(text_of(event["name"]), text_of(event["queue"])))

    def _received(self, node: Node, event: Event, key: int) -> None:
        queue = event.get("queue")
        if not queue:
            known = self._label_of.get(key)
            queue = known[1] if known else ""
        label = self._labels.of(text_of(event["name"]), text_of(queue))
        self._label_of.put(key, label)
        node.worker.sends_task_events = True
        node.fleet.series(label).received += 1

    def _label(self, event: Event, known: Label | None) -> Label:
        if known is not None:
            return known
        name, queue = event.get("name"), event.get("queue")
        return self._labels.of(text_of(name or ""), text_of(queue or "")) if name or queue else UNKNOWN

    # What happens to it.

    def _started(self, node: Node, event: Event, key: int) -> None:
        node.fleet.series(self._label(event, self._label_of.get(key))).started += 1
        node.saw_start()
        at = event.get("timestamp")
        if isinstance(at, float):
            self._begun.put(key, at)

    def _succeeded(self, node: Node, event: Event, key: int) -> None:
        series = node.fleet.series(self._label(event, self._label_of.pop(key)))
        series.succeeded += 1
        begun = self._begun.pop(key)
        runtime = seconds_of(event.get("runtime"), LONGEST_RUN)
        if runtime is None:
            node.saw_end(_run_time(begun, event))
        else:
            series.took(runtime)
            node.saw_end(runtime)

    # A task that failed may be rejected after that, and one that is retried comes again: they keep their names.

    def _failed(self, node: Node, event: Event, key: int) -> None:
        begun = self._begun.pop(key)
        if begun is None and self._has_failed.get(key):
            # Celery tells of a hard time limit twice.
            return
        self._has_failed.put(key, True)
        series = self._ended(node, event, key, begun)
        series.failed += 1
        series.timeouts += _class_of_exception(event) in TIMEOUTS

    def _retried(self, node: Node, event: Event, key: int) -> None:
        self._ended(node, event, key, self._begun.pop(key)).retried += 1

    def _ended(self, node: Node, event: Event, key: int, begun: float | None) -> TaskCounts:
        node.saw_end(_run_time(begun, event))
        return node.fleet.series(self._label(event, self._label_of.get(key)))

    # These end a run only where there was one.

    def _revoked(self, node: Node, event: Event, key: int) -> None:
        self._cancelled(node, event, key)
        node.fleet.series(self._label(event, self._label_of.get(key))).revoked += 1

    def _rejected(self, node: Node, event: Event, key: int) -> None:
        self._cancelled(node, event, key)
        node.fleet.series(self._label(event, self._label_of.get(key))).rejected += 1

    def _cancelled(self, node: Node, event: Event, key: int) -> None:
        begun = self._begun.pop(key)
        if begun is not None:
            node.saw_end(_run_time(begun, event))


def _key(uuid: Any) -> int:
    return hash(text_of(uuid))


def _class_of_exception(event: Event) -> str:
    """Return the name of an exception's class, without its package."""
    exception, traceback = event.get("exception"), event.get("traceback")
    name = exception[:200].partition("(")[0] if isinstance(exception, str) else ""
    if name == WRAPPED and isinstance(traceback, str):
        name = traceback.rstrip()[-1000:].rpartition("\n")[2].partition(":")[0]
    return name.rpartition(".")[2]


def _run_time(begun: float | None, event: Event) -> float | None:
    """Return the seconds between the start and this event, both by the worker's clock, which may have been set."""
    ended = event.get("timestamp")
    if begun is None or not isinstance(ended, float):
        return None
    return seconds_of(ended - begun, LONGEST_RUN)
