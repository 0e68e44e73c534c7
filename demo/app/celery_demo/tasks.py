# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of three priorities which sleep and then say so in the ledger."""

from __future__ import annotations

import time

from celery import Task

from . import ledger
from .app import app


class HighPriorityTask(Task):  # type: ignore[misc]  # celery has no types
    """Runs before everything that waits with a lower number, on Redis and on RabbitMQ."""

    priority = 9


class MediumPriorityTask(Task):  # type: ignore[misc]
    """Runs before the background work."""

    priority = 5


class LowPriorityTask(Task):  # type: ignore[misc]
    """Runs when nothing else waits."""

    priority = 1


def _sleep_and_note(task: Task, duration: float, id: str, sent: float) -> str:
    started = time.time()
    time.sleep(duration)
    ledger.append(
        ledger.Entry(
            id=id,
            task=task.name,
            sent=sent,
            started=started,
            ended=time.time(),
            node=task.request.hostname or "",
            priority=(task.request.delivery_info or {}).get("priority") or 0,
        )
    )
    return id


@app.task(bind=True, base=HighPriorityTask)  # type: ignore[untyped-decorator]
def critical(self: Task, duration: float, id: str, sent: float) -> str:
    """Sleep `duration` seconds, before all others."""
    return _sleep_and_note(self, duration, id, sent)


@app.task(bind=True, base=MediumPriorityTask)  # type: ignore[untyped-decorator]
def work(self: Task, duration: float, id: str, sent: float) -> str:
    """Sleep `duration` seconds."""
    return _sleep_and_note(self, duration, id, sent)


@app.task(bind=True, base=LowPriorityTask)  # type: ignore[untyped-decorator]
def background(self: Task, duration: float, id: str, sent: float) -> str:
    """Sleep `duration` seconds, after all others."""
    return _sleep_and_note(self, duration, id, sent)


BY_PRIORITY: dict[int, Task] = {9: critical, 5: work, 1: background}
