# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading systemctl's text, most of it captured from systemd 252 (captured/*.txt)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    FleetState,
    Phase,
    Unit,
    drain_seconds,
    start_seconds,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.placement import plan_scaling
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.parsing import (
    fleet_state,
    parse_blocks,
    parse_environment,
    parse_jobs,
    parse_span,
    phase_of,
    unit_from,
)

CAPTURED = Path(__file__).parent / "captured"


@pytest.fixture(scope="module")
def web() -> FleetState:
    """A fleet with one worker in each of the states that a worker can be in."""
    shown = (CAPTURED / "show_fleet.txt").read_text(encoding="utf-8")
    jobs = (CAPTURED / "list_jobs.txt").read_text(encoding="utf-8")
    state = fleet_state("web", parse_blocks(shown), parse_jobs(jobs))
    assert state is not None
    return state


def test_phases_of_a_real_fleet(web: FleetState) -> None:
    assert {unit.number: unit.phase for unit in web.units} == {
        1: Phase.RUNNING,
        2: Phase.DOWN,  # failed, waits for systemd's next try
        3: Phase.DRAINING,
        4: Phase.STARTING,  # stops only to be started again
        5: Phase.STARTING,
        6: Phase.DOWN,  # masked
        7: Phase.DOWN,  # enabled, never started
        8: Phase.DOWN,  # failed for good
    }


def test_who_counts_and_who_drains(web: FleetState) -> None:
    assert [unit.number for unit in web.current] == [1, 2, 4, 5, 7, 8]
    assert [unit.number for unit in web.draining] == [3]
    assert [unit.number for unit in web.units if unit.masked] == [6]


def test_probe_tells_about_the_template_and_is_no_worker(web: FleetState) -> None:
    assert web.exists
    assert web.load_problem == ""
    assert not web.needs_reload
    assert web.unit("celery-worker-web@0.service") is None


def test_times_of_a_start(web: FleetState) -> None:
    first = web.unit("celery-worker-web@1.service")
    failed = web.unit("celery-worker-web@2.service")
    assert first is not None
    assert failed is not None
    assert start_seconds(first) == pytest.approx(1.032, abs=0.001)
    assert drain_seconds(first) is None
    assert first.stop_timeout == 20.0
    assert start_seconds(failed) is None


def test_files_and_environment(web: FleetState) -> None:
    first = web.units[0]
    assert first.files == ("/etc/systemd/system/celery-worker-web@.service",)
    assert first.environment_files == ("/etc/celery-worker/web.env",)
    assert first.environment["CELERY_LIFECYCLE_CONFIG"] == "c0ffee"
    assert first.environment["GREETING"] == 'say "hello"'
    assert "c0ffee" not in repr(first)


def test_drain_time_of_a_restarted_worker() -> None:
    unit = Unit(
        "celery-worker-web@1.service",
        1,
        Phase.RUNNING,
        active_exit_at=10_000_000,
        inactive_enter_at=12_500_000,
        inactive_exit_at=12_600_000,
        active_enter_at=14_600_000,
    )
    assert drain_seconds(unit) == 2.5
    assert start_seconds(unit) == 2.0


def test_no_probe_is_no_answer() -> None:
    assert fleet_state("web", [], {}) is None
    assert fleet_state("web", parse_blocks("Id=celery-worker-web@1.service\nActiveState=active\n"), {}) is None


def test_fleet_that_does_not_exist() -> None:
    state = fleet_state("web", parse_blocks("Id=celery-worker-web@0.service\nLoadState=not-found\n"), {})
    assert state is not None
    assert not state.exists


def test_fleet_whose_template_is_gone_but_whose_workers_run_still_exists() -> None:
    text = (
        "Id=celery-worker-web@0.service\nLoadState=not-found\n\n"
        "Id=celery-worker-web@4.service\nLoadState=not-found\nActiveState=active\nSubState=running\n"
    )
    state = fleet_state("web", parse_blocks(text), {})
    assert state is not None
    assert state.exists
    assert "not-found" in state.load_problem
    assert [unit.number for unit in state.current] == [4]


def test_broken_template_says_why() -> None:
    text = 'Id=celery-worker-web@0.service\nLoadState=bad-setting\nLoadError=org.example.Bad "bad unit file setting"\n'
    state = fleet_state("web", parse_blocks(text), {})
    assert state is not None
    assert "bad-setting" in state.load_problem
    assert "bad unit file setting" in state.load_problem


def test_units_of_others_are_left_out() -> None:
    text = (
        "Id=celery-worker-web@0.service\nLoadState=loaded\n\n"
        "Id=celery-worker-web-2@1.service\nActiveState=active\n\n"
        "Id=celery-worker-web@blue.service\nActiveState=active\n\n"
        "Id=celery-worker-web@01.service\nActiveState=active\n"
    )
    state = fleet_state("web", parse_blocks(text), {})
    assert state is not None
    assert state.units == ()


def test_reload_is_needed_when_any_unit_says_so() -> None:
    text = (
        "Id=celery-worker-web@0.service\nLoadState=loaded\nNeedDaemonReload=no\n\n"
        "Id=celery-worker-web@1.service\nActiveState=active\nNeedDaemonReload=yes\n"
    )
    state = fleet_state("web", parse_blocks(text), {})
    assert state is not None
    assert state.needs_reload


def test_command_that_drains_gets_its_own_time() -> None:
    text = "Id=celery-worker-web@1.service\nTimeoutStopUSec=1min\nExecStop={ path=/bin/true ; argv[]=/bin/true }\n"
    assert unit_from(parse_blocks(text)[0], "").stop_timeout == 120.0


def test_unit_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no worker unit"):
        unit_from({"Id": "cron.service"}, "")


@pytest.mark.parametrize(
    ("active", "sub", "job", "phase"),
    [
        ("active", "running", "", Phase.RUNNING),
        ("reloading", "reload", "", Phase.RUNNING),
        ("active", "running", "stop", Phase.DRAINING),
        ("active", "running", "restart", Phase.STARTING),
        ("activating", "start", "start", Phase.STARTING),
        ("activating", "start-post", "start", Phase.STARTING),
        ("activating", "start", "stop", Phase.DRAINING),
        ("activating", "auto-restart", "", Phase.DOWN),
        ("activating", "auto-restart-queued", "restart", Phase.STARTING),
        ("deactivating", "stop-sigterm", "stop", Phase.DRAINING),
        ("deactivating", "stop-sigterm", "", Phase.ENDING),
        ("deactivating", "stop-watchdog", "", Phase.ENDING),
        ("deactivating", "final-sigterm", "stop", Phase.DRAINING),
        ("deactivating", "stop-sigterm", "restart", Phase.STARTING),
        ("deactivating", "final-sigkill", "start", Phase.STARTING),
        ("inactive", "dead", "", Phase.DOWN),
        ("inactive", "dead", "start", Phase.STARTING),
        ("inactive", "dead", "stop", Phase.DOWN),
        ("failed", "failed", "", Phase.DOWN),
        ("maintenance", "cleaning", "", Phase.DOWN),
    ],
)
def test_phase(active: str, sub: str, job: str, phase: Phase) -> None:
    assert phase_of(active, sub, job) is phase


@pytest.mark.parametrize(
    ("file_state", "active", "job", "current", "leaving"),
    [
        ("enabled", "active", "", True, False),
        ("enabled", "inactive", "", True, False),
        ("enabled", "failed", "", True, False),
        ("enabled-runtime", "inactive", "", True, False),
        ("disabled", "active", "", True, False),
        ("disabled", "activating", "", True, False),
        ("disabled", "inactive", "", False, False),
        ("disabled", "failed", "", False, False),
        ("enabled", "deactivating", "stop", False, True),
        ("enabled", "deactivating", "", True, False),
        ("disabled", "deactivating", "", False, True),
        ("masked", "deactivating", "", False, True),
        ("masked", "active", "", True, False),
        ("masked", "inactive", "", False, False),
    ],
)
def test_current_is_enabled_or_running_and_not_told_to_go(
    file_state: str, active: str, job: str, current: bool, leaving: bool
) -> None:
    block = {"Id": "celery-worker-web@1.service", "UnitFileState": file_state, "ActiveState": active}
    unit = unit_from(block, job)
    assert (unit.current, unit.leaving) == (current, leaving)


def test_workers_that_crash_together_are_neither_draining_nor_disabled() -> None:
    text = "Id=celery-worker-web@0.service\nLoadState=loaded\n" + "".join(
        f"\nId=celery-worker-web@{number}.service\nUnitFileState=enabled\nActiveState=deactivating\n"
        "SubState=stop-sigterm\nNRestarts=2\n"
        for number in range(1, 5)
    )
    state = fleet_state("web", parse_blocks(text), {})
    assert state is not None
    assert [unit.number for unit in state.current] == [1, 2, 3, 4]
    assert state.draining == ()
    assert {unit.restarts for unit in state.units} == {2}
    plan = plan_scaling(state, 4, {})
    assert (plan.before, plan.disable, plan.stop) == (4, (), ())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20.0),
        ("1min 30s", 90.0),
        ("1h 5min", 3900.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2d", 172800.0),
        ("1w 1us", 604800.000001),
        ("0", 0.0),
        ("infinity", math.inf),
    ],
)
def test_span(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-1s"])
def test_bad_span(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        parse_span(text)


def test_environment_that_cannot_be_read_is_empty() -> None:
    assert parse_environment('A="') == {}


def test_jobs_of_an_empty_list() -> None:
    assert parse_jobs("No jobs running.\n") == {}


def test_limits_of_a_unit() -> None:
    text = (
        "Id=celery-worker-web@1.service\nControlGroup=/system.slice/a.service\n"
        "MemoryMax=209715200\nCPUQuotaPerSecUSec=1.500000s\n\n"
        "Id=celery-worker-web@2.service\nControlGroup=\nMemoryMax=infinity\nCPUQuotaPerSecUSec=infinity\n"
    )
    one, two = (unit_from(block, "") for block in parse_blocks(text))
    assert (one.control_group, one.memory_max, one.cpu_quota) == ("/system.slice/a.service", 209715200, 1.5)
    assert (two.control_group, two.memory_max, two.cpu_quota) == ("", None, None)
