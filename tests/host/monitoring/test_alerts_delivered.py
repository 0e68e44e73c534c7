# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong for real raises exactly the alert that it should, is told, and resolves.

The rules are those of monitoring/alerts.yml; what they wait for is a twelfth of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from monitored_host import Monitored
from told import Told

from muejam_bed.shell import wait_until

pytestmark = pytest.mark.alerts
UNIT = "celery-worker-web@1.service"


@contextmanager
def nothing_but(alert: str, watched: Monitored, told: Told) -> Iterator[None]:
    """Whatever is done within raises this alert and no other, which resolves when it was undone."""
    wait_until(lambda: not watched.firing(), 180, watched.firing)
    told.forget()
    try:
        yield
    finally:
        print(alert, "told:", told.names("firing"), "firing:", watched.firing())
    wait_until(lambda: alert in told.names("resolved"), 240, lambda: (watched.firing(), told.messages))
    assert told.names("firing") == {alert}


def raised(alert: str, watched: Monitored, told: Told, seconds: float = 240) -> None:
    wait_until(lambda: alert in told.names("firing"), seconds, lambda: (watched.firing(), told.names("firing")))


def test_a_broker_that_is_away(watched: Monitored, told: Told) -> None:
    with nothing_but("CeleryBrokerUnreadable", watched, told):
        watched.host.run("systemctl", "stop", "redis-server")
        raised("CeleryBrokerUnreadable", watched, told)
        watched.host.run("systemctl", "start", "redis-server")


def test_a_worker_that_consumes_no_more(watched: Monitored, told: Told) -> None:
    with nothing_but("CeleryWorkerStuck", watched, told):
        watched.control("control", "cancel_consumer", "web")
        watched.send("hold", 0.1, count=3)
        raised("CeleryWorkerStuck", watched, told)
        watched.control("control", "add_consumer", "web")
        wait_until(lambda: watched.value('celery_queue_length{queue="web"}') == 0, 60)


def test_a_fleet_at_its_ceiling(watched: Monitored, told: Told) -> None:
    with nothing_but("CeleryAtCeiling", watched, told):
        watched.send("hold", 3, count=90)
        raised("CeleryAtCeiling", watched, told)
        watched.control("purge", "--force", "--queues=web")


def test_a_task_that_leaks(watched: Monitored, told: Told) -> None:
    watched.wait_for('celery_autoscaler_current_workers{fleet="web"}', 1, 120)
    ratio = "max(celery_worker_memory_bytes / celery_worker_memory_limit_bytes)"
    with nothing_but("CeleryWorkerNearMemoryLimit", watched, told):
        before = -1.0
        while (now := watched.value(ratio) or 0.0) < 0.92:
            assert now != before, f"no more memory than {now:.0%} of the limit"
            watched.send("leak", 6)
            wait_until(lambda at=now: (watched.value(ratio) or 0.0) > at + 0.01, 30, lambda: watched.value(ratio))
            before = now
        raised("CeleryWorkerNearMemoryLimit", watched, told)
        watched.host.run("systemctl", "restart", UNIT)


def test_a_worker_that_is_frozen_is_ended_and_nobody_is_woken(watched: Monitored, told: Told) -> None:
    wait_until(lambda: not watched.firing(), 180, watched.firing)
    told.forget()
    ended = watched.value('celery_workers_ended_total{fleet="web"}')
    assert ended is not None
    pid = watched.host.output("systemctl", "show", "--property=MainPID", "--value", UNIT)
    watched.host.run("kill", "-STOP", pid)
    watched.wait_for('celery_workers_unknown{fleet="web"}', 1)
    watched.send("hold", 0.1, count=3)
    # It may have taken one of them when it was frozen.
    wait_until(lambda: (watched.value('celery_queue_length{queue="web"}') or 0) >= 2, 30)
    # systemd's watchdog ends it, and starts it again.
    watched.wait_for('celery_workers_ended_total{fleet="web"}', ended + 1, 180)
    watched.wait_for('celery_workers{fleet="web", state="consuming"}', 1)
    watched.wait_for('celery_queue_length{queue="web"}', 0)
    watched.wait_for('celery_workers_unknown{fleet="web"}', 0)
    assert watched.host.output("systemctl", "show", "--property=MainPID", "--value", UNIT) != pid
    assert told.names("firing") == set()


def test_an_autoscaler_that_is_gone(watched: Monitored, told: Told) -> None:
    with nothing_but("CeleryAutoscalerGone", watched, told):
        watched.host.run("systemctl", "stop", "celery-autoscaler")
        raised("CeleryAutoscalerGone", watched, told)
        watched.host.run("systemctl", "start", "celery-autoscaler")
