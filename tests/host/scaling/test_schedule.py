# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on a systemd host that follows a schedule by timers: over real edges, after faults, and without a trace.

A container has the clock of its machine, which nobody sets for a test. So the edges of these schedules come within
minutes, and when those of a day come is asked of systemd.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import yaml
from scaled_fleet import Fleet

from muejam_bed.shell import CHECKOUT, wait_until
from muejam_bed.systemd_host import SystemdHost

TIMER, SERVICE = "celery-schedule-web.timer", "celery-schedule-web.service"
BRIEF = [
    {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
    {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
]
EXPOSURE = 2.0


def keep(host: SystemdHost, windows: list[dict[str, Any]], *flags: str, **options: Any) -> dict[str, Any]:
    """Run the module with windows on the clock of UTC."""
    check = options.pop("check", True)
    schedule = {"timezone": "UTC", "windows": windows}
    arguments = {"fleet": "web", "limits": {"min_workers": 1, "max_workers": 20}, "schedule": schedule, **options}
    return host.result("muejam.celery.schedule", arguments, *flags, check=check)


def show(host: SystemdHost, unit: str, name: str) -> str:
    """A property of a unit."""
    return host.output("systemctl", "show", f"--property={name}", "--value", unit)


def traces(host: SystemdHost) -> str:
    """Every file that a schedule can leave behind, and every unit."""
    files = host.run(
        "sh", "-c", "find / -xdev -name '*celery-schedule*' 2>/dev/null; ls /var/lib/systemd/timers", check=False
    )
    units = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "celery-schedule-*", check=False)
    return "\n".join(line for line in (files.stdout + units.stdout).splitlines() if "celery-schedule" in line)


def wall(seconds: float) -> str:
    """A time of day of UTC."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%H:%M}"


def moment(seconds: float) -> str:
    """An instant, RFC 3339."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture(scope="module")
def cron(deployed: SystemdHost) -> Iterator[None]:
    """Have cron on the host for the tests that ask for it, and none afterwards."""
    deployed.run("apt-get", "update", "-qq")
    deployed.run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "cron")
    yield
    deployed.run("apt-get", "purge", "--quiet", "--yes", "cron")


@pytest.fixture(autouse=True)
def no_schedule(deployed: SystemdHost) -> Iterator[None]:
    """Leave the host without a schedule."""
    yield
    deployed.result("muejam.celery.schedule", {"fleet": "web", "state": "absent"})


def test_what_holds_is_in_force_at_once_and_a_removed_schedule_leaves_nothing(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    host = fleet.host
    host.run("sh", "-c", "printf '[Timer]\\nOnCalendar=hourly\\n' >/etc/systemd/system/celery-schedule-mine.timer")
    mine = traces(host)
    foretold = keep(host, BRIEF, "--check", "--diff")
    assert foretold["changed"]
    assert traces(host) == mine
    assert fleet.active() == [1]
    done = keep(host, BRIEF)
    floor = done["in_force"]["min_workers"]
    assert floor == (5 if 8 <= datetime.now(timezone.utc).hour < 18 else 2)
    assert (foretold["before"], foretold["after"], done["before"], done["after"]) == (1, floor, 1, floor)
    assert len(fleet.active()) == len(fleet.enabled()) == floor
    assert done["kept_by"] == "systemd"
    assert [entry["on_calendar"] for entry in done["entries"]] == ["*-*-* 08:00:00 UTC", "*-*-* 18:00:00 UTC"]
    assert show(host, TIMER, "ActiveState") == "active"
    assert show(host, TIMER, "UnitFileState") == "enabled"
    # While a timer runs what it is for, systemd tells no next time.
    wait_until(lambda: re.search(r" (08|18):00:00 UTC", show(host, TIMER, "NextElapseUSecRealtime")), 60)
    assert host.run("systemd-analyze", "verify", TIMER, SERVICE).stderr == ""
    report = host.run("systemd-analyze", "security", "--no-pager", SERVICE, check=False).stdout
    found = re.search(r"exposure level for .*: ([0-9.]+)", report)
    assert found, report
    assert float(found.group(1)) <= EXPOSURE, report
    assert not keep(host, BRIEF)["changed"]
    assert not keep(host, BRIEF, "--check", "--diff")["changed"]
    # Another floor touches the timer's times no more than it has to.
    changed = keep(host, [{**BRIEF[0], "max_workers": 19}, BRIEF[1]])
    assert changed["paths"] == ["/etc/celery-schedule/web.json"]
    gone = host.result("muejam.celery.schedule", {"fleet": "web", "state": "absent"})
    assert (gone["changed"], gone["entries"], gone["in_force"]) == (True, [], None)
    assert traces(host) == mine
    assert len(fleet.active()) == floor
    assert not host.result("muejam.celery.schedule", {"fleet": "web", "state": "absent"})["changed"]
    host.run("rm", "/etc/systemd/system/celery-schedule-mine.timer")


def test_two_then_five_then_two_drained_and_no_task_lost(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    host = fleet.host
    already = len(fleet.done())
    start = (time.time() // 60 + 1) * 60
    if start - time.time() < 20:
        start += 60
    peak = {"name": "peak", "time": f"{wall(start)}-{wall(start + 60)}", "min_workers": 5}
    base = {"name": "base", "min_workers": 2}
    assert keep(host, [base, peak])["after"] == 2
    assert len(fleet.active()) == 2
    wait_until(lambda: len(fleet.active()) == 5, 110, lambda: host.journal("celery-schedule-*"))
    assert start <= time.time() < start + 50
    names = [f"held-{number}" for number in range(5)]
    fleet.hold(*names)
    wait_until(lambda: len(fleet.enabled()) == 2, 110, lambda: host.journal("celery-schedule-*"))
    # Those that go still have their tasks, and what is released comes to its end.
    fleet.release(*names)
    wait_until(lambda: len(fleet.done()) - already == 5, 60)
    wait_until(lambda: len(fleet.active()) == 2, 60)
    assert sorted(fleet.done()[already:]) == sorted(names)
    # What sets the number says so when it is done, a moment after the last worker has gone.
    wait_until(lambda: "window base holds, 2 to 20 workers: 5 -> 2" in host.journal(SERVICE), 60)
    assert "window peak holds, 5 to 20 workers: 2 -> 5" in host.journal(SERVICE)
    assert show(host, SERVICE, "Result") == "success"


def test_an_edge_that_fails_shows_and_is_tried_again(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    host = fleet.host
    keep(host, [{"name": "base", "min_workers": 2}])
    edge = float(int(time.time()) + 40)
    window = {"name": "campaign", "from": moment(edge), "until": moment(edge + 3600), "min_workers": 3}
    keep(host, [{"name": "base", "min_workers": 2}, window])
    schedule = "/etc/celery-schedule/web.json"
    host.run("mv", schedule, f"{schedule}.away")
    wait_until(lambda: show(host, SERVICE, "SubState") == "auto-restart", 90, lambda: host.journal(SERVICE))
    assert time.time() >= edge
    assert show(host, SERVICE, "Result") == "exit-code"
    assert "Could not read the schedule /etc/celery-schedule/web.json" in host.journal(SERVICE)
    assert len(fleet.active()) == 2
    host.run("mv", f"{schedule}.away", schedule)
    wait_until(lambda: len(fleet.active()) == 3, 60, lambda: host.journal(SERVICE))
    wait_until(lambda: show(host, SERVICE, "Result") == "success", 30, lambda: host.journal(SERVICE))


def test_a_crontab_has_the_times_and_what_it_runs_sets_the_number(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    host = fleet.host
    keep(host, [{"name": "base", "min_workers": 2}])
    done = keep(host, BRIEF, timer="cron")
    assert done["kept_by"] == "cron"
    assert [entry["schedule"] for entry in done["entries"]] == ["0 8 * * *", "0 18 * * *"]
    assert host.run("test", "-e", f"/etc/systemd/system/{TIMER}", check=False).returncode != 0
    lines = host.output("cat", "/etc/cron.d/celery-schedule-web").splitlines()
    jobs = [line for line in lines if " root " in line]
    assert [line.partition(" root ")[0] for line in jobs] == ["@reboot", "0 8 * * *", "0 18 * * *", "0 * * * *"]
    fleet.scale(1)
    # What cron would have its shell run.
    host.run("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", jobs[0].partition(" root ")[2])
    assert len(fleet.active()) == done["in_force"]["min_workers"]
    assert not keep(host, BRIEF, timer="cron")["changed"]


@pytest.mark.usefixtures("cron")
def test_cron_goes_over_an_edge(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    # Cron looks for new files at the full minute.
    edge = (time.time() // 60 + 1) * 60
    if edge - time.time() < 20:
        edge += 60
    window = {"name": "campaign", "from": moment(edge), "until": moment(edge + 3600), "min_workers": 3}
    assert keep(fleet.host, [window], timer="cron")["after"] == 1
    assert fleet.active() == [1]
    wait_until(lambda: len(fleet.active()) == 3, 150, lambda: fleet.host.journal("cron*"))
    assert time.time() >= edge


@pytest.mark.parametrize("timer", ["systemd", "cron"])
def test_an_edge_while_the_host_was_off_is_made_up_for(
    fleet_of: Callable[[int], Fleet], timer: str, request: pytest.FixtureRequest
) -> None:
    fleet = fleet_of(1)
    host = fleet.host
    if timer == "cron":
        request.getfixturevalue("cron")
    edge = float(int(time.time()) + 40)
    window = {"name": "campaign", "from": moment(edge), "until": moment(edge + 3600), "min_workers": 3}
    done = keep(host, [window], timer=timer)
    assert (done["kept_by"], done["after"]) == (timer, 1)
    host.cut_power()
    assert time.time() < edge
    # Cron has its own line for the edge at the next full minute, and that one is to be missed too.
    missed = edge if timer == "systemd" else math.ceil(edge / 60) * 60
    wait_until(lambda: time.time() > missed + 1, 120)
    host.power_on()
    wait_until(lambda: len(fleet.active()) == 3, 90, lambda: host.journal(SERVICE) + host.journal("cron*"))
    assert len(fleet.enabled()) == 3


def test_the_recipes_of_the_docs_are_in_force_at_once(fleet_of: Callable[[int], Fleet]) -> None:
    fleet = fleet_of(1)
    page = (CHECKOUT / "docs/schedules.md").read_text(encoding="utf-8")
    recipes = re.findall(r"^### (.+?)\n.*?```yaml\n(.*?)```", page, re.S | re.M)
    assert [title for title, _text in recipes] == ["Office hours", "Weekend", "Campaign"]
    for _title, text in recipes:
        done = fleet.host.result("muejam.celery.schedule", {"fleet": "web", **yaml.safe_load(text)})
        assert done["in_force"]["min_workers"] <= done["after"] <= done["in_force"]["max_workers"]
        assert len(fleet.active()) == done["after"]
        assert show(fleet.host, TIMER, "ActiveState") == "active"


@pytest.mark.parametrize(
    ("windows", "options", "says"),
    [
        ([{"time": "08:00-08:00"}], {}, "schedule.windows[0].time"),
        ([{"days": ["someday"], "time": "08:00-09:00"}], {}, "schedule.windows[0].days"),
        ([{"from": "2030-12-02 08:00", "until": "2030-12-01 08:00"}], {}, "schedule.windows[0]"),
        (BRIEF, {"limits": {"min_workers": 5, "max_workers": 4}}, "limits.min_workers"),
        (BRIEF, {"limits": {"scale_up_max": 4}}, "only min_workers and max_workers"),
        (BRIEF, {"schedule": {"timezone": "Mars/Olympus", "windows": BRIEF}}, "schedule.timezone"),
        (BRIEF, {"fleet": "wbe"}, "no fleet wbe; its fleets are: web"),
    ],
)
def test_what_is_wrong_is_told_before_anything_changes(
    deployed: SystemdHost, windows: list[dict[str, Any]], options: dict[str, Any], says: str
) -> None:
    before = traces(deployed)
    told = keep(deployed, windows, check=False, **options)
    assert told["failed"]
    assert says in told["msg"]
    assert traces(deployed) == before
