# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prefork fleets as deployed: ready and watched, in the pool and with the settings asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from muejam_bed.shell import wait_until
from probed import Fleet, at_once


@pytest.mark.parametrize(("name", "number"), [("web", 1), ("web", 2), ("bulk", 1)])
def test_a_worker_is_ready_and_watched(fleet: Callable[[str], Fleet], name: str, number: int) -> None:
    unit = fleet(name).show(number, "Type", "ActiveState", "NotifyAccess", "WatchdogUSec", "KillMode", "StatusText")
    assert unit["Type"] == "notify"
    assert unit["ActiveState"] == "active"
    assert unit["NotifyAccess"] == "main"
    assert unit["WatchdogUSec"] not in ("0", "infinity")
    assert unit["KillMode"] == "mixed"
    assert unit["StatusText"]
    status = fleet(name).status(number)
    assert status["state"] == "consuming"
    assert status["pid"] == fleet(name).main_pid(number)
    assert status["age"] < 5


def test_the_wanted_workers_come_back_after_a_reboot(fleet: Callable[[str], Fleet]) -> None:
    assert fleet("web").enabled() == fleet("web").units() == [f"celery-worker-web@{n}.service" for n in (1, 2)]
    assert fleet("bulk").enabled() == fleet("bulk").units() == ["celery-worker-bulk@1.service"]


def test_limits_reach_systemd(fleet: Callable[[str], Fleet]) -> None:
    assert fleet("web").show(1, "TimeoutStopUSec")["TimeoutStopUSec"] == "1min"


def test_tasks_run_in_child_processes_of_every_worker(fleet: Callable[[str], Fleet]) -> None:
    web = fleet("web")
    mains = {web.node(number): web.main_pid(number) for number in (1, 2)}
    answers = web.look("web", count=16, seconds=1.0)
    assert len(answers) == 16
    assert {one["node"] for one in answers} == set(mains)
    assert all(one["parent"] == mains[one["node"]] for one in answers)
    assert at_once(answers) == 4


def test_settings_are_in_force(fleet: Callable[[str], Fleet]) -> None:
    stats = fleet("web").inspect("stats", 1)
    assert stats["pool"]["implementation"].endswith("prefork:TaskPool")
    assert stats["pool"]["max-concurrency"] == 2
    assert stats["pool"]["max-tasks-per-child"] == 1000
    assert stats["pool"]["timeouts"] == [20, 30]
    assert stats["prefetch_count"] == 2
    assert fleet("web").inspect("conf", 1)["task_acks_late"] is True
    assert [queue["name"] for queue in fleet("web").inspect("active_queues", 1)] == ["web"]


def test_a_process_that_took_too_much_memory_is_replaced(fleet: Callable[[str], Fleet]) -> None:
    [greedy] = fleet("web").look("web", mebibytes=300)
    later = fleet("web").look("web", count=16, seconds=1.0)
    assert greedy["pid"] not in {one["pid"] for one in later}
    assert {one["node"] for one in later} == {fleet("web").node(1), fleet("web").node(2)}


def test_the_second_fleet_grows_under_load(fleet: Callable[[str], Fleet]) -> None:
    bulk = fleet("bulk")
    stats = bulk.inspect("stats", 1)
    assert (stats["autoscaler"]["min"], stats["autoscaler"]["max"]) == (1, 3)
    wait_until(lambda: at_once(bulk.look("bulk", count=9, seconds=1.0)) == 3, 30)
    assert {one["node"] for one in bulk.look("bulk")} == {bulk.node(1)}
