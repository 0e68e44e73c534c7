# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many tasks and messages a worker has."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from typing import Any

from celery.worker import state as worker_state

from .changes_to_celery import LATER_STARTERS, timer_entries

MAX_QUEUES = 100  # queues that the status file tells of; a worker that consumes from more tells of none
MAX_QUEUE_NAME = 256  # bytes of one queue's name in JSON
TALLY = ".taken"  # end of the name of the file with the counts of messages
NUMBER = struct.Struct("Q")


def active() -> int:
    """Return how many tasks run."""
    return len(worker_state.active_requests)


def open_for_all(path: str) -> int:
    """Open a file anew that we alone write and everybody reads, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)
    return descriptor


class Counts:
    """Tasks. Read by the reporter's thread."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.ended = 0
        self.scheduled_before: int | None = None

    def reserved(self) -> int:
        """Return how many tasks were received that may start at once, or when their rate limit lets them."""
        buckets = getattr(getattr(self.worker, "consumer", None), "task_buckets", {})
        limited = sum(len(bucket.contents) for bucket in list(buckets.values()) if bucket)
        return max(len(worker_state.reserved_requests) - active(), 0) + limited

    def scheduled(self) -> int | None:
        """Return how many tasks were received that wait for their time (ETA), None where the timer does not tell."""
        consumer = getattr(self.worker, "consumer", None)
        try:
            entries = timer_entries(consumer)
        except AttributeError:
            return None
        except RuntimeError:
            # A set that the loop changes at this moment; gevent's timer has one.
            return self.scheduled_before
        starters = [getattr(consumer, name, None) for name in LATER_STARTERS]
        self.scheduled_before = sum(each.entry.fun in starters and not each.entry.canceled for each in entries)
        return self.scheduled_before

    def processed(self) -> int:
        """Return how many tasks were started."""
        return int(worker_state.all_total_count[0])

    def finished(self) -> int:
        """Return how many of the started tasks have ended, however they did; it never falls.

        Celery counts starts only, and not in the same instant in which it calls a task active.
        """
        self.ended = max(self.ended, self.processed() - active())
        return self.ended


class Tally:
    """Messages taken, by queue.

    They are kept in a file as well, written in place with each message: whoever compares them with what waits in the
    queues needs the counts of the same instant. It is a row of native unsigned 64-bit integers: the id of our
    process, then the counts, in the order in which the status file lists the queues.
    """

    def __init__(self, path: str | None, pid: int) -> None:
        self.taken: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.fault: OSError | None = None
        self.descriptor: int | None = None
        if path:
            try:
                self.descriptor = open_for_all(path + TALLY)
            except OSError as error:
                self.fault = error
        self.write(0, pid)

    def begin(self, queue: str) -> None:
        """Count a queue from now on, or go on to."""
        if queue not in self.taken:
            self.taken[queue] = 0
            self.places[queue] = len(self.taken)
            self.write(self.places[queue], 0)

    def add(self, queue: str) -> None:
        self.taken[queue] += 1
        self.write(self.places[queue], self.taken[queue])

    def write(self, place: int, number: int) -> None:
        if self.descriptor is None or place > MAX_QUEUES:
            return
        try:
            os.pwrite(self.descriptor, NUMBER.pack(number), place * NUMBER.size)
        except OSError as error:
            # A count that is not of now is worse than none: the status file has it once a second.
            self.fault = error
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = None

    def for_status(self) -> dict[str, dict[str, int]]:
        """Return the counts by queue, none at all where the queues are too many to tell of."""
        taken = dict(self.taken)
        if len(taken) > MAX_QUEUES or any(len(json.dumps(name)) > MAX_QUEUE_NAME for name in taken):
            return {}
        return {"taken": taken}
