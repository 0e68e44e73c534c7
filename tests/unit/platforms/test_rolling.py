# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How workers are restarted, one at a time, on a host in memory; the real one is in tests/host/scaling."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollRequest, RollResult
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase


def rolled(platform: FakePlatform, **values: Any) -> RollResult:
    return platform.roll(RollRequest("web", **{"only_outdated": False, **values}))


def failed(platform: FakePlatform, **values: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        rolled(platform, **values)
    return caught.value


def restarts(platform: FakePlatform) -> list[str]:
    return [call[1] for call in platform.manager.calls if call[0] == "restart"]


def test_each_is_drained_and_consumes_before_the_next_is_told_to_stop() -> None:
    platform = FakePlatform(1, 2, 3, drain_seconds={1: 10.0, 2: 20.0, 3: 0.0})
    most_away = []
    told = platform.manager.restart_no_wait

    def restart(unit: str) -> Any:
        away = [other.name for other in platform.manager.read_fleet("web").units if other.phase is not Phase.RUNNING]
        most_away.append(away)
        return told(unit)

    platform.manager.restart_no_wait = restart  # type: ignore[method-assign]
    result = rolled(platform)
    assert (result.restarted, result.unchanged) == (["web-1", "web-2", "web-3"], [])
    assert most_away == [[], [], []]
    assert 36 <= platform.manager.clock.monotonic() - 1000 < 40


def test_only_the_outdated_are_restarted_and_each_has_its_reason() -> None:
    platform = FakePlatform(1, 2, outdated={2})
    platform.manager.add(3, phase=Phase.DOWN)
    platform.manager.add(4, masked=True)
    result = rolled(platform, only_outdated=True)
    assert (result.restarted, result.unchanged) == (["web-2"], ["web-1", "web-3", "web-4"])
    assert result.reasons == {
        "web-1": "it has the present configuration",
        "web-2": "it was started with another configuration",
        "web-3": "it does not run, so its next start is with the present configuration",
        "web-4": "it is masked and could not be started again",
    }


def test_workers_that_do_not_run_are_started_where_all_are_asked_for() -> None:
    platform = FakePlatform(1)
    platform.manager.add(2, phase=Phase.DOWN)
    assert rolled(platform).restarted == ["web-1", "web-2"]
    assert platform.manager.units[2].phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("fault", "says"), [("broken", "web-2 did not come back"), ("hanging", "web-2 does not consume after 20 s")]
)
def test_the_first_that_does_not_come_back_ends_it_and_the_others_stay(fault: str, says: str) -> None:
    platform = FakePlatform(1, 2, 3)
    setattr(platform.manager, fault, {2})
    error = failed(platform, wait_timeout=20.0)
    assert says in str(error)
    assert "last words of web-2" in str(error)
    assert error.details["restarted"] == ["web-1"]
    assert error.details["not_restarted"] == ["web-2", "web-3"]
    assert error.details["changed"] is True
    assert restarts(platform) == ["web-1", "web-2"]
    assert platform.manager.units[3].phase is Phase.RUNNING


def test_a_drain_that_takes_longer_than_asked_is_told_and_goes_on() -> None:
    platform = FakePlatform(1, 2, drain_seconds={1: 60.0})
    error = failed(platform, drain_timeout=10.0)
    assert "web-1 still drains" in str(error)
    assert restarts(platform) == ["web-1"]
    platform.manager.time.pass_by(100)
    assert platform.manager.read_fleet("web").units[0].phase is Phase.RUNNING


def test_a_worker_that_was_killed_as_it_drained_is_told_in_the_end() -> None:
    platform = FakePlatform(1, 2, drain_seconds={1: 60.0}, stop_timeout=20.0)
    error = failed(platform)
    assert "web-1 did not drain in time and was killed" in str(error)
    assert (error.details["restarted"], error.details["killed"]) == (["web-1", "web-2"], ["web-1"])


def test_a_restart_that_is_refused_ends_it() -> None:
    error = failed(FakePlatform(1, 2, refuses={"restart": "it said no"}))
    assert "it said no" in str(error)
    assert error.details["not_restarted"] == ["web-1", "web-2"]


def test_a_host_that_falls_silent_on_the_way_is_told_with_what_was_done() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 30.0})
    platform.manager.later.append((1010.0, lambda: setattr(platform.manager, "unreadable", "the bus is silent")))
    error = failed(platform)
    assert "the bus is silent" in str(error)
    assert (error.details["restarted"], error.details["not_restarted"]) == (["web-1"], ["web-2"])


def test_what_is_new_on_disk_is_read_before() -> None:
    platform = FakePlatform(1, needs_reload=True)
    rolled(platform)
    assert platform.manager.calls[0] == ("reload",)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"locked": True}, "another scaling is running"),
        ({"denies": "only root may"}, "only root may"),
        ({"unreadable": "the bus is silent"}, "the bus is silent"),
        ({"load_problem": "bad-setting"}, "No worker was touched"),
        ({"exists": False}, "no fleet web"),
    ],
)
def test_what_stands_in_the_way_is_told_and_nothing_was_done(values: dict[str, Any], says: str) -> None:
    platform = FakePlatform(1, **values)
    assert says in str(failed(platform))
    assert platform.manager.calls == []


def test_in_check_mode_all_is_told_and_nothing_done() -> None:
    platform = FakePlatform(1, 2, outdated={2})
    result = platform.roll(RollRequest("web"), check=True)
    assert (result.restarted, result.unchanged) == (["web-2"], ["web-1"])
    assert platform.manager.calls == []
    absent = FakePlatform(exists=False).roll(RollRequest("web"), check=True)
    assert "has no fleet web yet" in absent.warnings[0]


def test_one_worker_is_restarted_and_not_waited_for() -> None:
    platform = FakePlatform(1, 2)
    platform.restart("web", "web-2")
    assert platform.manager.calls == [("restart", "web-2")]
    assert platform.manager.clock.monotonic() == 1000.0
    platform.manager.time.pass_by(10)
    assert platform.manager.read_fleet("web").units[1].phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("phase", "says"), [(Phase.STARTING, "web-1 is not up yet"), (Phase.ENDING, "web-1 is not up yet")]
)
def test_one_worker_waits_for_the_others_to_be_up(phase: Phase, says: str) -> None:
    platform = FakePlatform(2)
    platform.manager.add(1, phase=phase)
    with pytest.raises(OperationError, match=says):
        platform.restart("web", "web-2")
    assert platform.manager.calls == []


@pytest.mark.parametrize("worker", ["web-1", "web-2", "web-3", "web-9", "other-1"])
def test_only_a_worker_that_runs_is_restarted(worker: str) -> None:
    platform = FakePlatform()
    platform.manager.add(1, phase=Phase.DOWN)
    platform.manager.add(2, phase=Phase.DRAINING)
    platform.manager.add(3, masked=True)
    with pytest.raises(OperationError, match="Only a running worker needs it"):
        platform.restart("web", worker)
    assert platform.manager.calls == []
