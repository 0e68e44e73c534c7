# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that idle while tasks wait are told apart from those that have something to do or nothing to take."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.stuck import StuckWatch
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import WorkerReading

IDLE = WorkerReading("web-1@a", "consuming", life="1:1", active=0, reserved=0, started=7)


def seen(*looks: tuple[float, float | None, WorkerReading]) -> dict[str, float]:
    watch = StuckWatch()
    for at, waiting, worker in looks:
        watch = watch.then(at, waiting, [worker])
    return watch.stuck(looks[-1][0], 60)


def test_an_idle_worker_beside_waiting_tasks_is_stuck_after_the_time() -> None:
    assert seen((0, 5, IDLE), (59, 5, IDLE)) == {}
    assert seen((0, 5, IDLE), (60, 5, IDLE)) == {"web-1@a": 60}


def test_any_sign_of_life_ends_the_suspicion() -> None:
    for lively in (
        replace(IDLE, active=1),
        replace(IDLE, reserved=1),
        replace(IDLE, started=8),
        replace(IDLE, life="2:1", started=7),
        replace(IDLE, phase="draining"),
    ):
        assert seen((0, 5, IDLE), (30, 5, lively), (60, 5, IDLE)) == {}


def test_nothing_is_stuck_while_nothing_waits_or_nobody_knows() -> None:
    for waiting in (0, None):
        assert seen((0, 5, IDLE), (30, waiting, IDLE), (60, 5, IDLE)) == {}


def test_a_worker_of_which_nothing_is_known_is_not_called_stuck() -> None:
    silent = replace(IDLE, active=None, reserved=None, started=None)
    assert seen((0, 5, silent), (60, 5, silent)) == {}
