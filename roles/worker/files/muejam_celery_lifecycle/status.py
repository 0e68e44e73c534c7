# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one worker is at, and how the status file, systemd and probes tell it."""

from __future__ import annotations

import os
import time
from typing import Any, Mapping

from .counts import Counts, Tally, active

LAST_STEPS_WITHIN = 30.0  # seconds that Celery's own shutdown may take after a drain, when nothing runs any more


def pool_name(pool: Any) -> str:
    """Return prefork, threads, solo, gevent ... for a pool, its class, or its name."""
    if not isinstance(pool, str):
        pool = (pool if isinstance(pool, type) else type(pool)).__module__
    name = str(pool).partition(":")[0].rpartition(".")[2]
    return "threads" if name == "thread" else name


class Status:
    """Set in the worker's main loop and its signal handlers, read by the reporter's thread and by all of our parts."""

    def __init__(self, worker: Any, environ: Mapping[str, str]) -> None:
        self.worker = worker
        self.pid = os.getpid()
        self.config = environ.get("CELERY_LIFECYCLE_CONFIG", "")
        self.began = time.monotonic()
        self.beat = self.began  # when the event loop was last known to turn
        self.attached = False  # a connection is up, so the event loop must turn
        self.up = False  # ... and has turned since
        self.consuming = False
        self.withdrawn = False  # consumers were cancelled on purpose
        self.ready = False  # it has consumed
        self.draining = False  # it was asked to
        self.drained_at: float | None = None
        self.stopping = False  # Celery's own shutdown has begun
        self.queues: tuple[str, ...] = ()
        self.counts = Counts(worker)
        self.tally = Tally(environ.get("CELERY_LIFECYCLE_STATUS_FILE"), self.pid)

    def is_here(self) -> bool:
        """Return whether this process is the worker itself, and not one of its pool."""
        return os.getpid() == self.pid

    def look(self, consumer: Any) -> bool:
        """Note in the main loop whether it consumes; return whether that is news."""
        task_consumer = consumer.task_consumer
        queues = tuple(sorted(queue.name for queue in task_consumer.queues)) if task_consumer else ()
        before = (self.up, self.consuming, self.withdrawn, self.queues)
        self.up, self.queues = True, queues
        self.consuming = bool(queues) and all(task_consumer.consuming_from(name) for name in queues)
        self.withdrawn = task_consumer is not None and not queues
        self.ready = self.ready or self.consuming
        return before != (self.up, self.consuming, self.withdrawn, self.queues)

    def pool(self) -> str:
        return pool_name(getattr(self.worker, "pool", None) or self.worker.pool_cls)

    def proven_at(self, now: float) -> float:
        """Return when the worker was last known to be alive, in seconds of the monotonic clock.

        Without a connection the event loop legitimately stands still (Celery sleeps and retries in it), as it does
        in a task of the solo pool; a shutdown has its own time limit.
        """
        if self.stopping or not self.attached or (self.pool() == "solo" and active()):
            self.beat = max(self.beat, now)
        return self.beat

    def is_overdue(self, now: float) -> bool:
        """Return whether Celery's shutdown hangs although the drain is over."""
        if self.drained_at is None or active():
            return False
        soft = getattr(self.worker.app.conf, "worker_soft_shutdown_timeout", None) or 0.0
        return bool(now - self.drained_at > LAST_STEPS_WITHIN + soft)

    def state(self) -> str:
        if self.draining or self.stopping or (self.up and self.withdrawn):
            return "draining"
        if self.up and self.consuming:
            return "consuming"
        return "reconnecting" if self.ready else "starting"

    def snapshot(self, blocked: bool) -> dict[str, Any]:
        """Return the status file's content, but for the times. `blocked`: the broker takes no messages."""
        worker = self.worker
        return {
            "version": 1,
            "node": worker.hostname,
            "pid": self.pid,
            "state": self.state(),
            "active": active(),
            "reserved": self.counts.reserved(),
            "scheduled": self.counts.scheduled(),
            "processed": self.counts.processed(),
            "finished": self.counts.finished(),
            **self.tally.for_status(),
            "pool": self.pool(),
            "concurrency": getattr(getattr(worker, "pool", None), "num_processes", None) or worker.concurrency,
            "config": self.config,
            "blocked": blocked,
        }

    def document(self, snapshot: Mapping[str, Any], proven_at: float) -> dict[str, Any]:
        """Return a snapshot with its times: the status file's content."""
        # The age of the file is the age of the last proof of life, not of the last run of a thread.
        age = max(time.monotonic() - proven_at, 0.0)
        return dict(snapshot, monotonic=proven_at, at=time.time() - age, written=time.monotonic())

    def describe(self, snapshot: Mapping[str, Any]) -> str:
        """Return one line for people, as `systemctl status` shows it."""
        text = self.describe_state(snapshot)
        return text + "; the broker blocks what workers publish" if snapshot["blocked"] else text

    def describe_state(self, snapshot: Mapping[str, Any]) -> str:
        state = "stopping" if self.stopping else snapshot["state"]
        if state == "consuming":
            names = list(self.queues[:5])
            if len(self.queues) > 5:
                names.append(f"and {len(self.queues) - 5} more")
            return f"consuming {','.join(names)}: {snapshot['active']} running, {snapshot['processed']} done"
        if state == "starting":
            return "starting: connecting to the broker"
        if state == "reconnecting" and self.attached:
            return f"reconnecting: connected, but not consuming; {snapshot['active']} running"
        return f"{state}: {snapshot['active']} running, {snapshot['reserved']} reserved"
