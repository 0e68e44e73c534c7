# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus can read of the autoscaler: its fleets, their workers and queues, and how it decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.fleet_watch import FleetWatch, Look
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    METRICS,
    OBSERVED,
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    RUNNING,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy, WaitTarget, promised_wait
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    ENDING,
    STARTING,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.redaction import place_of

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ImportError:
    # The caller says what is missing before it asks for anything here.
    CounterMetricFamily = GaugeMetricFamily = None

PHASES = (CONSUMING, STARTING, ENDING, DRAINING, DOWN)


class FleetMetrics:
    """Collects the metrics of an autoscaler at each scrape. What is unknown is absent, and never 0."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Any]:
        """Yield all metric families."""
        watches = list(self._daemon.watches.values())
        # Of several services one tells of the fleets: sums over all of them count each fleet once.
        looks = [(watch, watch.last) for watch in watches if watch.last and self._daemon.leads]
        yield from _queues(looks)
        yield from _workers(looks)
        yield from _each_worker(looks)
        yield from _decisions(looks)
        yield from self._service(watches)

    def _service(self, watches: Iterable[FleetWatch]) -> Iterator[Any]:
        now = self._daemon.monotonic()
        age = gauge("celery_autoscaler_observation_age_seconds", "Seconds since the fleet was last looked at.", "fleet")
        errors = counter("celery_autoscaler_errors", "What was decided and could not be done.", "fleet", "what")
        for watch in watches:
            if watch.last:
                age.add_metric([watch.fleet.name], now - watch.last.monotonic)
            for what in ("scale", "start_again", "restart", "cycle"):
                errors.add_metric([watch.fleet.name, what], watch.errors[what])
        yield age
        yield errors
        interval = gauge("celery_autoscaler_interval_seconds", "Seconds between two looks at a fleet.")
        interval.add_metric([], self._daemon.configuration.interval)
        yield interval
        events = counter("celery_autoscaler_events", "What happened to the autoscaler itself, as in its log.", "event")
        for event, count in sorted(self._daemon.log.counts.items()):
            events.add_metric([event], count)
        yield events
        refused = gauge("celery_autoscaler_reload_failed", "1 while the last configuration given was refused.")
        refused.add_metric([], float(self._daemon.reload_failed))
        yield refused
        leads = gauge("celery_autoscaler_leader", "1 for the one that acts and tells of the fleets, 0 for others.")
        leads.add_metric([], float(self._daemon.leads))
        yield leads


def gauge(name: str, text: str, *labels: str) -> Any:
    """A family of numbers that go up and down."""
    return GaugeMetricFamily(name, text, labels=labels)


def counter(name: str, text: str, *labels: str) -> Any:
    """A family of numbers that only grow."""
    return CounterMetricFamily(name, text, labels=labels)


def _queues(looks: Iterable[tuple[FleetWatch, Look]]) -> Iterator[Any]:
    length = gauge("celery_queue_length", "Tasks that wait in a queue, all priorities together.", "queue", "broker")
    by_priority = gauge(
        "celery_queue_priority_length", "Tasks that wait in a queue, by priority.", "queue", "broker", "priority"
    )
    taken = gauge("celery_tasks_unacknowledged", "Tasks delivered to workers and not acknowledged.", "fleet")
    shown = set()
    for watch, look in looks:
        broker = place_of(watch.fleet.broker_url)
        for queue, waiting in (look.queues.waiting or {}).items():
            # Two fleets may share a queue; it is one queue all the same.
            if (broker, queue) in shown:
                continue
            shown.add((broker, queue))
            length.add_metric([queue, broker], waiting)
            for priority, count in look.queues.by_priority.get(queue, {}).items():
                by_priority.add_metric([queue, broker, priority], count)
        if look.queues.unacknowledged is not None:
            taken.add_metric([watch.fleet.name], look.queues.unacknowledged)
    yield from (length, by_priority, taken)


def _workers(looks: Iterable[tuple[FleetWatch, Look]]) -> Iterator[Any]:
    active = gauge("celery_workers_active", "Workers that run at least one task.", "fleet")
    idle = gauge("celery_workers_idle", "Workers that consume and run no task.", "fleet")
    silent = gauge("celery_workers_unknown", "Workers of which it is not known what they do.", "fleet")
    by_state = gauge(
        "celery_workers",
        "Workers by state: consuming, starting, ending (not told to), draining (told to), down (wanted, not running).",
        "fleet",
        "state",
    )
    stuck = gauge("celery_workers_stuck", "Workers that idle while tasks wait, for too long.", "fleet")
    ended = counter("celery_workers_ended", "Workers that ended without having been told to.", "fleet")
    again = counter("celery_workers_started_again", "Workers that were wanted and down, and started again.", "fleet")
    for watch, look in looks:
        name = watch.fleet.name
        ended.add_metric([name], watch.ended)
        again.add_metric([name], watch.started_again)
        if look.host.workers is None:
            continue
        consuming = [worker for worker in look.workers if worker.phase == CONSUMING]
        active.add_metric([name], sum(1 for worker in consuming if worker.active))
        idle.add_metric([name], sum(1 for worker in consuming if worker.active == 0))
        silent.add_metric([name], sum(1 for worker in consuming if worker.active is None))
        for phase in PHASES:
            by_state.add_metric([name, phase], sum(1 for worker in look.workers if worker.phase == phase))
        stuck.add_metric([name], len(look.stuck))
    yield from (active, idle, silent, by_state, stuck, ended, again)


def _each_worker(looks: Iterable[tuple[FleetWatch, Look]]) -> Iterator[Any]:
    labels = ("fleet", "worker")
    active = gauge("celery_worker_tasks_active", "Tasks that a worker runs.", *labels)
    reserved = gauge("celery_worker_tasks_reserved", "Tasks that a worker has received and not started.", *labels)
    scheduled = gauge("celery_worker_tasks_scheduled", "Tasks that a worker holds until their time comes.", *labels)
    done = counter("celery_worker_tasks_processed", "Tasks that a worker has finished since it started.", *labels)
    cpu = counter("celery_worker_cpu_seconds", "CPU time of a worker and its children.", *labels)
    memory = gauge("celery_worker_memory_bytes", "Memory of a worker and its children.", *labels)
    allowed = gauge("celery_worker_memory_limit_bytes", "Memory that a worker may use, where it has a limit.", *labels)
    for watch, look in looks:
        for worker in look.workers:
            named = [watch.fleet.name, worker.name]
            for family, value in (
                (active, worker.active),
                (reserved, worker.reserved),
                (scheduled, worker.scheduled),
                (done, _finished(worker)),
                (cpu, worker.cpu_seconds),
                (memory, worker.memory),
                (allowed, worker.memory_allowed),
            ):
                if value is not None:
                    family.add_metric(named, value)
    yield from (active, reserved, scheduled, done, cpu, memory, allowed)


def _finished(worker: WorkerReading) -> int | None:
    return None if worker.started is None or worker.active is None else worker.started - worker.active


def _decisions(looks: Iterable[tuple[FleetWatch, Look]]) -> Iterator[Any]:
    wanted = gauge("celery_autoscaler_desired_workers", "Workers that the last decision wants.", "fleet")
    current = gauge("celery_autoscaler_current_workers", "Workers there are, draining ones not among them.", "fleet")
    floor = gauge("celery_autoscaler_min_workers", "The floor in force; of a paused fleet its number.", "fleet")
    ceiling = gauge("celery_autoscaler_max_workers", "The ceiling in force; of a paused fleet its number.", "fleet")
    paused = gauge("celery_autoscaler_paused", "1 while somebody holds the fleet at a number of workers.", "fleet")
    seen = gauge("celery_autoscaler_metric", "What a decision is made on, in the metric's own unit.", "fleet", "metric")
    unknown = gauge("celery_autoscaler_metric_unknown", "1 for a metric that is not known.", "fleet", "metric")
    needed = gauge(
        "celery_autoscaler_metric_needed", "1 for a metric that the fleet's policy decides on.", "fleet", "metric"
    )
    bound = gauge(
        "celery_autoscaler_metric_bound",
        "What is sure of a metric that is not known exactly: it is at_least this, at_most that.",
        "fleet",
        "metric",
        "side",
    )
    blocked = gauge("celery_autoscaler_broker_blocked", "1 while the fleet's broker takes no tasks.", "fleet")
    wait = gauge("celery_task_wait_seconds", "How long the task waits by now that waits longest.", "fleet")
    promised = gauge(
        "celery_autoscaler_promised_wait_seconds",
        "The wait that the policy promises: of its target, else the one above which its rules add workers.",
        "fleet",
    )
    decisions = counter(
        "celery_autoscaler_decisions",
        "Decisions to hold, up, down, or to the bounds; one that was to be carried out and was not does not count.",
        "fleet",
        "action",
    )
    for watch, look in looks:
        name, observation = watch.fleet.name, look.cycle.seen
        if observation.workers is not None:
            current.add_metric([name], observation.workers)
        for metric in OBSERVED:
            value = observation.value(metric)
            unknown.add_metric([name, metric], float(value is None))
            if value is not None:
                seen.add_metric([name, metric], value)
        for metric, bounds in observation.bounds.items():
            for side, number in (("at_least", bounds.at_least), ("at_most", bounds.at_most)):
                if number is not None:
                    bound.add_metric([name, metric, side], number)
        if look.broker_told:
            blocked.add_metric([name], float(bool(observation.blocked)))
        waited = observation.value(WAIT_TIME)
        if waited is not None:
            wait.add_metric([name], waited)
        policy = watch.fleet.policy
        if policy is None:
            continue
        limits = policy.limits.narrowed(policy.schedule.in_force(observation.at))
        # In mode observe nobody decides, and the policy holds as far as it goes.
        low, high = look.cycle.floor, look.cycle.ceiling
        floor.add_metric([name], limits[0] if low is None else low)
        ceiling.add_metric([name], limits[1] if high is None else high)
        paused.add_metric([name], float(look.cycle.pause is not None))
        for metric in _decided_on(policy):
            needed.add_metric([name, metric], 1.0)
        promise = promised_wait(policy)
        if promise is not None:
            promised.add_metric([name], promise)
        if look.wanted is not None:
            wanted.add_metric([name], look.wanted)
        for action in Action:
            decisions.add_metric([name, action.value], watch.decisions[action.value])
    yield from (wanted, current, floor, ceiling, paused, seen, unknown, needed, bound, blocked, wait, promised)
    yield decisions


def _decided_on(policy: Policy) -> list[str]:
    """Return the observed metrics without which the policy cannot decide."""
    if isinstance(policy.rules, WaitTarget):
        return [QUEUE_DEPTH, RUNNING, PROCESSED_TOTAL]
    conditions = policy.rules.up.conditions + policy.rules.down.conditions
    return sorted({METRICS[condition.metric].growth_of or condition.metric for condition in conditions})
