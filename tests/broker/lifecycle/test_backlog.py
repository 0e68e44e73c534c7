# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backlog on both brokers, acknowledged early or late: what waits, runs and is reserved; ETA tasks apart."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest
from broker_servers import RedisServer
from lifecycle_worker import Worker, Workers
from task_sender import sender

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.broker_link import BrokerLink
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory, observe
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import read_status

LONG = 600.0
PREFORK = ("--pool", "prefork", "--concurrency", "2")


def look(worker: Worker, link: BrokerLink) -> Observation:
    status = read_status(str(worker.status_file))
    told = WorkerReading(
        worker.node,
        CONSUMING,
        str(status.pid),
        status.active,
        status.reserved,
        status.started,
        scheduled=status.scheduled,
    )
    seen, _memory = observe(Memory(), time.time(), [FleetReading("test", time.time(), (told,))], link.read(["celery"]))
    return seen


@pytest.mark.parametrize("broker_url", ["redis", "rabbitmq"], indirect=True)
@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_backlog_means_the_same_everywhere(workers: Workers, broker_url: str, late: bool) -> None:
    settings: dict[str, Any] = {
        "worker_prefetch_multiplier": 2,
        "task_acks_late": late,
        "task_annotations": {"limited": {"rate_limit": "1/h"}},
    }
    worker = workers.start_ready(broker_url, *PREFORK, settings=settings)
    with sender(broker_url) as app, closing(BrokerLink(broker_url, {}, None, 5.0)) as link:
        for number in range(3):
            app.send_task("work", [number], countdown=86400)
        worker.wait(lambda: look(worker, link).value("scheduled") == 3, 20, "three tasks of tomorrow")
        assert look(worker, link).value("backlog") == 0

        # The first runs; the others are held until their rate limit lets them.
        for number in range(3):
            app.send_task("limited", [number])
        worker.wait(lambda: worker.status()["finished"] == 1, 20, "one has run")
        worker.wait(lambda: look(worker, link).value("backlog") == 2, 20, "two are to be done")

        # Two run; with early acknowledgement two more are reserved, and the rest waits.
        for number in range(10, 20):
            app.send_task("work", [number, LONG])
        wanted = {"running": 2, "scheduled": 3, "queue_depth": 8 if late else 6, "backlog": 12}

        def seen() -> bool:
            now = look(worker, link)
            return {name: now.value(name) for name in wanted} == wanted

        worker.wait(seen, 20, str(wanted))


@pytest.mark.parametrize("pool", ["gevent", "threads", "solo"])
def test_other_pools_tell_of_scheduled_tasks_too(workers: Workers, redis_server: RedisServer, pool: str) -> None:
    worker = workers.start_ready(redis_server.url, "--pool", pool, "--concurrency", "2")
    with sender(redis_server.url) as app, closing(BrokerLink(redis_server.url, {}, None, 5.0)) as link:
        for number in range(3):
            app.send_task("work", [number], countdown=86400)
        worker.wait(lambda: look(worker, link).value("scheduled") == 3, 20, "three tasks of tomorrow")
        assert look(worker, link).value("backlog") == 0
        app.send_task("work", [4], countdown=1)
        worker.wait(lambda: worker.status()["finished"] == 1, 20, "it has run when its time had come")
        worker.wait(lambda: look(worker, link).value("scheduled") == 3, 20, "three are left")
