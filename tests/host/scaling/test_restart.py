# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`restart` on a systemd host with real workers: one at a time, drained, and no further than the first failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scaled_fleet import Fleet, unit

ENVIRONMENT = "/etc/celery-worker/web.env"


@pytest.fixture
def fleet(fleet_of: Callable[[int], Fleet]) -> Iterator[Fleet]:
    """Three workers, whose configuration is put back afterwards."""
    three = fleet_of(3)
    three.host.run("cp", "--preserve", ENVIRONMENT, "/run/kept.env")
    yield three
    three.host.run("cp", "--preserve", "/run/kept.env", ENVIRONMENT)
    three.host.run("sh", "-c", "rm -rf /etc/systemd/system/celery-worker-web@*.service.d; systemctl daemon-reload")


def change_configuration(fleet: Fleet) -> None:
    """What a deployment with other settings leaves behind."""
    fleet.host.run("sed", "--in-place", "/^CELERY_LIFECYCLE_CONFIG=/d", ENVIRONMENT)
    fleet.host.run("sh", "-c", f'echo "CELERY_LIFECYCLE_CONFIG=\\"another\\"" >> {ENVIRONMENT}')


def test_only_outdated_ones_and_only_once(fleet: Fleet) -> None:
    assert fleet.restart()["changed"] is False

    change_configuration(fleet)
    # One has it already.
    fleet.host.run("systemctl", "restart", unit(2))
    pids = {number: fleet.main_pid(number) for number in (1, 2, 3)}

    foretold = fleet.restart("--check", "--diff")
    assert {number: fleet.main_pid(number) for number in (1, 2, 3)} == pids
    happened = fleet.restart("--diff")
    for result in (foretold, happened):
        assert result["changed"]
        assert result["restarted"] == [unit(1), unit(3)]
        assert result["unchanged"] == [unit(2)]
    assert foretold["diff"] == happened["diff"]
    assert fleet.main_pid(2) == pids[2]
    assert fleet.main_pid(1) != pids[1]
    assert [fleet.status(number)["state"] for number in (1, 2, 3)] == ["consuming"] * 3
    assert fleet.status(1)["config"] == "another"

    again = fleet.restart()
    assert (again["changed"], again["restarted"]) == (False, [])
    assert again["unchanged"] == [unit(1), unit(2), unit(3)]


def test_one_at_a_time_and_tasks_get_to_their_end(fleet: Fleet) -> None:
    fleet.hold("first", "second", "third")
    fleet.host.run(
        "systemd-run",
        "--on-active=2",
        "sh",
        "-c",
        "for name in first second third; do touch /var/lib/scaled/release/$name; sleep 1; done",
    )
    result = fleet.restart(only="all")
    assert result["restarted"] == [unit(1), unit(2), unit(3)]
    assert sorted(name for name in fleet.done() if name in ("first", "second", "third")) == ["first", "second", "third"]
    # The next one is told to stop only when the one before it consumes.
    for earlier, later in ((1, 2), (2, 3)):
        assert moment(fleet, earlier, "ActiveEnter") < moment(fleet, later, "ActiveExit")


def moment(fleet: Fleet, number: int, name: str) -> int:
    """When a unit last entered or left a state, in microseconds."""
    shown = fleet.host.output("systemctl", "show", f"--property={name}TimestampMonotonic", "--value", unit(number))
    return int(shown)


def test_stops_at_the_first_that_does_not_come_back(fleet: Fleet) -> None:
    change_configuration(fleet)
    path = f"/etc/systemd/system/{unit(2)}.d"
    fleet.host.run("mkdir", "--parents", path)
    fleet.host.run(
        "sh",
        "-c",
        f"printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"echo cannot go on; exit 3\"\\n' > {path}/test.conf",
    )
    third = fleet.main_pid(3)
    result = fleet.restart(check=False)
    assert result["failed"]
    assert result["changed"]
    assert result["restarted"] == [unit(1)]
    assert result["not_restarted"] == [unit(2), unit(3)]
    assert f"{unit(2)} did not come back" in result["msg"]
    assert "cannot go on" in result["msg"]
    assert f"Left running as they were: {unit(3)}" in result["msg"]
    assert fleet.main_pid(3) == third


def test_drain_that_lasts_too_long_is_an_error_and_goes_on(fleet: Fleet) -> None:
    fleet.hold("long")
    busy = fleet.busy()[0]
    result = fleet.restart(check=False, only="all", drain_timeout=15)
    assert f"{unit(busy)} still drains" in result["msg"]
    assert result["restarted"] == [unit(number) for number in range(1, busy)]
    fleet.release("long")
    # systemd finishes what was begun.
    assert fleet.scale(3)["after"] == 3
    assert fleet.done().count("long") == 1


def test_unknown_fleet(fleet: Fleet) -> None:
    result = fleet.host.result("muejam.celery.restart", {"fleet": "wbe"}, check=False)
    assert "its fleets are: web" in result["msg"]
    foretold = fleet.host.result("muejam.celery.restart", {"fleet": "wbe"}, "--check")
    assert (foretold["changed"], foretold["restarted"]) == (False, [])
