# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an observation of what was read of a fleet's workers and queues. Pure; what must be remembered is passed along.

Unknown is never zero: what cannot be told has no value in the observation, and a reason instead. One host that cannot
be read leaves the fleet's workers uncounted, one worker that does not tell leaves its tasks uncounted, and so the
fleet's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import INSTANT, OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BACKLOG,
    CONCURRENCY,
    CPU,
    MEMORY,
    PROCESSED_TOTAL,
    QUEUE_DEPTH,
    RULE_METRICS,
    RUNNING,
    RUNTIME_TOTAL,
    SCHEDULED,
    WAIT_TIME,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    ENDING,
    STARTING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.backlog import backlog, scheduled
from ansible_collections.muejam.celery.plugins.module_utils.observe.down import Down, is_down, watch
from ansible_collections.muejam.celery.plugins.module_utils.observe.usage import cpu_share, memory_share
from ansible_collections.muejam.celery.plugins.module_utils.observe.waiting import Waiting, look_at_queues
from ansible_collections.muejam.celery.plugins.module_utils.observe.worker_totals import Life, Totals, count

Heartbeats = Mapping[str, "tuple[int | None, int | None]"]
"""What workers said of themselves in events, by node name: tasks that run, tasks started."""


@dataclass(frozen=True)
class Memory(OnAClock):
    """What is remembered from one observation to the next.

    :ivar totals: counts of all workers that ever were.
    :ivar waiting: what came into the queues and what left them.
    :ivar runtime: seconds for which tasks have run, all together.
    :ivar running: tasks that ran when that was last known.
    :ivar running_at: when that was, in seconds since the epoch.
    :ivar down: workers that are or were down, by name.
    """

    totals: Totals = field(default_factory=Totals)
    waiting: Waiting = field(default_factory=Waiting)
    runtime: float = 0.0
    running: float | None = None
    running_at: float = field(default=0.0, metadata=INSTANT)
    down: Mapping[str, Down] = field(default_factory=dict)


def observe(
    memory: Memory,
    at: float,
    hosts: Sequence[FleetReading],
    queues: QueuesReading,
    heartbeats: Heartbeats | None = None,
    runtime: float | None = None,
) -> tuple[Observation, Memory]:
    """Return what is seen of the fleet, and what to remember of it.

    :param at: seconds since the epoch.
    :param hosts: all hosts of the fleet.
    :param heartbeats: of workers that keep no status file.
    :param runtime: summed run time of finished tasks in seconds, where somebody hears of each of them. Without it,
        the time for which tasks were seen to run is taken, which includes those that still do.
    """
    memory = replace(memory, down=watch(memory.down, at, hosts))
    hosts = [_with_heartbeats(host, heartbeats) for host in hosts]
    before = memory.totals.lives
    totals, missing = count(memory.totals, at, hosts)
    running, no_running = _running(before, hosts)
    memory = _ran(replace(memory, totals=totals), at, running)
    measured = runtime if runtime is not None else None if running is None else memory.runtime
    depth, no_depth = _depth(queues)
    load = backlog(hosts, queues, depth, no_depth or no_running, running)
    waited, counted_by, waiting = look_at_queues(memory.waiting, queues, totals, missing)
    memory = replace(memory, waiting=waiting)
    values = {
        QUEUE_DEPTH: (depth, no_depth),
        BACKLOG: (load.value, load.why),
        WAIT_TIME: (waited.seconds, "" if waited.exact else waited.why),
        CPU: cpu_share(before, hosts),
        MEMORY: memory_share(hosts),
        PROCESSED_TOTAL: (None if missing.finished else totals.finished, "; ".join(missing.finished)),
        RUNNING: (running, no_running),
        RUNTIME_TOTAL: (measured, no_running),
        SCHEDULED: scheduled(hosts),
        CONCURRENCY: _concurrency(hosts),
    }
    workers = [worker for host in hosts for worker in host.workers or ()]
    live = [_live(host) for host in hosts]
    unread = [host.unread for host in hosts if host.unread]
    unknown = {name: why for name, (value, why) in values.items() if value is None}
    bounds = {} if load.bounds is None else {BACKLOG: load.bounds}
    if waited.seconds is not None and not waited.exact:
        bounds[WAIT_TIME] = Bounds(waited.at_least, waited.at_most, waited.why)
    observation = Observation(
        at=at,
        workers=None if unread else sum(count for count, _starting in live),
        metrics={name: value for name, (value, _why) in values.items() if value is not None},
        starting=sum(starting for _count, starting in live),
        draining=sum(worker.phase == DRAINING for worker in workers),
        unknown={**unknown, "workers": "; ".join(unread)} if unread else unknown,
        blocked=queues.blocked,
        bounds=_unsure_above(bounds, values, _silent(workers)),
        down={worker.name: worker.state for worker in workers if is_down(worker)},
        sources={WAIT_TIME: counted_by} if counted_by else {},
    )
    return observation, memory


def _live(host: FleetReading) -> tuple[int, int]:
    """Return how many workers a place has, and how many of them do not consume yet.

    Where the platform itself keeps the number, that is how many there are: those that it has yet to make are on their
    way up, and one that is there until another one is gone is none more.
    """
    live = [worker.phase for worker in host.workers or () if worker.phase != DRAINING and not is_down(worker)]
    starting = sum(phase in (STARTING, ENDING, DOWN) for phase in live)
    if host.wanted_workers is None:
        return len(live), starting
    missing = max(host.wanted_workers - len(live), 0)
    return host.wanted_workers, min(starting + missing, host.wanted_workers)


def _silent(workers: Sequence[WorkerReading]) -> str:
    """Return which workers do not tell what they do, and why; empty where all do."""
    return "; ".join(
        f"{worker.name}: {worker.why or 'it does not tell what it does'}"
        for worker in workers
        if worker.phase == CONSUMING and worker.silent and worker.active is None
    )


def _unsure_above(
    bounds: Mapping[str, Bounds], values: Mapping[str, tuple[float | None, str]], silent: str
) -> dict[str, Bounds]:
    """Return the bounds of metrics where some workers are C(silent).

    What such a worker holds may come back at any time, and what it does is not known. So every metric may be higher
    than it looks: the fleet may grow on it, and does not shrink.
    """
    if not silent:
        return dict(bounds)
    unsure = dict(bounds)
    for metric in RULE_METRICS:
        value, _why = values.get(metric, (None, ""))
        if value is not None:
            before = bounds.get(metric, Bounds(value, None, ""))
            unsure[metric] = Bounds(before.at_least, None, "; ".join(filter(None, (silent, before.why))))
    return unsure


def _with_heartbeats(host: FleetReading, heartbeats: Heartbeats | None) -> FleetReading:
    """Fill in what workers without a status file said of themselves, and note those that said nothing.

    :param heartbeats: None where nobody listens to them.
    """
    if host.workers is None or heartbeats is None:
        return host
    workers = []
    for worker in host.workers:
        active, started = heartbeats.get(worker.name, (None, None))
        if worker.phase in (CONSUMING, ENDING, DRAINING) and worker.started is None:
            worker = replace(worker, active=active, started=started, silent=worker.silent or active is None)
        workers.append(worker)
    return replace(host, workers=tuple(workers))


def _running(before: Mapping[str, Life], hosts: Sequence[FleetReading]) -> tuple[float | None, str]:
    """Return how many tasks run, or why that is not known."""
    running = 0.0
    for host in hosts:
        if host.workers is None:
            return None, host.unread
        for worker in host.workers:
            if worker.phase not in (CONSUMING, ENDING, DRAINING):
                continue
            last = before.get(worker.name)
            if worker.active is not None:
                running += worker.active
            elif worker.phase == CONSUMING or (worker.phase == DRAINING and (not last or last.life != worker.life)):
                return None, f"{worker.name}: {worker.why or 'it does not tell what it runs'}"
            # else it ends, with whatever it ran; or it drains, and its status file went when its tasks were done.
    return running, ""


def _ran(memory: Memory, at: float, running: float | None) -> Memory:
    """Add the time for which tasks have run since that was last known."""
    if running is None:
        return memory
    seconds = 0.0 if memory.running is None else max(at - memory.running_at, 0.0)
    ran = (running + (memory.running or 0.0)) / 2 * seconds
    return replace(memory, runtime=memory.runtime + ran, running=running, running_at=at)


def _concurrency(hosts: Sequence[FleetReading]) -> tuple[float | None, str]:
    """Return how many tasks a worker runs at once on average, or why that is not known."""
    workers = [worker for host in hosts for worker in host.workers or () if worker.phase == CONSUMING]
    concurrencies = [worker.concurrency for worker in workers if worker.concurrency is not None]
    if concurrencies:
        return sum(concurrencies) / len(concurrencies), ""
    return None, "no worker tells how many tasks it runs at once" if workers else "no worker consumes"


def _depth(queues: QueuesReading) -> tuple[float | None, str]:
    if queues.waiting is None:
        return None, queues.problem or "the broker could not be read"
    return float(sum(queues.waiting.values())), ""
