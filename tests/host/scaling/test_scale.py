# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`scale` on a systemd host with real workers: what it does when all is well."""

from __future__ import annotations

from collections.abc import Callable

from scaled_fleet import Fleet, unit

from muejam_bed.shell import wait_until


def test_out_and_in_and_a_second_time(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)

    out = fleet.scale(3)
    assert (out["changed"], out["before"], out["after"]) == (True, 1, 3)
    assert out["started"] == [unit(2), unit(3)]
    assert (out["stopped"], out["draining"], out["unknown"]) == ([], [], {})
    assert set(out["start_seconds"]) == {unit(2), unit(3)}
    assert [fleet.status(number)["state"] for number in (1, 2, 3)] == ["consuming"] * 3
    assert fleet.enabled() == [1, 2, 3]

    again = fleet.scale(3)
    assert (again["changed"], again["before"], again["after"]) == (False, 3, 3)
    assert (again["started"], again["stopped"]) == ([], [])

    shrunk = fleet.scale(1)
    assert (shrunk["changed"], shrunk["before"], shrunk["after"]) == (True, 3, 1)
    assert shrunk["stopped"] == [unit(3), unit(2)]
    assert shrunk["draining"] == []
    assert (fleet.active(), fleet.enabled()) == ([1], [1])


def test_check_mode_says_what_then_happens(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    for workers in (4, 1):
        foretold = fleet.scale(workers, "--check", "--diff")
        before = fleet.active()
        assert (fleet.active(), fleet.enabled()) == (before, before)
        happened = fleet.scale(workers, "--diff")
        for key in ("changed", "before", "after", "started", "stopped", "draining", "diff"):
            assert foretold[key] == happened[key], key
    assert happened["diff"]["before"].splitlines() == [unit(number) for number in (1, 2, 3, 4)]
    assert happened["diff"]["after"].splitlines() == [unit(1)]
    assert fleet.scale(1, "--check", "--diff")["changed"] is False


def test_least_busy_goes_first_and_no_task_is_cut(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(4)
    fleet.hold("one", "two")
    busy = fleet.busy()

    shrunk = fleet.scale(2)
    assert fleet.active() == busy
    assert set(shrunk["stopped"]) == {unit(number) for number in (1, 2, 3, 4)} - {unit(number) for number in busy}
    assert shrunk["unknown"] == {}

    late = fleet.scale(1, check=False, drain_timeout=1)
    assert late["failed"]
    assert (late["before"], late["after"]) == (2, 1)
    assert late["draining"] == [unit(max(busy))]
    assert f"{unit(max(busy))} (1 task in hand)" in late["msg"]
    assert "still drain" in late["msg"]

    # The number of the one that drains is not given away.
    grown = fleet.scale(2)
    assert (grown["before"], grown["after"]) == (1, 2)
    assert grown["draining"] == [unit(max(busy))]
    assert unit(max(busy)) not in grown["started"]

    fleet.release("one", "two")
    wait_until(lambda: {"one", "two"} <= set(fleet.done()), 30)
    wait_until(lambda: fleet.scale(2, "--check")["draining"] == [], 60)
    assert (fleet.done().count("one"), fleet.done().count("two")) == (1, 1)


def test_scale_in_waits_for_the_last_task(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.hold("last")
    fleet.host.run("systemd-run", "--on-active=3", "touch", "/var/lib/scaled/release/last")
    gone = fleet.scale(0)
    assert (gone["before"], gone["after"], gone["stopped"]) == (1, 0, [unit(1)])
    assert fleet.done().count("last") == 1
    assert (fleet.active(), fleet.enabled()) == ([], [])


def test_worker_that_says_nothing_is_not_kept_in_place_of_one_that_does(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(3)
    fleet.host.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", unit(2))
    try:
        wait_until(lambda: "2.service" in str(fleet.scale(2, "--check")["unknown"]), 30)
        foretold = fleet.scale(2, "--check")
    finally:
        fleet.host.run("systemctl", "kill", "--kill-whom=main", "--signal=CONT", unit(2))
    assert foretold["stopped"] == [unit(2)]
    assert "s old" in foretold["unknown"][unit(2)]


def test_without_waiting(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.hold("slow")
    grown = fleet.scale(2, wait=False)
    assert (grown["after"], grown["started"]) == (2, [unit(2)])
    # The next one waits for those that are on their way, and changes nothing.
    assert fleet.scale(2)["changed"] is False
    assert fleet.status(2)["state"] == "consuming"

    shrunk = fleet.scale(0, wait=False)
    assert shrunk["after"] == 0
    assert unit(1) in shrunk["draining"]
    fleet.release("slow")
    wait_until(lambda: fleet.scale(0, "--check")["draining"] == [], 60)
    assert fleet.active() == []
    assert fleet.done().count("slow") == 1


def test_stopped_by_hand_is_started_again(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    fleet.host.run("systemctl", "stop", unit(1))
    result = fleet.scale(2)
    assert (result["changed"], result["before"], result["after"]) == (True, 2, 2)
    assert result["started"] == [unit(1)]
    fleet.host.run("systemctl", "stop", unit(2))
    assert fleet.scale(1)["stopped"] == [unit(2)]


def test_started_by_hand_counts_and_is_kept(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.host.run("systemctl", "start", unit(9))
    # systemd remembers what it once answered to this.
    shown = ("systemctl", "show", "--property=UnitFileState", "--value", unit(9))
    assert fleet.host.output(*shown).strip() == "disabled"
    result = fleet.scale(2)
    assert (result["changed"], result["before"], result["after"], result["started"]) == (True, 2, 2, [])
    assert fleet.enabled() == [1, 9]
    assert fleet.scale(2)["changed"] is False


def test_masked_number_is_left_out(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.host.run("systemctl", "mask", unit(2))
    try:
        result = fleet.scale(2)
        assert result["started"] == [unit(3)]
        assert any("masked" in warning for warning in result["warnings"])
    finally:
        fleet.host.run("systemctl", "unmask", unit(2))


def test_asynchronous_task_comes_to_its_end(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    task = {"muejam.celery.scale": {"fleet": "web", "workers": 2}, "async": 120, "poll": 1}
    fleet.host.playbook([{"hosts": "celery_workers", "gather_facts": False, "tasks": [task]}])
    assert fleet.active() == [1, 2]
