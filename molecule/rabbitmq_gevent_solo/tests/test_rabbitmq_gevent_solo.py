# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gevent and the solo fleet as deployed: ready and watched, in the pool and with the settings asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from probed import Fleet, at_once


@pytest.mark.parametrize("name", ["io", "single"])
def test_a_worker_is_ready_and_watched(fleet: Callable[[str], Fleet], name: str) -> None:
    unit = fleet(name).show(1, "Type", "ActiveState", "WatchdogUSec")
    assert unit["Type"] == "notify"
    assert unit["ActiveState"] == "active"
    assert unit["WatchdogUSec"] not in ("0", "infinity")
    status = fleet(name).status(1)
    assert status["state"] == "consuming"
    assert status["pid"] == fleet(name).main_pid(1)
    assert status["age"] < 5


def test_a_hundred_greenlets_of_one_process_take_tasks(fleet: Callable[[str], Fleet]) -> None:
    answers = fleet("io").look("io", count=100, seconds=12.0)
    assert {one["pid"] for one in answers} == {fleet("io").main_pid(1)}
    assert all(one["in_greenlet"] for one in answers)
    assert at_once(answers) == 100


def test_a_fleet_takes_from_each_of_its_queues(fleet: Callable[[str], Fleet]) -> None:
    queues = {queue["name"] for queue in fleet("io").inspect("active_queues", 1)}
    assert queues == {"io", "mail"}
    assert fleet("io").look("mail")[0]["node"] == fleet("io").node(1)


def test_a_solo_worker_does_one_task_at_a_time_in_its_own_thread(fleet: Callable[[str], Fleet]) -> None:
    answers = fleet("single").look("single", count=4, seconds=0.25)
    assert {one["pid"] for one in answers} == {fleet("single").main_pid(1)}
    assert all(one["in_main_thread"] and not one["in_greenlet"] for one in answers)
    assert at_once(answers) == 1


def test_settings_are_in_force(fleet: Callable[[str], Fleet]) -> None:
    io = fleet("io").inspect("stats", 1)
    assert io["pool"]["implementation"].endswith("gevent:TaskPool")
    assert io["prefetch_count"] == 200
    single = fleet("single").inspect("stats", 1)
    assert single["pool"]["implementation"].endswith("solo:TaskPool")
    assert single["prefetch_count"] == 1
