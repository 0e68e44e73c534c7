# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a draining worker has fetched and not begun goes back to the broker."""

from __future__ import annotations

import functools
import itertools
import sys
import time
from typing import Any, Callable

from celery.worker import state as worker_state

from .changes_to_celery import choose_tasks, return_to_front, take_limited, take_scheduled, take_unwritten
from .status import Status, pool_name

GIVE_BACK_FOR = 0.5  # seconds at a time that a draining worker's loop gives tasks back
PLACE = "muejam_celery_place"  # attribute of a request: in which order they came
HOLDER = "muejam_celery_holder"  # the same: who has it for good
POOL, BROKER = "pool", "broker"  # ... which is one of these

SHARED_POOLS = ("threads", "gevent", "eventlet")  # pools whose tasks begin in our process, beside the main loop


class NotBegunError(Exception):
    """Ends the thread's part in a task that goes back to the broker."""


def refusal() -> BaseException:
    """Return what ends a task's thread or greenlet before the task begins, without a word in the log."""
    greenlet = sys.modules.get("greenlet")
    return greenlet.GreenletExit() if greenlet else NotBegunError()


def take(request: Any, holder: str) -> bool:
    """Return whether a request is this holder's: who asks first has it for good. Safe between threads."""
    return bool(request.__dict__.setdefault(HOLDER, holder) == holder)


class GivingBack:
    """Gives tasks back while the worker drains.

    A request is taken once, by the pool or for the broker, so it cannot be both run here and given back. The pools of
    our own process take it when its task begins. Any other pool takes it when it is handed over: it may be in the
    pipe to a child, and whether the child has begun cannot be known, so it is waited for.
    """

    def __init__(self, status: Status) -> None:
        self.status = status
        self.places = itertools.count(1)
        self.kept: list[Any] = []  # strong references: Celery's own sets have weak ones
        self.waiting: list[Any] = []  # taken for the broker, the last one is the next to go
        self.returned = 0
        self.handing_over = 0
        choose_tasks(status.worker, self.hand_over)

    @property
    def waits_for_the_pool(self) -> bool:
        return self.handing_over > 0

    def mark(self, request: Any) -> None:
        """Remember in which order requests came."""
        setattr(request, PLACE, next(self.places))

    def hand_over(self, process_task: Callable[..., Any], request: Any) -> Any:
        """Stand in for Celery's own: give a request to the pool, but not while draining."""
        if self.status.draining:
            self.kept.append(request)
            return None
        if pool_name(self.status.worker.pool) in SHARED_POOLS:
            request.on_accepted = functools.partial(self.begin, request)
        elif not take(request, POOL):
            return None
        self.handing_over += 1
        try:
            return process_task(request)
        finally:
            self.handing_over -= 1

    def begin(self, request: Any, pid: int, time_accepted: float) -> None:
        """Let a task begin, or end its thread; called there, before it is acknowledged early."""
        if self.status.draining or not take(request, POOL):
            self.kept.append(request)
            raise refusal()
        del request.on_accepted
        request.on_accepted(pid, time_accepted)

    def give_back(self, consumer: Any) -> None:
        """Give back what has not begun, for as long as the main loop can do without us. Runs there."""
        try:
            found = list(worker_state.reserved_requests)
        except RuntimeError:
            found = []  # a pool thread changed it meanwhile: at the next look
        for request in take_unwritten(self.status.worker.pool):
            request.__dict__.pop(HOLDER, None)
            found.append(request)
        found += take_scheduled(consumer) + take_limited(consumer)
        while self.kept:
            found.append(self.kept.pop())
        new = [request for request in found if HOLDER not in request.__dict__ and take(request, BROKER)]
        if new:
            # The last one goes first, because each goes to the front.
            self.waiting = sorted({*self.waiting, *new}, key=lambda one: one.__dict__.get(PLACE, 0))
        until = time.monotonic() + GIVE_BACK_FOR
        while self.waiting and time.monotonic() < until:
            request = self.waiting.pop()
            # What came by a connection that is lost goes back by itself.
            if not request.acknowledged and request.message.channel is consumer.task_consumer.channel:
                return_to_front(request.message)
                self.returned += 1
            request.acknowledged = True
            worker_state.task_ready(request)
