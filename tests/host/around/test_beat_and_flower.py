# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One beat over two hosts, whatever happens to it, and a Flower that asks for a login and drains. In this order."""

from __future__ import annotations

import json

import pytest
from around import BEAT, FLOWER, PASSWORD, USER_PASSWORD, Around, changed, exposure, secrets_on, shown

from muejam_bed.shell import wait_until


def gaps(around: Around) -> list[float]:
    times = sorted(at for _sender, at in around.ticks())
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


def running(around: Around) -> list[str]:
    return [host.name for host in around.hosts if shown(host, BEAT, "MainPID") != "0"]


def test_a_rehearsal_on_bare_hosts_runs_to_its_end(around: Around):
    for playbook in ("beat", "flower"):
        rehearsal = around.play(playbook, "--check", "--diff")
        assert changed(rehearsal) > 0
        assert PASSWORD not in rehearsal.stdout + rehearsal.stderr
    assert around.first.run("ls", "/etc/celery-beat", "/etc/celery-flower", check=False).returncode != 0


def test_what_its_fleet_has_to_bring_is_asked_for(around: Around):
    refused = around.play("beat", check=False)
    assert refused.returncode != 0
    assert "Deploy the fleet there first" in refused.stdout
    assert running(around) == []


def test_beat_runs_on_one_of_two_hosts_and_each_task_is_sent_once(around: Around):
    around.play("deploy")
    printed = around.play("beat", "-vvv", "--diff")
    assert PASSWORD not in printed.stdout + printed.stderr
    assert running(around) == [around.first.name]
    assert shown(around.first, BEAT, "Type") == "notify"
    assert around.second.run("systemctl", "cat", BEAT, check=False).returncode != 0
    assert around.second.run("ls", "/etc/celery-beat/web.env", check=False).returncode != 0
    wait_until(lambda: len(around.ticks()) >= 6, 30)
    assert len({sender for sender, _at in around.ticks()}) == 1
    assert min(gaps(around)) > 0.5
    assert shown(around.first, BEAT, "StatusText").startswith("ticking: ")
    assert changed(around.play("beat")) == 0
    assert changed(around.play("beat", "--check")) == 0


def test_beat_is_hardened_and_tells_no_secret(around: Around):
    assert exposure(around.first, BEAT) <= 2.0
    assert secrets_on(around.first, BEAT) == []
    assert around.first.output("stat", "--format=%a %U", "/etc/celery-beat/web.env") == "600 root"


def test_a_move_that_cannot_be_finished_leaves_it_where_it_is(around: Around):
    around.variables = {"celery_beat_host": around.second.name}
    alone = around.play("beat", "--limit", around.second.name, check=False)
    assert alone.returncode != 0
    assert f"it may still run on {around.first.name}" in " ".join(alone.stdout.split())
    away = around.play("beat", "--limit", around.first.name, check=False)
    assert away.returncode != 0
    assert "this run leaves that host out" in away.stdout
    # Its new host is not ready for it.
    around.second.run("mv", "/srv/around", "/srv/elsewhere")
    broken = around.play("beat", check=False)
    around.second.run("mv", "/srv/elsewhere", "/srv/around")
    assert broken.returncode != 0
    assert running(around) == [around.first.name]


def test_it_moves_and_there_is_never_a_second_one(around: Around):
    around.variables = {"celery_beat_host": around.second.name}
    around.begin_anew()
    wait_until(lambda: around.ticks(), 20)
    before = {sender for sender, _at in around.ticks()}
    around.play("beat")
    assert running(around) == [around.second.name]
    assert shown(around.first, BEAT, "LoadState") == "not-found"
    assert around.first.run("ls", "/etc/celery-beat/web.env", check=False).returncode != 0
    wait_until(lambda: len({sender for sender, _at in around.ticks()}) == 2, 20)
    ticks = around.ticks()
    first = [at for sender, at in ticks if sender in before]
    second = [at for sender, at in ticks if sender not in before]
    assert max(first) < min(second)
    assert min(gaps(around)) > 0.5
    assert changed(around.play("beat")) == 0


def test_one_that_stands_still_is_started_anew(around: Around):
    quick = {"WatchdogSec": 6, "TimeoutStopSec": 2}
    around.variables = {
        "celery_beats": [{"fleet": "web", "unit_options": quick}],
        "celery_beat_host": around.second.name,
    }
    assert changed(around.play("beat")) > 0
    pid = shown(around.second, BEAT, "MainPID")
    around.second.run("kill", "-STOP", pid)
    wait_until(lambda: shown(around.second, BEAT, "MainPID") not in (pid, "0"), 30)
    assert shown(around.second, BEAT, "NRestarts") != "0"
    around.begin_anew()
    wait_until(lambda: len(around.ticks()) >= 2, 20)


def test_without_a_broker_it_goes_on_trying_and_says_so(around: Around):
    pid = shown(around.second, BEAT, "MainPID")
    around.first.run("systemctl", "stop", "redis-server")
    try:
        # Longer than its watchdog takes.
        wait_until(lambda: "could not be sent" in shown(around.second, BEAT, "StatusText"), 30)
        around.second.run("systemctl", "restart", "--no-block", BEAT)
        wait_until(lambda: "waiting for the broker" in shown(around.second, BEAT, "StatusText"), 30)
        assert shown(around.second, BEAT, "ActiveState") == "activating"
        assert shown(around.second, BEAT, "MainPID") != pid
    finally:
        around.first.run("systemctl", "start", "redis-server")
    around.begin_anew()
    wait_until(lambda: len(around.ticks()) >= 2, 60)
    assert shown(around.second, BEAT, "ActiveState") == "active"
    assert shown(around.second, BEAT, "NRestarts") == "0"


def test_one_that_the_inventory_names_no_more_is_gone(around: Around):
    around.variables = {"celery_beats": []}
    around.play("beat")
    assert running(around) == []
    assert around.second.run("ls", "/var/lib/celery-beat/web", check=False).returncode != 0
    assert changed(around.play("beat")) == 0


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"celery_flower_users": {}}, "celery_flower_users: missing"),
        (
            {"celery_flower_users": {}, "celery_flower_authentication": "none", "celery_flower_address": "0.0.0.0"},
            "0.0.0.0 is reached from other hosts",
        ),
    ],
)
def test_flower_is_not_started_open(around: Around, variables: dict[str, object], says: str):
    around.variables = {"celery_beats": [], **variables}
    refused = around.play("flower", check=False)
    assert refused.returncode != 0
    assert says in " ".join(refused.stdout.split())
    assert changed(refused) == 0


def test_flower_asks_for_a_login_and_sees_the_workers(around: Around):
    around.variables = {"celery_beats": []}
    printed = around.play("flower", "-vvv", "--diff")
    for secret in (PASSWORD, USER_PASSWORD):
        assert secret not in printed.stdout + printed.stderr
    assert changed(around.play("flower")) == 0
    assert changed(around.play("flower", "--check")) == 0
    for login in (None, "ops:wrong"):
        assert around.flower("/workers", login=login)[0] == 401
        assert around.flower("/api/workers", login=login)[0] == 401
    nodes = {f"web-1@{host.output('hostname')}" for host in around.hosts}
    wait_until(lambda: nodes <= set(json.loads(around.flower("/api/workers?refresh=1")[1])), 60)


def test_flower_is_hardened_and_tells_no_secret(around: Around):
    assert exposure(around.first, FLOWER) <= 2.0
    assert secrets_on(around.first, FLOWER) == []
    modes = around.first.output("stat", "--format=%a %U %G", "/etc/celery-flower/flowerconfig.py")
    assert modes == "640 root celery-flower"


def test_flowers_button_drains_a_worker_that_has_a_task(around: Around):
    for name in ("one", "two", "three", "four", "five", "six"):
        around.call("hold", name)
    unit = "celery-worker-web@1.service"
    wait_until(lambda: "2 running" in shown(around.first, unit, "StatusText"), 30)
    node = f"web-1@{around.first.output('hostname')}"
    assert around.flower(f"/api/worker/shutdown/{node}", "POST", None)[0] == 401
    assert around.flower(f"/api/worker/shutdown/{node}", "POST")[0] == 200
    wait_until(lambda: shown(around.first, unit, "StatusText").startswith("draining: 2 running"), 30)
    for host in around.hosts:
        for name in ("one", "two", "three", "four", "five", "six"):
            host.run("touch", f"/run/around/release/{name}")
    wait_until(lambda: shown(around.first, unit, "ActiveState") == "inactive", 60)
    assert shown(around.first, unit, "ExecMainStatus") == "0"
    # The journal takes a moment to get the last words of what has ended.
    wait_until(lambda: "Drained in" in around.first.journal(unit), 30)

    def done() -> list[str]:
        return sorted(
            " ".join(host.run("cat", "/run/around/done", check=False).stdout for host in around.hosts).split()
        )

    wait_until(lambda: len(done()) >= 6, 60)
    # Each once: what it had and had not begun went back, and the other host's worker took it.
    assert done() == sorted(["one", "two", "three", "four", "five", "six"])
    around.first.result("muejam.celery.scale", {"fleet": "web", "workers": 1})
    assert shown(around.first, unit, "ActiveState") == "active"


def test_what_flower_has_seen_is_kept_over_a_restart(around: Around):
    wait_until(lambda: len(json.loads(around.flower("/api/tasks")[1])) >= 6, 30)
    before = set(json.loads(around.flower("/api/tasks")[1]))
    around.first.run("systemctl", "restart", FLOWER)
    wait_until(lambda: around.flower_answers(), 30)
    assert before <= set(json.loads(around.flower("/api/tasks")[1]))


def test_flower_goes_with_all_that_it_had(around: Around):
    around.variables = {"celery_beats": [], "celery_flower_state": "absent"}
    around.play("flower")
    assert shown(around.first, FLOWER, "LoadState") == "not-found"
    assert around.first.run("ls", "/etc/celery-flower", "/var/lib/celery-flower", check=False).stdout == ""
    assert changed(around.play("flower")) == 0
