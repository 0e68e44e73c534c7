# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that follows its schedule by the clock alone."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import command, places, texts
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import (
    Applied,
    Outcome,
    apply,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.remembered import (
    load_applied,
    save_applied,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform

WINDOWS = [
    {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
    {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
]
POLICY = parse_policy({"schedule": {"windows": WINDOWS}})


class Host:
    """A fleet on a host whose clock a test sets."""

    def __init__(self, *numbers: int, at: str, **values: Any) -> None:
        self.platform = FakePlatform(*numbers, **values)
        self.manager = self.platform.manager
        self.applied: Applied | None = None
        self.set(at)

    def set(self, moment: str) -> None:
        """Set the clock."""
        wall = datetime.fromisoformat(f"2026-06-{moment}").replace(tzinfo=timezone.utc).timestamp()
        self.manager.time.now += wall - self.manager.clock.wall()

    def run(self, moment: str = "", **options: Any) -> Outcome:
        """Let a run come, and remember what it did."""
        if moment:
            self.set(moment)
        outcome = apply("web", POLICY, self.platform, self.applied, clock=self.manager.clock, **options)
        if not options.get("check"):
            self.applied = outcome.applied
        return outcome

    def workers(self) -> int:
        """How many there are."""
        return len(self.manager.read_fleet("web").current)


def test_two_then_five_then_two_drained() -> None:
    host = Host(
        1, 2, at="01T07:00", drain_seconds={1: 600.0, 2: 600.0, 3: 600.0, 4: 600.0, 5: 600.0}, stop_timeout=900.0
    )
    assert (host.run().after, host.run("01T08:00").after) == (2, 5)
    began = host.manager.time.now
    assert host.run("01T18:00").after == 2
    # It does not wait for drains, which may last until the next edge.
    assert len(host.manager.read_fleet("web").draining) == 3
    assert host.manager.time.now - began == pytest.approx(10 * 3600, abs=30)


def test_a_number_that_somebody_set_stays_until_the_next_edge() -> None:
    host = Host(1, 2, 3, 4, 5, at="01T08:00")
    host.run()
    host.manager.add(6, 7)
    for moment in ("01T08:01", "01T12:00", "01T17:59:59"):
        assert host.run(moment).result is None
    assert host.workers() == 7
    assert host.run("01T18:00").after == 2


@pytest.mark.parametrize(("there", "after"), [(4, 5), (5, 5), (20, 20), (23, 20)])
def test_between_edges_a_number_is_brought_within_the_bounds(there: int, after: int) -> None:
    host = Host(1, 2, 3, 4, 5, at="01T08:00")
    host.run()
    host.manager.units.clear()
    host.manager.add(*range(1, there + 1))
    assert host.run("01T09:00").after == after


@pytest.mark.parametrize("moment", ["01T18:00", "01T19:30", "02T18:30", "09T20:00"])
def test_a_run_that_comes_late_does_what_holds_then(moment: str) -> None:
    host = Host(1, 2, 3, 4, 5, at="01T08:00")
    host.run()
    assert host.run(moment).after == 2


def test_the_same_bounds_after_days_of_sleep_are_those_of_another_edge() -> None:
    host = Host(1, 2, 3, 4, 5, at="01T08:00")
    host.run()
    host.manager.add(6, 7)
    assert host.run("03T12:00").after == 5


def test_without_a_memory_the_floor_is_set() -> None:
    assert Host(1, 2, 3, 4, 5, 6, 7, at="01T12:00").run().after == 5


def test_what_fails_is_due_again() -> None:
    host = Host(1, 2, at="01T07:00")
    host.run()
    host.manager.broken = {4}
    with pytest.raises(OperationError, match="1 of its workers did not start"):
        host.run("01T08:00")
    host.manager.broken = set()
    assert host.run("01T08:01").after == 5


@pytest.mark.parametrize("fault", [{"locked": True}, {"unreadable": "systemd hangs"}])
def test_a_failure_is_told_and_not_remembered(fault: dict[str, Any]) -> None:
    host = Host(1, 2, at="01T07:00")
    host.run()
    before = host.applied
    for name, value in fault.items():
        setattr(host.manager, name, value)
    with pytest.raises(OperationError):
        host.run("01T08:00")
    assert host.applied == before


def test_a_number_that_changes_meanwhile_is_decided_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(1, 2, at="01T08:00")
    scale, others = host.platform.scale, [3]

    def racing(request: Any, *, check: bool = False) -> Any:
        if not check and others:
            host.manager.add(others.pop())
        return scale(request, check=check)

    monkeypatch.setattr(host.platform, "scale", racing)
    outcome = host.run()
    assert (outcome.before, outcome.after, host.workers()) == (2, 5, 5)


def test_whoever_never_stops_changing_it_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(1, 2, at="01T08:00")
    scale, others = host.platform.scale, iter(range(20, 90))

    def racing(request: Any, *, check: bool = False) -> Any:
        if not check:
            host.manager.add(*(next(others) for _number in range(9)))
        return scale(request, check=check)

    monkeypatch.setattr(host.platform, "scale", racing)
    with pytest.raises(OperationError, match="were expected, but there are"):
        host.run()


def test_an_edge_that_comes_while_workers_start_is_seen_to() -> None:
    host = Host(1, 2, at="01T07:00", start_seconds=120.0)
    host.run()
    assert host.run("01T17:59").after == 2
    assert host.workers() == 2


def test_a_rehearsal_changes_nothing_and_tells() -> None:
    host = Host(1, 2, at="01T08:00")
    outcome = host.run(check=True)
    assert outcome.result is not None
    assert (outcome.before, outcome.after, host.workers()) == (2, 5, 2)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's directories, with a schedule of the fleet web."""
    for name in ("CONFIGURATION", "STATE"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(places, name, str(tmp_path / name))
    places.schedule_path("web").write_text(json.dumps({"schedule": {"windows": WINDOWS}}))
    return tmp_path


def a_daemon(kept: Path, *sized: str) -> HostAutoscaler:
    """A daemon that runs and sizes these fleets."""
    path = kept / "daemon.json"
    path.write_text(json.dumps({"mode": "act", "fleets": [{"name": name, "policy": {}} for name in sized]}))
    return HostAutoscaler(str(path), runs=lambda: True)


def test_the_command_remembers_what_it_did(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = Host(1, 2, at="01T08:00")
    for said in ("2 -> 5, started web-3, web-4, web-5", "left at 5"):
        assert command.main(["web"], lambda _name: host.platform, a_daemon(kept), host.manager.clock) == 0
        assert f"fleet web: window peak holds, 5 to 20 workers: {said}\n" == capsys.readouterr().out
    applied = load_applied(places.applied_path("web"))
    assert applied is not None
    assert (applied.min_workers, applied.max_workers) == (5, 20)


def test_the_command_fails_for_whoever_tries_again(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = Host(1, 2, at="01T08:00", unreadable="systemd hangs")
    assert command.main(["web"], lambda _name: host.platform, a_daemon(kept), host.manager.clock) == 1
    assert "systemd hangs" in capsys.readouterr().err
    assert load_applied(places.applied_path("web")) is None


def test_where_nobody_else_tries_again_it_does_so_itself(kept: Path) -> None:
    host = Host(1, 2, at="01T08:00", unreadable="systemd hangs")
    host.manager.later.append((host.manager.time.now + 100, lambda: None))

    def sleep(seconds: float) -> None:
        host.manager.time.pass_by(seconds)
        host.manager.unreadable = ""

    clock = host.manager.clock.__class__(host.manager.clock.wall, host.manager.clock.monotonic, sleep)
    assert command.main(["web", "--retry-for", "60"], lambda _name: host.platform, a_daemon(kept), clock) == 0
    assert host.workers() == 5


def test_what_the_autoscaler_sizes_is_left_to_it(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = Host(1, 2, at="01T08:00")
    assert command.main(["web"], lambda _name: host.platform, a_daemon(kept, "web"), host.manager.clock) == 0
    assert "left to the autoscaler" in capsys.readouterr().out
    assert host.workers() == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x", "min_workers": 1, "max_workers": 2}'])
def test_a_broken_memory_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "web.json").write_text(text)
    assert load_applied(tmp_path / "web.json") is None


def test_a_memory_is_read_as_it_was_written(tmp_path: Path) -> None:
    applied = Applied(1.5, 2, 10)
    save_applied(tmp_path / "a" / "web.json", applied)
    assert load_applied(tmp_path / "a" / "web.json") == applied


def test_a_broken_schedule_says_what_to_do(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places.schedule_path("web").write_text('{"schedule": {"windows": [{"time": "08:00-08:00"}]}}')
    host = Host(1, 2, at="01T08:00")
    assert command.main(["web"], lambda _name: host.platform, a_daemon(kept), host.manager.clock) == 1
    assert "schedule.windows[0].time" in capsys.readouterr().err


def test_fleets_of_another_manager_are_set_by_their_own_platform(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ON_HOSTS", ("systemd", "another"))
    words = "by_the_clock.command web --platform another"
    assert f"{words}\n" in texts.service("web", "another")
    assert f"{words} --retry-for 3600 " in texts.crontab("web", ["0 8 * * *"], "another")
    host, opened = Host(1, 2, at="01T08:00"), []

    def open_it(name: str) -> FakePlatform:
        opened.append(name)
        return host.platform

    for arguments in (["web"], words.split()[1:]):
        assert command.main(arguments, open_it, a_daemon(kept), host.manager.clock) == 0
    assert opened == ["systemd", "another"]


def test_the_timer_has_every_time_and_the_service_no_number() -> None:
    timer = texts.timer("web", ["Mon..Fri *-*-* 08:00:00 UTC", "2026-12-01 08:00:00 UTC"])
    assert timer.count("OnCalendar=") == 2
    assert "Persistent=yes" in timer
    service = texts.service("web")
    assert "by_the_clock.command web\n" in service
    assert "Restart=on-failure" in service
