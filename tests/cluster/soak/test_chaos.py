# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler in a cluster while things break around it: nothing lost, no wrong decision, all of it told."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from typing import Any

import pytest
from autoscaler_image import ensure_autoscaler_image

from muejam_cluster import faults
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

FLEET = "web"
FLOOR, CEILING = 1, 4
COOLDOWN_UP, COOLDOWN_DOWN, CALM = 4.0, 5.0, 4.0
LONG_COOLDOWN = 25.0
INTERVAL = 5.0
"""Seconds. With a shorter one the Lease lasts longer than an interval (leading/election.py)."""
LENGTH = 8.0
OUTAGE = 30.0
POLICY: dict[str, Any] = {
    "limits": {
        "min_workers": FLOOR,
        "max_workers": CEILING,
        "cooldown_up": COOLDOWN_UP,
        "cooldown_down": COOLDOWN_DOWN,
        "scale_up_max": 1,
        "scale_down_max": 1,
    },
    "scale_up": {"any": [{"metric": "queue_depth", "above": 5}], "add": {"workers": 1}},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": CALM}], "remove": {"workers": 1}},
}
MEBIBYTE = 2**20

pytestmark = pytest.mark.soak


@pytest.fixture
def scaled(deployed: Deployed) -> Deployed:
    """A fleet at its floor, whose autoscaler leads."""
    return bring(deployed, {"policy": POLICY})


def bring(deployed: Deployed, fleet: dict[str, Any], interval: str = "2s") -> Deployed:
    image = ensure_autoscaler_image()
    deployed.cluster.load_image(image)
    deployed.deploy(
        {"name": FLEET, "workers": fleet["policy"]["limits"]["min_workers"], **fleet},
        celery_autoscaler_image=image,
        celery_autoscaler_interval=interval,
        celery_autoscaler_mode="act",
    )
    deployed.wait_for_leader()
    return deployed


def grown(scaled: Deployed, tasks: int) -> None:
    """Send tasks, and wait until the fleet is at its ceiling."""
    scaled.load(FLEET).send(tasks, LENGTH, LENGTH)
    wait_until(lambda: len(scaled.consuming(FLEET)) == CEILING, 120, lambda: f"it grows: {scaled.log()[-5:]}")


def finish(scaled: Deployed) -> None:
    """Wait until all tasks are done and the fleet is back at its floor, and look at everything that was decided."""
    load = scaled.load(FLEET)
    wait_until(lambda: load.left() == 0, 300, lambda: f"{load.left()} tasks are left: {scaled.log()[-5:]}")
    wait_until(lambda: scaled.consuming(FLEET) == [one.id for one in scaled.workers(FLEET)], 120, "nobody drains")
    wait_until(lambda: scaled.wanted(FLEET) == FLOOR, 120, lambda: f"it shrinks: {scaled.log()[-5:]}")
    assert set(load.sent) <= {one["id"] for one in load.runs()}
    for line in scaled.decisions():
        # Whatever was unknown shrank nothing.
        assert line["action"] != "down" or line["metrics"]["queue_depth"] < 1, line
        assert line["workers"] is None or FLOOR <= line["workers"] <= CEILING, line


def events(scaled: Deployed) -> list[str]:
    return [line["event"] for line in scaled.log() if "event" in line]


def metric(scaled: Deployed, sample: str) -> float:
    """Return the sum over the pods of the autoscaler of one sample, which is named as Prometheus writes it."""
    lines = [line for pod in scaled.autoscalers() for line in scaled.metrics(pod).splitlines()]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample)


def test_leader_and_follower_are_killed_at_once(scaled: Deployed) -> None:
    scaled.load(FLEET).send(40, 2, 2)
    wait_until(lambda: scaled.wanted(FLEET) > FLOOR, 60, "it begins to grow")
    pods = scaled.autoscalers()
    for pod in pods:
        faults.signal_main(scaled.cluster, scaled.namespace, pod, "KILL")
    killed = time.time()
    wait_until(lambda: [scaled.restarts(pod) for pod in pods] == [1, 1], 60, "the kubelet starts them anew")
    wait_until(lambda: scaled.decisions()[-1]["at"] > killed, 60, "one of them decides")
    wait_until(lambda: scaled.wanted(FLEET) == CEILING, 60, lambda: f"it goes on to grow: {scaled.log()[-5:]}")
    finish(scaled)
    assert not scaled.load(FLEET).twice()
    assert "state_unusable" not in events(scaled)
    assert events(scaled).count("started") == 4, "two starts of each, told in the log"
    kept_cooldowns(scaled, COOLDOWN_UP, COOLDOWN_DOWN)


def test_the_leader_alone_is_killed(deployed: Deployed) -> None:
    # Longer than it takes until another one leads, which has to know of what was done before.
    limits = {**POLICY["limits"], "max_workers": FLOOR + 2, "cooldown_up": LONG_COOLDOWN}
    scaled = bring(deployed, {"policy": {**POLICY, "limits": limits}}, f"{INTERVAL:.0f}s")
    leader = scaled.leader()
    [follower] = set(scaled.autoscalers()) - {leader}
    assert (leads(scaled, leader), leads(scaled, follower)) == (1, 0)
    scaled.load(FLEET).send(70, 2, 2)
    wait_until(lambda: steps(scaled), 60, lambda: f"it begins to grow: {scaled.log()[-5:]}")
    assert steps(scaled) == [(FLOOR, FLOOR + 1)]
    killed = time.time()
    faults.signal_main(scaled.cluster, scaled.namespace, leader, "KILL")
    first = wait_until(lambda: scaled.decisions(follower), 60, lambda: f"the other one decides: {scaled.log()[-5:]}")[0]
    print(f"the other one decided after {first['at'] - killed:.1f} s")
    assert first["at"] - killed < 2 * INTERVAL
    assert scaled.leader() == follower
    wait_until(lambda: scaled.restarts(leader) == 1, 60, "the kubelet starts the one that was killed anew")
    wait_until(lambda: (leads(scaled, leader), leads(scaled, follower)) == (0, 1), 60, "metrics tell who leads")
    told = [line["event"] for line in scaled.log(follower) if "event" in line]
    assert (told.count("leads"), told.count("state_unusable")) == (1, 0)
    finish(scaled)
    assert not scaled.load(FLEET).twice()
    assert scaled.leader() == follower, "the one that came back follows"
    assert not [line for line in scaled.decisions(leader) if line["at"] > killed]
    assert steps(scaled) == [(1, 2), (2, 3), (3, 2), (2, 1)], "nothing was done twice"
    kept_cooldowns(scaled, LONG_COOLDOWN, COOLDOWN_DOWN)


def leads(scaled: Deployed, pod: str) -> float | None:
    """Return what a pod of the autoscaler says of itself, None where it does not serve its metrics yet."""
    text = scaled.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{scaled.namespace}/pods/{pod}:9541/proxy/metrics", check=False
    )
    found = [line for line in text.splitlines() if line.startswith("celery_autoscaler_leader ")]
    return float(found[0].split()[1]) if found else None


def steps(scaled: Deployed) -> list[tuple[int, int]]:
    """Return what was done to the fleet, in order: from how many workers to how many."""
    return [(line["before"], line["after"]) for line in scaled.log() if line.get("event") == "scaled"]


def kept_cooldowns(scaled: Deployed, up: float, down: float) -> None:
    """Look at the time between two steps in one direction, whoever made them."""
    # Killed between writing a decision down and carrying it out, it decides anew.
    made = [
        one
        for one, later in itertools.pairwise(scaled.decisions())
        if not (later.get("withdrawn") or (later.get("restarted") and later["workers"] == one["from"]))
    ]
    for action, cooldown in (("up", up), ("down", down)):
        at = [line["at"] for line in made if line["action"] == action]
        assert all(later - earlier >= cooldown - 0.01 for earlier, later in itertools.pairwise(at)), (action, at)


def test_the_api_server_is_gone(scaled: Deployed) -> None:
    # Enough for the outage and some time after it.
    grown(scaled, 50)
    before = sorted(scaled.consuming(FLEET))
    with faults.stopped("kube-apiserver"):
        gone = time.time()
        # What is looked at is what happens in this time, not how it ends.
        time.sleep(OUTAGE)
    back = time.time()
    wait_until(lambda: scaled.cluster.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, 60, "it is back")
    wait_until(lambda: scaled.decisions()[-1]["at"] > back, 60, lambda: f"it decides again: {scaled.log()[-5:]}")
    assert sorted(scaled.consuming(FLEET)) == before, "nobody came and nobody went"
    assert any(gone < one["ended"] < back for one in scaled.load(FLEET).runs()), "tasks ran meanwhile"
    assert "leader_unknown" in events(scaled)
    assert "leader_unknown_any_more" in events(scaled)
    assert metric(scaled, 'celery_autoscaler_events_total{event="leader_unknown"}') >= 1
    assert sum(scaled.restarts(pod) for pod in scaled.autoscalers()) == 0
    finish(scaled)
    assert not scaled.load(FLEET).twice()


def test_the_broker_is_gone(scaled: Deployed) -> None:
    load = scaled.load(FLEET)
    grown(scaled, 50)
    # Redis forgets a task that Celery is fetching in the very moment in which it ends.
    wait_until(lambda: load.all_in_the_middle(CEILING, LENGTH), 60, load.runs)
    before = sorted(scaled.consuming(FLEET))
    scaled.broker.leave()
    gone = time.time()
    try:
        unknown = 'celery_autoscaler_metric_unknown{fleet="web",metric="queue_depth"}'
        wait_until(lambda: metric(scaled, unknown) == 1, 20, "a metric says that the queue is not known")
        while time.time() < gone + OUTAGE:
            assert scaled.wanted(FLEET) == CEILING
            time.sleep(1)
        last = scaled.decisions()[-1]
        assert last["action"] == "hold", last
        assert "Could not" in last["unknown"]["queue_depth"], last
        assert sorted(one.id for one in scaled.workers(FLEET)) == before, "no worker was restarted for it"
        assert not any(scaled.restarts(pod) for pod in before)
    finally:
        scaled.broker.come_back()
    wait_until(lambda: metric(scaled, unknown) == 0, 60, lambda: f"it is known again: {scaled.log()[-3:]}")
    # Some that ran meanwhile may run once more: their acknowledgements came too late.
    finish(scaled)


def evict(scaled: Deployed, pod: str) -> subprocess.CompletedProcess[str]:
    """Ask for what empties a node asks for."""
    name = {"name": pod, "namespace": scaled.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name}
    path = f"/api/v1/namespaces/{scaled.namespace}/pods/{pod}/eviction"
    return scaled.cluster.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(body), check=False)


def two_workers() -> dict[str, Any]:
    return {"policy": {**POLICY, "limits": {**POLICY["limits"], "min_workers": 2}}}


def test_workers_of_a_node_that_is_emptied_drain_one_at_a_time(deployed: Deployed) -> None:
    scaled, load = bring(deployed, two_workers()), deployed.load(FLEET)
    first = scaled.consuming(FLEET)
    load.send(2, 25, 25)
    wait_until(lambda: int(scaled.broker.cli("HLEN", "unacked")) == 2, 30, "both have a task")
    assert evict(scaled, first[0]).returncode == 0
    refused = evict(scaled, first[1])
    assert "disruption budget" in refused.stdout + refused.stderr
    wait_until(lambda: len(scaled.consuming(FLEET)) == 2 and first[0] not in scaled.consuming(FLEET), 60, "a new one")
    wait_until(lambda: evict(scaled, first[1]).returncode == 0, 60, "the next one may go")
    wait_until(lambda: not set(first) & {one.id for one in scaled.workers(FLEET)}, 120, "both are gone")
    assert (load.left(), load.twice()) == (0, {})
    assert {one["node"] for one in load.runs()} == {f"{FLEET}@{pod}" for pod in first}
    assert {line["action"] for line in scaled.decisions()} <= {"hold"}, "others took their places without a decision"


def test_a_worker_that_is_evicted_for_want_of_memory(deployed: Deployed) -> None:
    # What it had runs again when nobody has acknowledged it for so long.
    scaled = bring(deployed, {**two_workers(), "time_limit": 20, "visibility_timeout": 60})
    load = deployed.load(FLEET)
    [node] = scaled.get("nodes")["items"]
    name = node["metadata"]["name"]
    stats = json.loads(scaled.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/stats/summary").stdout)
    left = int(stats["node"]["memory"]["availableBytes"]) // MEBIBYTE
    options = f"--eviction-hard=memory.available<{left - 2048}Mi --eviction-pressure-transition-period=5s"
    with faults.set_for("kubelet", KUBELET_OPTIONS=options):
        load.send(2, LENGTH, LENGTH)
        wait_until(lambda: any(one.active for one in scaled.workers(FLEET)), 60, "a worker has a task")
        victim = next(one.id for one in scaled.workers(FLEET) if one.active)
        balloon = "import time; held = b'x' * (3 << 30); time.sleep(600)"
        command = [str(scaled.cluster.program), "--kubeconfig", str(scaled.cluster.kubeconfig)]
        held = [*command, "--namespace", scaled.namespace, "exec", victim, "--", "python", "-c", balloon]
        with subprocess.Popen(held, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(
                    lambda: "low on resource" in json.dumps(scaled.get("pod", victim)["status"]),
                    120,
                    lambda: f"the kubelet evicts it: {scaled.get('pod', victim)['status']}",
                )
            finally:
                process.kill()
        wait_until(lambda: len(scaled.consuming(FLEET)) == 2, 120, lambda: f"another one: {scaled.workers(FLEET)}")
    wait_until(lambda: load.left() == 0, 150, lambda: f"it runs again: {scaled.broker.cli('HLEN', 'unacked')}")
    told = [line for line in scaled.log() if line.get("event") == "workers_ended"]
    assert any("low on resource: memory" in how for line in told for how in line["workers"].values()), told
    assert metric(scaled, f'celery_workers_ended_total{{fleet="{FLEET}"}}') >= 1
    assert not [line for line in scaled.decisions() if line["action"] in ("up", "down")]
