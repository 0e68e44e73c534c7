# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`scale` on a systemd host with real workers: what it says and leaves behind when something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scaled_fleet import Fleet, unit

from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

DROP_IN = "/etc/systemd/system/{unit}.d/test.conf"


def drop_in(fleet: Fleet, number: int, *lines: str) -> None:
    """Change the unit of one worker, without telling systemd."""
    path = DROP_IN.format(unit=unit(number))
    fleet.host.run("mkdir", "--parents", path.rsplit("/", 1)[0])
    fleet.host.run("sh", "-c", 'printf "%s\\n" "[Service]" "$@" > "$0"', path, *lines)


@pytest.fixture(autouse=True)
def clean_units(deployed: SystemdHost) -> Iterator[None]:
    """Take back what a test did to the units."""
    yield
    deployed.run("sh", "-c", "rm -rf /etc/systemd/system/celery-worker-web@*.service.d; systemctl daemon-reload")


def test_wrong_expectation_changes_nothing(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    for flags in ((), ("--check",)):
        result = fleet.scale(1, *flags, check=False, expected_workers=3)
        assert result["failed"]
        assert "3 workers were expected, but there are 2" in result["msg"]
    assert fleet.active() == fleet.enabled() == [1, 2]
    assert fleet.scale(1, expected_workers=2)["after"] == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": -1}, "workers: -1 is below 0"),
        ({"workers": 1, "expected_workers": -1}, "expected_workers: -1 is below 0"),
        ({"workers": 1, "fleet": "Web!"}, "no name of a fleet"),
        ({"workers": 1, "wait_timeout": 0}, "wait_timeout: 0 is below 1"),
        ({"workers": 1, "drain_timeout": -1}, "drain_timeout: -1 is below 0"),
        ({"workers": "2.5"}, "2.5"),
        ({"workers": 1, "platform": "docker"}, "systemd"),
    ],
)
def test_bad_options(deployed: SystemdHost, options: dict[str, object], says: str) -> None:
    result = deployed.result("muejam.celery.scale", {"fleet": "web", **options}, check=False)
    assert result["failed"]
    assert says in result["msg"]


def test_unknown_fleet(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    result = fleet.host.result("muejam.celery.scale", {"fleet": "wbe", "workers": 2}, check=False)
    assert "no fleet wbe; its fleets are: web" in result["msg"]
    foretold = fleet.host.result("muejam.celery.scale", {"fleet": "wbe", "workers": 2}, "--check")
    assert (foretold["before"], foretold["after"], foretold["changed"]) == (0, 2, True)
    assert any("no fleet wbe yet" in warning for warning in foretold["warnings"])


def test_worker_that_does_not_start_is_taken_back_and_the_others_stay(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    # systemd has not read this when scale begins: it has to see to that itself.
    drop_in(
        fleet,
        3,
        "ExecStart=",
        "ExecStart=/bin/sh -c 'echo redis://:not-a-real-password@broker/0 refused >&2; exit 1'",
        # It is looked at while systemd waits to try again, and not in the middle of another attempt.
        "RestartSec=1h",
    )
    result = fleet.scale(4, check=False)
    assert result["failed"]
    assert (result["before"], result["after"], result["changed"]) == (1, 3, True)
    assert result["started"] == [unit(2), unit(4)]
    assert result["not_started"] == [unit(3)]
    assert f"{unit(3)}: not running" in result["msg"]
    assert "result exit-code" in result["msg"]
    assert "redis://:********@broker/0 refused" in result["msg"]
    assert "not-a-real-password" not in str(result)
    assert fleet.active() == fleet.enabled() == [1, 2, 4]
    # The next try takes the same number, whatever failed before.
    fleet.host.run("sh", "-c", "rm -rf /etc/systemd/system/celery-worker-web@*.service.d")
    assert fleet.scale(4)["started"] == [unit(3)]


def test_broker_that_is_away_gives_an_error_and_no_half_fleet(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.host.run("systemctl", "stop", "redis-server.service")
    try:
        result = fleet.scale(2, check=False, wait_timeout=5)
    finally:
        fleet.host.run("systemctl", "start", "redis-server.service")
    assert result["failed"]
    assert "did not start within 5 s" in result["msg"]
    assert (result["before"], result["after"], result["not_started"]) == (1, 1, [unit(2)])
    assert fleet.enabled() == [1]
    wait_until(lambda: fleet.status(1)["state"] == "consuming", 60)


def test_enabled_worker_that_keeps_failing_stays_wanted(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    fleet.host.run("systemctl", "stop", unit(2))
    drop_in(fleet, 2, "ExecStart=", "ExecStart=/bin/false")
    result = fleet.scale(2, check=False)
    assert result["not_started"] == [unit(2)]
    assert "These were enabled before and stay enabled" in result["msg"]
    assert fleet.enabled() == [1, 2]
    # It goes before any worker that runs.
    assert fleet.scale(1)["stopped"] == [unit(2)]


def test_killed_at_the_end_of_its_drain_time_is_not_passed_over(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.hold("endless")
    drop_in(fleet, 1, "TimeoutStopSec=2")
    fleet.host.run("systemctl", "daemon-reload")
    result = fleet.scale(0, check=False)
    assert result["killed"] == [unit(1)]
    assert result["after"] == 0
    assert "not all of them got to finish their tasks" in result["msg"]
    assert "failed" not in fleet.host.output("systemctl", "list-units", "--all", "celery-worker-web@*")
    fleet.release("endless")


def test_a_fleet_of_none_is_not_there_before_those_are_gone_that_others_told_to_stop(
    fleet_of: Callable[[int], Fleet],
) -> None:
    fleet = fleet_of(1)
    fleet.hold("slow to go")
    fleet.host.run("systemctl", "disable", "--now", "--no-block", unit(1))
    early = fleet.scale(0, drain_timeout=1, check=False)
    assert (early["after"], early["draining"]) == (0, [unit(1)])
    assert "1 of 1 stopped workers still drain" in early["msg"]
    fleet.release("slow to go")
    late = fleet.scale(0)
    assert (late["after"], late["draining"], fleet.active()) == (0, [], [])


def test_second_scaling_at_the_same_time_is_refused(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    fleet.host.run(
        "systemd-run", "--unit=holder", "flock", "/run/celery-worker-locks/celery-worker-web.lock", "sleep", "infinity"
    )
    try:
        wait_until(
            lambda: (
                fleet.host.run(
                    "flock", "--nonblock", "/run/celery-worker-locks/celery-worker-web.lock", "true", check=False
                ).returncode
                != 0
            ),
            10,
        )
        result = fleet.scale(2, check=False, lock_timeout=1)
        # With its default it would wait for the other one.
        assert "another scaling or restart of this fleet is running" in result["msg"]
        assert fleet.active() == [1]
    finally:
        fleet.host.run("systemctl", "stop", "holder.service")


def test_systemd_that_does_not_answer_is_no_empty_fleet(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    sockets = ("/run/systemd/private", "/run/dbus/system_bus_socket")
    for path in sockets:
        fleet.host.run("mv", path, f"{path}.away")
    try:
        results = [fleet.scale(2, *flags, check=False) for flags in ((), ("--check",))]
    finally:
        for path in sockets:
            fleet.host.run("mv", f"{path}.away", path)
    for result in results:
        assert result["failed"]
        assert "read the workers of fleet web from systemd" in result["msg"]
        assert "before" not in result
    assert fleet.active() == fleet.enabled() == [1]


def test_broken_unit_file_is_refused_before_anything_changes(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    path = "/etc/systemd/system/celery-worker-web@.service"
    fleet.host.run("sh", "-c", f"cp {path} /tmp/kept && sed -i '/^ExecStart=/d; /^Type=/d' {path}")
    fleet.host.run("systemctl", "daemon-reload")
    try:
        result = fleet.scale(3, check=False)
        assert "systemd cannot start celery-worker-web@.service" in result["msg"]
        assert "Nothing was changed" in result["msg"]
        # What runs can still be stopped.
        assert fleet.scale(1)["after"] == 1
    finally:
        fleet.host.run("sh", "-c", f"cp /tmp/kept {path}; systemctl daemon-reload")


def test_hostile_status_file_is_unknown_and_not_followed(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(2)
    # Stopped, it does not write a good one over it.
    fleet.host.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", unit(2))
    try:
        fleet.host.run("ln", "--symbolic", "--force", "/etc/shadow", "/run/celery-worker/web-2/status.json")
        foretold = fleet.scale(1, "--check")
    finally:
        fleet.host.run("systemctl", "kill", "--kill-whom=main", "--signal=CONT", unit(2))
    assert foretold["stopped"] == [unit(2)], "one that does not answer is not kept in place of one that does"
    assert "it is a link" in foretold["unknown"][unit(2)]
    assert "root:" not in str(foretold)


def test_only_root_may(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    result = fleet.scale(2, "--become", "--become-user", "nobody", "-e", "ansible_remote_tmp=/tmp/nobody", check=False)
    assert "only root may" in result["msg"]
    assert "become: true" in result["msg"]
