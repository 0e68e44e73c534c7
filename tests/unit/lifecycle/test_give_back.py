# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a task while a worker drains."""

from __future__ import annotations

import collections
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency import prefork, thread
from celery.worker import state as worker_state
from celery.worker.request import Request
from kombu.asynchronous import timer as kombu_timer

from muejam_celery_lifecycle import give_back
from muejam_celery_lifecycle.give_back import PLACE, GivingBack, refusal


class Task(Request):
    """A request without a message's content."""

    def __init__(self, number: int, channel: object) -> None:
        self.id = str(number)
        self.requeued: list[int] = []
        self._message = SimpleNamespace(channel=channel, requeue=lambda: channel.requeued.append(number))  # type: ignore[attr-defined]
        setattr(self, PLACE, number)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        self.worker_pid = pid


class Fakes:
    """A worker with a pool, its consumer, and what became of the tasks."""

    def __init__(self, pool: type) -> None:
        self.channel = SimpleNamespace(requeued=[])
        self.pooled: list[Request] = []
        self.draining = False
        self.worker = SimpleNamespace(pool=pool.__new__(pool), _process_task=self.pooled.append)
        self.giving = GivingBack(self)  # type: ignore[arg-type]  # a status has the two that it reads
        self.consumer = SimpleNamespace(
            task_consumer=SimpleNamespace(channel=self.channel),
            timer=SimpleNamespace(schedule=SimpleNamespace(_queue=[])),
            task_buckets={},
        )
        self.tasks = [Task(number, self.channel) for number in range(1, 5)]

    def start(self, task: Request) -> None:
        worker_state.task_reserved(task)
        self.worker._process_task(task)

    def drain(self) -> list[int]:
        self.draining = True
        self.giving.give_back(self.consumer)
        return list(self.channel.requeued)


@pytest.fixture(autouse=True)
def _no_other_requests() -> Any:
    worker_state.reset_state()
    yield
    worker_state.reset_state()


def test_what_a_prefork_pool_was_given_stays() -> None:
    fakes = Fakes(prefork.TaskPool)
    for task in fakes.tasks:
        worker_state.task_reserved(task)
    fakes.worker._process_task(fakes.tasks[0])
    assert fakes.drain() == [4, 3, 2], "the last one first, as each goes to the front"
    assert fakes.pooled == [fakes.tasks[0]]
    assert set(worker_state.reserved_requests) == {fakes.tasks[0]}
    fakes.worker._process_task(fakes.tasks[1])
    assert fakes.pooled == [fakes.tasks[0]], "what is given back does not run here"


def test_what_a_prefork_pool_has_not_written_goes_back() -> None:
    fakes = Fakes(prefork.TaskPool)
    first, second = fakes.tasks[:2]
    discarded: list[str] = []

    def job(task: Task, write_to: object) -> SimpleNamespace:
        return SimpleNamespace(
            _accept_callback=task.on_accepted,
            _accepted=False,
            _write_to=write_to,
            discard=lambda: discarded.append(task.id),
        )

    written, unwritten = job(first, object()), job(second, None)
    fakes.worker.pool._pool = SimpleNamespace(outbound_buffer=collections.deque([written, unwritten]))
    for task in (first, second):
        worker_state.task_reserved(task)
        fakes.worker._process_task(task)
    assert fakes.drain() == [2]
    assert list(fakes.worker.pool._pool.outbound_buffer) == [written]
    assert discarded == ["2"]


def test_a_thread_begins_a_task_or_loses_it() -> None:
    fakes = Fakes(thread.TaskPool)
    for task in fakes.tasks:
        worker_state.task_reserved(task)
        fakes.worker._process_task(task)
    assert fakes.pooled == fakes.tasks
    fakes.tasks[0].on_accepted(42, 0.0)
    assert fakes.tasks[0].worker_pid == 42
    assert fakes.drain() == [4, 3, 2]
    with pytest.raises(type(refusal())):
        fakes.tasks[1].on_accepted(42, 0.0)
    assert fakes.tasks[1].worker_pid is None
    assert fakes.drain() == [4, 3, 2], "once"


def test_what_came_by_a_lost_connection_is_not_given_back_twice() -> None:
    fakes = Fakes(thread.TaskPool)
    worker_state.task_reserved(fakes.tasks[0])
    fakes.consumer.task_consumer.channel = object()
    assert fakes.drain() == []
    assert not worker_state.reserved_requests


def test_many_are_given_back_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has to turn meanwhile; what waits its turn does not run here."""
    fakes = Fakes(thread.TaskPool)
    entries = [SimpleNamespace(entry=kombu_timer.Entry(fakes.start, (task,))) for task in fakes.tasks]
    fakes.consumer.timer.schedule._queue = entries
    fakes.consumer.apply_eta_task = fakes.start
    monkeypatch.setattr(give_back, "GIVE_BACK_FOR", 0.0)
    assert fakes.drain() == []
    assert all(each.entry.canceled for each in entries)
    assert len(fakes.giving.waiting) == 4
    fakes.start(fakes.tasks[3])
    monkeypatch.setattr(give_back, "GIVE_BACK_FOR", 60.0)
    assert fakes.drain() == [4, 3, 2, 1]
    assert (fakes.giving.waiting, fakes.giving.returned, fakes.pooled) == ([], 4, [])
