# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus can read of tasks: how many ended and how, how long they ran, and what was not heard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import counter, gauge
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.streams import Streams
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import BUCKETS, TaskCounts

try:
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString
except ImportError:
    # The caller says what is missing before it asks for anything here.
    HistogramMetricFamily = floatToGoString = None

_LABELS = ("fleet", "task", "queue")


class TaskMetrics:
    """Collects what the event streams have told, at each scrape."""

    def __init__(self, daemon: Daemon, streams: Streams) -> None:
        self._daemon = daemon
        self._streams = streams

    def collect(self) -> Iterator[Any]:
        """Yield all metric families."""
        yield from self._tasks()
        yield from self._health()

    def _tasks(self) -> Iterator[Any]:
        total = counter("celery_tasks", "Runs of tasks that ended: succeeded, failed and retried ones.", *_LABELS)
        failed = counter(
            "celery_tasks_failed", "Runs that ended with an exception, exceeded time limits among them.", *_LABELS
        )
        others = {
            "started": counter("celery_tasks_started", "Runs that began.", *_LABELS),
            "succeeded": counter("celery_tasks_succeeded", "Runs that returned.", *_LABELS),
            "retried": counter("celery_tasks_retried", "Runs that asked to be run again later.", *_LABELS),
            "timeouts": counter("celery_tasks_timed_out", "Runs that failed by their time limit.", *_LABELS),
            "revoked": counter("celery_tasks_revoked", "Tasks that were revoked.", *_LABELS),
            "rejected": counter("celery_tasks_rejected", "Tasks that a worker rejected.", *_LABELS),
            "received": counter("celery_tasks_received", "Tasks that workers took from their queue.", *_LABELS),
        }
        duration = HistogramMetricFamily(
            "celery_task_duration_seconds", "How long runs that returned took.", labels=_LABELS
        )
        missed = counter("celery_task_events_missed", "Runs that workers counted and no event told of.", "fleet")
        for name, watch in list(self._daemon.watches.items()) if self._daemon.leads else ():
            heard = self._streams.events(name)
            if watch.fleet.task_events:
                missed.add_metric([name], heard.missed)
            for counts in heard.tasks:
                labels = [name, counts.task, counts.queue]
                # With the same labels and from the first event on, so that the one divided by the other is never empty.
                total.add_metric(labels, counts.succeeded + counts.failed + counts.retried)
                failed.add_metric(labels, counts.failed)
                for what, family in others.items():
                    family.add_metric(labels, getattr(counts, what))
                duration.add_metric(labels, _buckets(counts), counts.duration_sum)
        yield from (total, failed, *others.values(), duration, missed)

    def _health(self) -> Iterator[Any]:
        connected = gauge("celery_autoscaler_events_connected", "1 while the broker's events are heard.", "broker")
        gaps = counter("celery_autoscaler_event_gaps", "How often the event stream was lost.", "broker")
        seconds = counter("celery_autoscaler_event_gap_seconds", "Seconds in which no event could be heard.", "broker")
        events = counter("celery_autoscaler_events_heard", "Events heard.", "broker")
        garbage = counter("celery_autoscaler_events_not_understood", "Messages that were no event.", "broker")
        shown = set()
        for broker, health in self._streams.health():
            # One broker with two logins is one to a reader, and a series may be there once only.
            if broker in shown:
                continue
            shown.add(broker)
            connected.add_metric([broker], float(health.connected))
            gaps.add_metric([broker], health.gaps)
            seconds.add_metric([broker], health.gap_seconds)
            events.add_metric([broker], health.events)
            garbage.add_metric([broker], health.garbage)
        yield from (connected, gaps, seconds, events, garbage)


def _buckets(counts: TaskCounts) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(counts.durations))))
