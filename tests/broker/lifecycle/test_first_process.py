# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker as the first process of its container, to which the kernel gives no default actions."""

from __future__ import annotations

from broker_servers import RedisServer
from lifecycle_worker import Workers
from task_sender import sender

PREFORK = ("--pool", "prefork", "--concurrency", "2")


def test_a_term_while_it_imports_ends_the_first_process(workers: Workers) -> None:
    """Celery has no handlers yet, and the kernel would drop the signal."""
    worker = workers.start("memory://", *PREFORK, fault="import", first=True)
    worker.wait(lambda: "importing" in worker.log, 60, "its modules are imported")
    worker.term()
    assert worker.wait_exit(10) == 143
    assert "told to end before the worker has started: ending at once" in worker.log


def test_the_first_process_drains(workers: Workers, redis_server: RedisServer) -> None:
    worker = workers.start_ready(redis_server.url, *PREFORK, first=True)
    assert worker.status()["pid"] == 1
    with sender(redis_server.url) as app:
        app.send_task("work", [1, 3.0])
        worker.wait(lambda: workers.journal("begun") == ["1"], 10, "the task runs")
        worker.term()
        worker.wait_state("draining")
    assert worker.wait_exit(30) == 0
    assert workers.journal() == ["1"]
