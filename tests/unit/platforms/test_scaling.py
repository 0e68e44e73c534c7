# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is brought to a number, on a host in memory; the real one is in tests/host/scaling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    ScaleRequest,
    ScaleResult,
    nothing_done,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase
from ansible_collections.muejam.celery.plugins.modules import scale as scale_module


def scaled(platform: FakePlatform, workers: int, **values: Any) -> ScaleResult:
    return platform.scale(ScaleRequest("web", workers, **values))


def failed(platform: FakePlatform, workers: int, **values: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        scaled(platform, workers, **values)
    return caught.value


def enabled(platform: FakePlatform) -> list[int]:
    return [unit.number for unit in platform.manager.read_fleet("web").units if unit.enabled]


def test_workers_are_started_together_waited_for_and_timed() -> None:
    platform = FakePlatform(1)
    result = scaled(platform, 3)
    assert (result.changed, result.before, result.after) == (True, 1, 3)
    assert (result.started, result.stopped, result.draining) == (["web-2", "web-3"], [], [])
    assert result.start_seconds == {"web-2": 2.0, "web-3": 2.0}
    assert enabled(platform) == [1, 2, 3]
    assert [call for call in platform.manager.calls if call[0] == "start"] == [("start", "web-2", "web-3")]
    assert result.diff()["after"] == "web-1\nweb-2\nweb-3\n"


def test_a_number_that_is_right_changes_nothing() -> None:
    platform = FakePlatform(1, 2)
    result = scaled(platform, 2)
    assert (result.changed, result.started, result.stopped) == (False, [], [])
    assert platform.manager.calls == []


def test_a_number_that_is_right_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = FakePlatform(1, 2)
    read, reads = platform.manager.read_fleet, []
    monkeypatch.setattr(platform.manager, "read_fleet", lambda fleet: reads.append(fleet) or read(fleet))
    scaled(platform, 2)
    assert reads == ["web"]


def test_the_least_busy_goes_and_one_that_does_not_tell_goes_before() -> None:
    platform = FakePlatform(1, 2, 3, 4)
    platform.manager.tasks = {1: 0, 2: 3, 3: 1}
    platform.manager.silent = {4}
    result = scaled(platform, 1)
    assert result.stopped == ["web-4", "web-1", "web-3"]
    assert result.unknown == {"web-4": "it does not tell"}
    assert enabled(platform) == [2]


def test_a_drain_is_waited_for_as_long_as_it_takes() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 60.0})
    begun = platform.manager.clock.monotonic()
    result = scaled(platform, 1)
    assert (result.after, result.draining) == (1, [])
    assert 60 <= platform.manager.clock.monotonic() - begun < 65


def test_a_worker_is_disabled_before_it_is_told_to_stop() -> None:
    platform = FakePlatform(1, 2)
    scaled(platform, 1, wait=False)
    assert platform.manager.calls == [("disable", "web-2"), ("stop", "web-2")]


def test_without_waiting_workers_are_told_and_left() -> None:
    platform = FakePlatform(1, 2, 3, drain_seconds={3: 60.0})
    down = scaled(platform, 2, wait=False)
    assert (down.after, down.stopped, down.draining) == (2, ["web-3"], ["web-3"])
    up = scaled(platform, 3, wait=False)
    assert (up.after, up.started, up.draining) == (3, ["web-4"], ["web-3"]), "the number of one that drains is taken"
    assert platform.manager.clock.monotonic() == 1000.0


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.ENDING])
def test_a_fleet_of_none_waits_for_what_others_told_to_stop(phase: Phase) -> None:
    platform = FakePlatform()
    platform.manager.add(1, phase=phase, enabled=False)
    if phase is Phase.ENDING:
        platform.manager.later.append((1002.0, lambda: platform.manager.crash(1, "success")))
    result = scaled(platform, 0)
    assert (result.before, result.after, result.stopped, result.draining) == (0, 0, [], [])
    assert platform.manager.calls == []
    assert platform.manager.clock.monotonic() > 1000.0


def test_a_fleet_of_none_that_still_drains_in_the_end_is_told() -> None:
    platform = FakePlatform(drain_seconds={1: 60.0})
    platform.manager.add(1, phase=Phase.DRAINING)
    error = failed(platform, 0, drain_timeout=5.0)
    assert "1 of 1 stopped workers still drain after 5 s" in str(error)
    assert error.details["draining"] == ["web-1"]


def test_a_drain_that_takes_longer_than_asked_names_the_busy_and_goes_on() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 30.0})
    platform.manager.tasks = {1: 2, 2: 1}
    error = failed(platform, 1, drain_timeout=10.0)
    assert "web-2 (1 task in hand)" in str(error)
    assert (error.details["after"], error.details["stopped"]) == (1, ["web-2"])
    assert not nothing_done(error)
    platform.manager.time.pass_by(30)
    assert platform.manager.read_fleet("web").draining == ()


def test_a_worker_that_was_killed_at_the_end_of_its_drain_is_told() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 60.0}, stop_timeout=20.0)
    error = failed(platform, 1)
    assert "not all of them got to finish" in str(error)
    assert error.details["killed"] == ["web-2"]
    assert error.details["after"] == 1


def test_a_worker_that_was_killed_at_the_end_of_a_drain_that_others_began_is_told() -> None:
    platform = FakePlatform(drain_seconds={1: 30.0})
    platform.manager.add(1, phase=Phase.DRAINING, active_exit_at=int(900e6))
    assert "not all of them got to finish" in str(failed(platform, 0))


def test_a_fleet_that_keeps_workers_waits_only_for_those_that_it_stops() -> None:
    platform = FakePlatform(1, drain_seconds={2: 60.0})
    platform.manager.add(2, phase=Phase.DRAINING, enabled=False)
    assert scaled(platform, 1).draining == ["web-2"]


@pytest.mark.parametrize("fault", ["broken", "hanging"])
def test_those_that_do_not_come_up_are_stopped_again_and_the_others_stay(fault: str) -> None:
    platform = FakePlatform(1)
    setattr(platform.manager, fault, {3})
    error = failed(platform, 3, wait_timeout=10.0)
    assert "1 of its workers did not start" in str(error)
    assert ("within 10 s" in str(error)) is (fault == "hanging")
    assert "last words of web-3" in str(error)
    assert (error.details["not_started"], error.details["started"]) == (["web-3"], ["web-2"])
    assert error.details["after"] == 2
    assert enabled(platform) == [1, 2]
    assert platform.manager.units[3].phase is Phase.DOWN


def test_a_worker_that_was_wanted_before_and_does_not_come_up_stays_wanted() -> None:
    platform = FakePlatform(1, broken={2})
    platform.manager.add(2, phase=Phase.DOWN, result="exit-code")
    error = failed(platform, 2)
    assert "These were enabled before and stay enabled" in str(error)
    assert enabled(platform) == [1, 2]


def test_wanted_workers_that_are_down_are_started_again() -> None:
    platform = FakePlatform(1)
    platform.manager.add(2, phase=Phase.DOWN, result="exit-code")
    result = scaled(platform, 2)
    assert (result.before, result.after, result.started) == (2, 2, ["web-2"])


def test_a_number_that_was_not_expected_is_left_alone() -> None:
    platform = FakePlatform(1, 2)
    error = failed(platform, 5, expected_workers=3)
    assert "3 workers were expected, but there are 2" in str(error)
    assert (error.details["before"], error.details["after"]) == (2, 2)
    assert nothing_done(error)
    assert platform.manager.calls == []


def test_a_fleet_that_keeps_its_number_keeps_what_it_has() -> None:
    assert scaled(FakePlatform(1, 2, 3), 1, keep=True).after == 3
    assert scaled(FakePlatform(), 2, keep=True).after == 2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"locked": True}, "another scaling is running"),
        ({"denies": "only root may"}, "only root may"),
        ({"unreadable": "the bus is silent"}, "the bus is silent"),
        ({"load_problem": "bad-setting"}, "bad-setting"),
        ({"exists": False}, "no fleet web"),
    ],
)
def test_what_stands_in_the_way_is_told_and_nothing_was_done(values: dict[str, Any], says: str) -> None:
    platform = FakePlatform(1, **values)
    error = failed(platform, 2)
    assert says in str(error)
    assert nothing_done(error)
    assert platform.manager.calls == []


@pytest.mark.parametrize(("verb", "workers"), [("start", 3), ("stop", 1), ("disable", 1), ("enable", 3)])
@pytest.mark.parametrize("wait", [True, False])
def test_what_is_refused_is_told_with_what_there_is(verb: str, workers: int, wait: bool) -> None:
    platform = FakePlatform(1, 2, refuses={verb: "it said no"})
    error = failed(platform, workers, wait=wait)
    assert "it said no" in str(error)
    state = platform.manager.read_fleet("web")
    assert error.details["before"] == 2
    assert error.details["after"] == len(state.current)
    assert error.details["stopped"] == []


def test_a_host_that_falls_silent_in_the_middle_is_no_fleet_of_none() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 30.0})
    platform.manager.later.append((1010.0, lambda: setattr(platform.manager, "unreadable", "the bus is silent")))
    error = failed(platform, 1)
    assert (error.details["before"], error.details["after"], error.details["stopped"]) == (2, None, ["web-2"])
    assert not nothing_done(error)


def test_somebody_else_who_changes_the_fleet_meanwhile_is_noticed() -> None:
    platform = FakePlatform(1, 2, drain_seconds={2: 30.0})
    platform.manager.later.append((1010.0, lambda: platform.manager.add(7)))
    error = failed(platform, 1)
    assert "there are 2 workers afterwards: web-1, web-7" in str(error)


def test_workers_enabled_lately_that_are_said_not_to_be_are_asked_for_again() -> None:
    platform = FakePlatform(1, forgetful=True)
    platform.manager.add(2, enabled=False)
    result = scaled(platform, 3)
    assert (result.before, result.after) == (2, 3)
    assert enabled(platform) == [1, 2, 3]


def test_a_masked_number_is_left_out_and_warned_of() -> None:
    platform = FakePlatform(1)
    platform.manager.add(2, phase=Phase.DOWN, enabled=False, masked=True)
    result = scaled(platform, 2)
    assert (result.started, result.after) == (["web-3"], 2)
    assert "web-2 is masked" in result.warnings[0]


def test_in_check_mode_all_is_told_and_nothing_done() -> None:
    platform = FakePlatform(1, 2, 3)
    platform.manager.tasks = {3: 1}
    result = platform.scale(ScaleRequest("web", 2), check=True)
    assert (result.changed, result.before, result.after, result.stopped) == (True, 3, 2, ["web-2"])
    assert result.workers_after == ["web-1", "web-3"]
    assert platform.manager.calls == []
    absent = FakePlatform(exists=False).scale(ScaleRequest("web", 2), check=True)
    assert (absent.before, absent.after, absent.started) == (0, 2, ["web-1", "web-2"])
    assert "has no fleet web yet" in absent.warnings[0]


@pytest.mark.parametrize(
    ("keep", "sized", "done", "warns"),
    [
        (False, True, True, True),
        (True, True, True, False),
        (False, False, True, False),
        # In check mode, or where the number was right, nothing is undone.
        (False, True, False, False),
    ],
)
def test_a_number_set_by_hand_where_the_autoscaler_sizes_the_fleet_is_warned_of(
    tmp_path: Path, keep: bool, sized: bool, done: bool, warns: bool
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mode": "act", "fleets": [{"name": "web", **({"policy": {}} if sized else {})}]}))
    daemon = HostAutoscaler(str(path), runs=lambda: True)
    told = scale_module.undone_by_the_autoscaler({"fleet": "web", "keep": keep}, done, lambda: daemon)
    assert bool(told) is warns
    assert all("pause the fleet at it" in warning and "on this host" in warning for warning in told)


def test_a_daemon_of_which_nothing_is_known_is_warned_of(tmp_path: Path) -> None:
    daemon = HostAutoscaler(str(tmp_path / "none"), runs=lambda: True)
    [told] = scale_module.undone_by_the_autoscaler({"fleet": "web", "keep": False}, True, lambda: daemon)
    assert "not known which fleets the autoscaler sizes on this host" in told
