# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role autoscaler on a real host: what it sets up, what it may do, what it leaves alone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from autoscaled_host import PASSWORD, POLICY, Scaled, variables

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import History
from muejam_bed.shell import wait_until

USER = "celery-autoscaler"
SERVICE = "celery-autoscaler.service"
CONFIG = "/etc/celery-autoscaler/config.json"
EXPOSURE = 2.0


def changed(printed: str) -> list[str]:
    """The names of the tasks that changed something, in this order."""
    found = []
    task = ""
    for line in printed.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.split("[", 1)[1].rsplit("]", 1)[0]
        elif line.startswith("changed: "):
            found.append(task)
    return found


def test_it_runs_and_comes_back_after_a_reboot(deployed: Scaled) -> None:
    for unit in (SERVICE, "celery-autoscaler-scale.socket"):
        assert deployed.show(unit, "ActiveState") == "active"
        assert deployed.show(unit, "UnitFileState") == "enabled"
    assert deployed.workers("web") == deployed.workers("bulk") == [1]


def test_a_schedule_is_left_to_it(scaled: Scaled) -> None:
    schedule = {"windows": [{"name": "always", "min_workers": 3}]}
    for flags in ((), ("--check",)):
        told = scaled.host.result("muejam.celery.schedule", {"fleet": "web", "schedule": schedule}, *flags)
        assert (told["changed"], told["kept_by"], told["paths"]) == (False, "celery-autoscaler", [])
        assert "no timer is installed beside it" in told["warnings"][0]
    assert scaled.host.run("ls", "/etc/celery-schedule", check=False).returncode != 0
    assert scaled.workers("web") == [1]


def test_it_asks_systemd_over_the_bus(deployed: Scaled) -> None:
    """Without it nothing would be wrong, but each look would read every property of every unit."""

    def on_the_bus() -> bool:
        return SERVICE in deployed.host.output("busctl", "list", "--no-pager", "--full").split()

    wait_until(on_the_bus, 60, "the service keeps a connection to the bus")
    ask = (
        "import sys; sys.path.insert(0, '/opt/muejam-celery/lib')\n"
        "from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.bus import Bus\n"
        "print(Bus().list_units('celery-worker-web@*.service'))"
    )
    told = deployed.run_as(USER, "/opt/muejam-celery/venv/bin/python", "-I", "-B", "-c", ask)
    assert told.strip() == "{'celery-worker-web@1.service': ('active', 'running', '')}"


@pytest.mark.parametrize("unit", [SERVICE, "celery-autoscaler-scale@1.service"])
def test_exposure(deployed: Scaled, unit: str) -> None:
    report = deployed.host.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout
    found = re.search(r"exposure level for .*: ([0-9.]+)", report)
    assert found, report
    assert float(found.group(1)) <= EXPOSURE, report


@pytest.mark.parametrize("verb", ["stop", "start", "restart", "disable", "kill"])
def test_its_user_has_no_power_over_units(deployed: Scaled, verb: str) -> None:
    unit = "celery-worker-web@1.service"
    before = deployed.traces()
    command = ["runuser", "-u", USER, "--", "systemctl", "--no-ask-password", verb, unit]
    assert deployed.host.run(*command, check=False).returncode != 0
    assert deployed.traces() == before


@pytest.mark.parametrize("path", [CONFIG, "/etc/celery-autoscaler/x", "/opt/muejam-celery/lib/x.py"])
def test_its_user_cannot_change_what_it_is_told_or_what_it_runs(deployed: Scaled, path: str) -> None:
    assert "ermission denied" in deployed.run_as(USER, "sh", "-c", f": >> {path}", check=False)


def test_only_its_user_can_ask(deployed: Scaled) -> None:
    connect = 'import socket; socket.socket(socket.AF_UNIX).connect("/run/celery-autoscaler-scale.sock")'
    assert "PermissionError" in deployed.run_as("celery", "python3", "-c", connect, check=False)
    assert deployed.host.output("stat", "--format=%a %U %G", CONFIG) == "640 root celery-autoscaler"


def test_its_user_puts_nothing_in_the_place_of_what_root_makes(deployed: Scaled) -> None:
    # systemd changes owner and mode of the socket by its path: a link there would change those of /etc/shadow.
    places = ("/run/celery-autoscaler-scale.sock", "/run/celery-worker-locks/celery-worker-web.lock")
    for place in places:
        attack = f"for cycle in 1 2 3; do rm -f {place}; ln -sf /etc/shadow {place} && echo linked; done"
        assert "linked" not in deployed.run_as(USER, "sh", "-c", attack, check=False)
    race = 'while :; do rm -f "$0"; ln -s /etc/shadow "$0"; done 2>/dev/null'
    before = deployed.host.output("stat", "--format=%a %U %G", "/etc/shadow")
    unit = f"--uid={USER}", "--unit=attacker", "--property=RuntimeMaxSec=60"
    deployed.host.run("systemd-run", *unit, "sh", "-c", race, places[0])
    try:
        for _turn in range(3):
            deployed.host.run("systemctl", "restart", "celery-autoscaler-scale.socket")
    finally:
        deployed.host.run("systemctl", "stop", "attacker.service", check=False)
    assert deployed.host.output("stat", "--format=%a %U %G", "/etc/shadow") == before
    assert deployed.ask(do="scale", fleet="web", workers=1)["ok"]


def test_root_asks_for_the_status_of_a_hostile_service(deployed: Scaled) -> None:
    status = "/run/celery-autoscaler/status.json"
    deployed.host.run("systemctl", "kill", "--signal=STOP", SERVICE)
    try:
        for place in (f"mkfifo {status}", f"ln -s /dev/zero {status}", f"truncate -s 1T {status}"):
            deployed.run_as(USER, "sh", "-c", f"rm -f {status}; {place}")
            # In a directory with what Python would take for its own.
            told = deployed.host.run(
                "sh", "-c", "cd /tmp; echo 'print(666)' >json.py; timeout 20 celery-autoscaler status", check=False
            )
            assert told.returncode == 2, told.stdout + told.stderr
            assert "666" not in told.stdout
            assert "Could not read the status" in told.stderr
    finally:
        deployed.run_as(USER, "rm", "-f", status)
        deployed.host.run("systemctl", "kill", "--signal=CONT", SERVICE)
        deployed.host.run("rm", "-f", "/tmp/json.py")


FETCH = """
import json, urllib.request
with urllib.request.urlopen("http://127.0.0.1:9541/", timeout=30) as answer:
    print(json.dumps([dict(answer.headers), answer.read().decode()]))
"""


READ_METRICS = """
import urllib.request
with urllib.request.urlopen("http://127.0.0.1:9541/metrics", timeout=30) as answer:
    print(answer.read().decode())
"""


def test_its_page_is_there_and_the_past_is_there_after_a_restart(deployed: Scaled) -> None:
    headers, page = json.loads(deployed.host.output("python3", "-c", FETCH))
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    for fleet in ("web", "bulk"):
        assert f"<h2>{fleet}<" in page
    assert PASSWORD not in page
    deployed.host.run("systemctl", "restart", SERVICE)
    path = "/var/lib/celery-autoscaler/history.json"
    before = History.of_text(deployed.host.output("cat", path))
    deployed.host.run("systemctl", "restart", SERVICE)
    after = History.of_text(deployed.host.output("cat", path))
    assert before.first_look() is not None
    assert after.first_look() == before.first_look()
    assert deployed.host.output("stat", "--format=%a %U", path) == f"600 {USER}"


def test_the_scaler_scales_a_fleet_within_its_limits(scaled: Scaled) -> None:
    told = scaled.ask(do="scale", fleet="web", workers=3, expected_workers=1)
    assert told["ok"], told
    assert (told["before"], told["after"], len(told["started"]), told["stopped"]) == (1, 3, 2, [])
    wait_until(lambda: scaled.workers("web") == [1, 2, 3], 60)
    told = scaled.ask(do="scale", fleet="web", workers=2, expected_workers=3)
    assert (told["ok"], told["before"], told["after"], len(told["stopped"])) == (True, 3, 2, 1), told
    wait_until(lambda: len(scaled.workers("web")) == 2, 60)
    refused = scaled.ask(do="scale", fleet="web", workers=3, expected_workers=1)
    assert "1 workers were expected, but there are 2" in refused["error"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"do": "scale", "fleet": "web", "workers": 4}, "outside the limits of fleet web, 1 to 3"),
        ({"do": "scale", "fleet": "web", "workers": 0}, "outside the limits"),
        ({"do": "scale", "fleet": "bulk", "workers": 2}, "fleet bulk has no policy"),
        ({"do": "scale", "fleet": "other", "workers": 2}, "names no fleet other"),
        ({"do": "restart", "fleet": "web", "worker": "celery-worker-web@1.service"}, "not to be restarted"),
        ({"do": "restart", "fleet": "web", "worker": "dbus.service"}, "no worker of fleet web"),
        ({"do": "stop"}, "known are scale and restart"),
    ],
)
def test_the_scaler_refuses_everything_else(deployed: Scaled, request_: dict[str, Any], says: str) -> None:
    before = deployed.traces()
    told = deployed.ask(**request_)
    assert told["ok"] is False
    assert says in told["error"]
    assert deployed.traces() == before
    # The journal has who asked for what, and nothing is left of the request.
    wait_until(lambda: says in deployed.host.journal("celery-autoscaler-scale@*"), 20)
    listing = ["systemctl", "--plain", "--no-legend", "list-units", "--all", "celery-autoscaler-scale@*"]
    wait_until(lambda: deployed.host.output(*listing) == "", 20)


@pytest.mark.parametrize("flags", [[], ["--check", "--diff"]], ids=["run", "rehearsal"])
def test_a_second_run_changes_nothing_least_of_all_the_number(scaled: Scaled, flags: list[str]) -> None:
    scaled.ask(do="scale", fleet="web", workers=3)
    wait_until(lambda: scaled.workers("web") == [1, 2, 3], 60)
    assert changed(scaled.deploy(*flags)) == []
    assert scaled.workers("web") == [1, 2, 3]


def test_bad_policies_are_refused_before_anything_is_touched(deployed: Scaled) -> None:
    before = deployed.traces()
    conditions = [
        {"metric": "cpu", "above": 80},
        {"metric": "cpus", "above": 80},
        {"metric": "cpu", "above": 9, "for": "?"},
    ]
    policy = {"limits": {"min_workers": 9, "max_workers": 3}, "scale_up": {"any": conditions}}
    said = " ".join(deployed.deploy(check=False, policy=policy, celery_autoscaler_interval="soon").split())
    for path in (
        "celery_worker_fleets[0].policy.limits.min_workers",
        "celery_worker_fleets[0].policy.scale_up.any[1].metric",
        "celery_worker_fleets[0].policy.scale_up.any[2].for",
        "celery_autoscaler_interval: must be a duration",
    ):
        assert path in said
    assert "Traceback" not in said
    assert deployed.traces() == before


def test_a_drained_fleet_stays_drained_until_the_next_deployment(scaled: Scaled) -> None:
    def drain() -> str:
        return scaled.host.playbook("playbooks/drain.yml", extra_vars={**variables(), "fleet": "web"}).stdout

    before = scaled.show(SERVICE, "InvocationID")
    drain()
    assert scaled.workers("web") == []
    # Its floor is one worker, and it looks every second.
    assert "fleet web has no policy" in scaled.ask(do="scale", fleet="web", workers=1)["error"]
    assert changed(drain()) == []
    assert scaled.workers("web") == []
    scaled.deploy()
    assert scaled.workers("web") == [1]
    assert scaled.ask(do="scale", fleet="web", workers=2)["ok"]
    assert scaled.show(SERVICE, "InvocationID") == before


# From here on each test deploys something else, and leaves it to the next.


def test_a_changed_policy_is_read_and_nothing_restarted(scaled: Scaled) -> None:
    unit = "celery-worker-web@1.service"
    before = (scaled.show(SERVICE, "InvocationID"), scaled.show(unit, "InvocationID"))
    policy = {**POLICY, "limits": {"min_workers": 1, "max_workers": 2}}
    since = scaled.host.output("date", "+%s")
    scaled.deploy(policy=policy, celery_autoscaler_restart_stuck=True)
    assert (scaled.show(SERVICE, "InvocationID"), scaled.show(unit, "InvocationID")) == before
    log = ("journalctl", "-u", SERVICE, f"--since=@{since}", "--output=cat", "--no-pager")
    wait_until(lambda: '"event": "reloaded"' in scaled.host.output(*log), 20)
    assert "limits of fleet web, 1 to 2" in scaled.ask(do="scale", fleet="web", workers=3)["error"]
    # Now stuck workers may be restarted, one at a time.
    pid = scaled.show(unit, "MainPID")
    # A worker that holds still is not restarted before it was asked for twice.
    scaled.host.run("kill", "-STOP", pid)
    try:
        first, second = scaled.ask_twice(do="restart", fleet="web", worker=unit)
    finally:
        scaled.host.run("kill", "-CONT", pid)
    assert (first, second["ok"]) == ({"ok": True, "restarted": [unit]}, False)
    wait_until(
        lambda: scaled.show(unit, "InvocationID") != before[1] and scaled.show(unit, "ActiveState") == "active", 60
    )


def test_one_that_only_advises_leaves_the_number_to_the_inventory(scaled: Scaled) -> None:
    assert scaled.ask(do="scale", fleet="web", workers=2)["ok"]
    assert PASSWORD not in scaled.deploy("-vvv", "--diff", celery_autoscaler_mode="advise")
    assert scaled.workers("web") == [1]
    assert "mode is advise" in scaled.ask(do="scale", fleet="web", workers=2)["error"]
    again = scaled.deploy("-vvv", "--diff", "--check", celery_autoscaler_mode="advise")
    assert changed(again) == []
    assert PASSWORD not in again


def test_no_secret_is_in_sight(deployed: Scaled) -> None:
    for look in (
        ["ps", "axww", "-o", "args"],
        ["journalctl", "--no-pager"],
        ["systemctl", "show", SERVICE, "celery-autoscaler-scale.socket"],
        ["sh", "-c", "cat /run/celery-autoscaler/*.json /usr/local/bin/celery-autoscaler"],
    ):
        assert PASSWORD not in deployed.host.run(*look, check=False).stdout
    metrics = deployed.host.output("python3", "-c", READ_METRICS)
    assert "celery_autoscaler_" in metrics
    assert PASSWORD not in metrics


def test_removing_it_leaves_the_workers_alone(deployed: Scaled) -> None:
    before = [deployed.show(f"celery-worker-{fleet}@1.service", "InvocationID") for fleet in ("web", "bulk")]
    deployed.deploy(celery_autoscaler_state="absent")
    assert deployed.show(SERVICE, "LoadState") == "not-found"
    after = [deployed.show(f"celery-worker-{fleet}@1.service", "InvocationID") for fleet in ("web", "bulk")]
    assert after == before


def test_to_observe_needs_no_policy(deployed: Scaled) -> None:
    deployed.deploy(celery_autoscaler_mode="observe", policy=None)
    assert deployed.show(SERVICE, "ActiveState") == "active"
    told = json.loads(deployed.host.output("cat", CONFIG))
    assert ["policy" in fleet for fleet in told["fleets"]] == [False, False]


def test_with_the_last_fleet_that_it_scales_it_goes_itself(deployed: Scaled) -> None:
    deployed.deploy()
    assert deployed.ask(do="scale", fleet="web", workers=2)["ok"]
    deployed.deploy(state="absent")
    assert deployed.workers("web") == []
    unit = "/etc/systemd/system/celery-worker-web@.service"
    assert deployed.host.run("test", "-e", unit, check=False).returncode != 0
    assert deployed.show(SERVICE, "LoadState") == "not-found"
    left = "/etc/celery-autoscaler /run/celery-autoscaler /var/lib/celery-autoscaler"
    assert deployed.host.run("sh", "-c", f"ls -d {left}", check=False).stdout == ""
    assert deployed.workers("bulk") == [1]
    assert changed(deployed.deploy("--check", state="absent")) == []
