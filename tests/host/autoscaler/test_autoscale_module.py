# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook and the module `autoscale` on two real hosts that share one fleet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from pair import POLICY, Pair

APP = """
- hosts: celery_workers
  gather_facts: false
  tasks:
    - ansible.builtin.file: {path: "{{ item }}", state: directory, mode: "0777"}
      loop: [/srv/scaled, /var/lib/scaled, /var/lib/scaled/release]
    - ansible.builtin.copy: {src: %s, dest: /srv/scaled/scaled_app.py, mode: "0644"}
"""
SCALED_APP = Path(__file__).parents[1] / "scaling" / "files" / "scaled_app.py"


@pytest.fixture(scope="module")
def deployed(host_for: Callable[[ExitStack, str], SystemdHost]) -> Iterator[Pair]:
    """Two hosts with the fleet."""
    with ExitStack() as hosts:
        found = Pair(host_for(hosts, "pair-first"), host_for(hosts, "pair-second"))
        app = found.first.scratch / "app.yml"
        app.write_text(APP % json.dumps(str(SCALED_APP)), encoding="utf-8")
        found.play(app)
        found.play("deploy")
        yield found


@pytest.fixture
def pair(deployed: Pair) -> Iterator[Pair]:
    """The same for one test, with one idle worker on each."""
    yield deployed
    deployed.reset()


def grown(pair: Pair, workers: tuple[int, int]) -> None:
    wait_until(lambda: pair.workers() == workers, 60, lambda: f"{pair.workers()} workers consume, not {workers}")


def test_a_burst_grows_the_fleet_evenly_and_calm_shrinks_it(pair: Pair) -> None:
    names = [f"burst-{number}" for number in range(10)]
    assert pair.workers() == (1, 1)
    pair.hold(*names)

    for flags in (["-e", "apply=false"], ["--check"]):
        told = pair.autoscale(*flags)
        assert "web: up, 2 -> 6 workers" in told.output
        assert pair.workers() == (1, 1)
    assert pair.autoscale("-e", '{"apply": false}').changed == 0

    burst = pair.autoscale()
    assert burst.changed == 2
    assert "because queue_depth 8 is above 3" in burst.output
    for host in pair.hosts:
        assert f"{host.name}: 1 -> 3 workers, 2 started" in burst.output
    grown(pair, (3, 3))

    again = pair.autoscale()
    assert (again.changed, pair.workers()) == (0, (3, 3))
    assert "scale-up is cooling down" in again.output

    pair.release()

    def shrunk() -> bool:
        pair.autoscale()
        return pair.workers() == (1, 1)

    wait_until(shrunk, 180, pair.workers, every=5)
    assert pair.autoscale().changed == 0
    assert pair.done() == sorted(names), "each task ran once"


def test_a_host_out_of_reach_is_not_taken_for_an_empty_one(pair: Pair) -> None:
    names = [f"lost-{number}" for number in range(10)]
    pair.hold(*names)

    # Ansible cannot reach it, its worker goes on.
    alone = pair.autoscale(check=False, ansible_port=9, ansible_control_path="none")
    assert alone.code != 0
    assert (alone.changed, pair.workers()) == (0, (1, 1))
    assert "web: hold, ? -> ? workers" in alone.output
    assert f"{pair.second.name}: not known, left as it is" in alone.output
    assert f"workers on {pair.second.name}" in alone.output

    # Nor can anybody else. By a connection that stays Ansible would wait until its worker's watchdog has expired.
    pair.pause()
    try:
        dead = pair.autoscale(check=False, ansible_control_path="none")
    finally:
        pair.unpause()
    assert dead.code != 0
    assert (dead.changed, pair.workers()) == (0, (1, 1))
    assert "web: hold, ? -> ? workers" in dead.output

    assert pair.autoscale().changed == 2
    grown(pair, (3, 3))
    pair.release()
    assert [name for name in pair.done() if name in names] == sorted(names)


def test_capacities_are_kept(pair: Pair) -> None:
    names = [f"full-{number}" for number in range(10)]
    pair.hold(*names)
    capacities = json.dumps({"autoscale_capacities": {pair.first.name: 2, pair.second.name: 3}})
    grew = pair.autoscale("-e", capacities)
    assert "no host has room, by autoscale_capacities, for so many of the wanted workers: 1" in grew.output
    grown(pair, (2, 3))


def test_the_module_alone_on_one_host(pair: Pair) -> None:
    """Grow, hold and shrink the workers of the second host, and replay what the module logged."""
    host = pair.second
    options = {
        "fleet": "web",
        "broker_url": pair.broker_url,
        "queues": ["web"],
        "policy": {**POLICY, "limits": {**POLICY["limits"], "min_workers": 1}},
        "state_path": "/var/lib/alone/web.json",
    }
    lines: list[dict[str, Any]] = []

    def cycle(*flags: str, **more: Any) -> dict[str, Any]:
        done = host.result("muejam.celery.autoscale", {**options, **more}, *flags)
        if "log_line" in done:
            lines.append(done["log_line"])
        return done

    names = [f"alone-{number}" for number in range(8)]
    pair.hold(*names)
    foretold = cycle("--check", "--diff")
    assert host.run("test", "-e", options["state_path"], check=False).returncode != 0
    assert "log_line" not in foretold
    advised = cycle(apply=False)
    assert (advised["changed"], advised["decision"]["to"]) == (False, 5)
    assert "before" not in advised

    done = cycle("--diff", wait=True)
    for key in ("before", "after", "started", "stopped", "diff"):
        assert foretold[key] == done[key], key
    assert (done["changed"], done["before"], done["after"], len(done["started"])) == (True, 1, 5, 4)
    assert done["decision"]["action"] == "up"
    assert host.output("stat", "--format=%a %U", options["state_path"]) == "600 root"

    again = cycle()
    assert (again["changed"], again["decision"]["action"], again["after"]) == (False, "hold", 5)
    assert again["observation"]["metrics"]["cpu"] >= 0

    pair.release()
    wait_until(lambda: cycle(wait=True)["after"] == 1, 60)
    recorded = [(line["action"], line["from"], line["to"], line["reasons"]) for line in lines]
    replayed = map(json.loads, replay(parse_policy(options["policy"]), map(json.dumps, lines)))
    assert [(line["action"], line["from"], line["to"], line["reasons"]) for line in replayed] == recorded


def test_a_wrong_policy_is_refused_with_every_fault(pair: Pair) -> None:
    wrong = {"limits": {"min_workers": 9, "max_workers": 8, "extra": 1}, "scale_up": {"any": []}}
    options = {"fleet": "web", "broker_url": pair.broker_url, "queues": ["web"], "policy": wrong}
    refused = pair.first.result("muejam.celery.autoscale", options, check=False)
    assert refused["failed"]
    assert {fault["path"] for fault in refused["problems"]} >= {"limits.extra", "scale_up.any"}
    assert "not-a-real-password" not in json.dumps(refused)


def test_a_broker_that_does_not_answer_is_no_empty_one(pair: Pair) -> None:
    pair.first.run("systemctl", "stop", "redis-server")
    try:
        unread = pair.autoscale(check=False)
    finally:
        pair.first.run("systemctl", "start", "redis-server")
    assert unread.code != 0
    assert unread.changed == 0
    assert "web: hold, 2 -> 2 workers" in unread.output
    assert "queues: Could not" in unread.output
    grown(pair, (1, 1))


def test_a_fleet_that_a_daemon_scales_is_left_to_it(pair: Pair) -> None:
    configuration = "/etc/celery-autoscaler/config.json"
    assert pair.second.result("muejam.celery.fleet_info", {"fleet": "web"})["owned_by_daemon"] is False
    kept = pair.second.output("cat", configuration)
    # The daemon itself goes on as it is; it would act after it has read this.
    acting = {**json.loads(kept), "mode": "act"}
    acting["fleets"] = [{**fleet, "policy": POLICY} for fleet in acting["fleets"]]
    pair.second.run("sh", "-c", f"cat > {configuration} <<'END'\n{json.dumps(acting)}\nEND")
    try:
        assert pair.second.result("muejam.celery.fleet_info", {"fleet": "web"})["owned_by_daemon"] is True
        refused = pair.autoscale(check=False)
        advised = pair.autoscale("-e", "apply=false")
    finally:
        pair.second.run("sh", "-c", f"cat > {configuration} <<'END'\n{kept}\nEND")
    assert refused.code != 0
    assert f"the autoscaler sizes it on {pair.second.name}" in refused.output
    assert "web: hold, 2 -> 2 workers" in advised.output


def test_a_fleet_that_nobody_has(pair: Pair) -> None:
    nobody = pair.play("autoscale", "-e", "fleet=none", check=False)
    assert nobody.code != 0
    assert 'has a fleet "none"' in nobody.output
    info = pair.first.result("muejam.celery.fleet_info", {"fleet": "none"})
    assert (info["exists"], info["owned_by_daemon"]) == (False, False)
    there = pair.first.result("muejam.celery.fleet_info", {})["fleets"]["web"]
    assert [worker["phase"] for worker in there["workers"]] == ["consuming"]
