# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler scales a real Deployment, from this machine and from within the cluster, and outlives its leader."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from autoscaler_image import ensure_autoscaler_image
from broker_servers import RedisServer

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.cluster_objects import (
    ClusterOptions,
    configuration_in_a_cluster,
    objects,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    labels,
    object_name,
    selector,
)
from muejam_bed.collection import collections_path
from muejam_bed.shell import CHECKOUT, run
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

INTERVAL = 5.0
POLICY = {
    "limits": {"min_workers": 1, "max_workers": 3, "cooldown_up": "5s", "cooldown_down": "5s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 5}], "add": {"workers": 2}},
    # The backlog is what waits and what runs, which heartbeats tell.
    "scale_down": {"all": [{"metric": "backlog", "below": 1, "for": "5s"}], "remove": {"workers": 2}},
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def fleet(redis: RedisServer) -> dict[str, Any]:
    """A fleet as the role puts it there, as far as the autoscaler sees it."""
    worker = ["celery", "-A", "celery_demo", "worker", "--hostname=web@%h", "--concurrency=1", "--loglevel=warning"]
    container = {
        "name": "worker",
        "image": DEMO,
        "args": worker,
        "env": [{"name": "CELERY_BROKER_URL", "value": redis.url}],
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}},
        "securityContext": RESTRICTED,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": object_name("web"), "labels": labels("web")},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector("web")},
            "template": {
                "metadata": {"labels": labels("web")},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 20},
            },
        },
    }


def configuration(redis: RedisServer) -> dict[str, Any]:
    one = {"name": "web", "broker_url": redis.url, "queues": ["celery"], "policy": POLICY}
    return {"mode": "act", "interval": INTERVAL, "metrics": {"address": "127.0.0.1", "port": 9541}, "fleets": [one]}


@dataclass
class Shop:
    """A namespace with a fleet."""

    cluster: Cluster
    namespace: str
    redis: RedisServer

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments).stdout

    def get(self, *arguments: str) -> Any:
        return self.cluster.get("--namespace", self.namespace, *arguments)

    def replicas(self) -> int:
        return int(self.get("deployment", object_name("web"))["spec"]["replicas"])

    def leader(self) -> str:
        found = self.cluster.kubectl(
            "--namespace", self.namespace, "get", "lease", "celery-autoscaler", "--output=json", check=False
        ).stdout
        return str(json.loads(found)["spec"].get("holderIdentity") or "") if found.strip() else ""

    def send(self, count: int, seconds: float) -> None:
        pod = self.get("pods", "--selector=app.kubernetes.io/instance=web")["items"][0]["metadata"]["name"]
        send = ["-m", "celery_demo.send", "--count", str(count), "--min", str(seconds), "--max", str(seconds)]
        self.kubectl("exec", pod, "--", "python", *send)

    def lines(self, pod: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.kubectl("logs", pod).splitlines() if line.startswith("{")]

    def autoscalers(self) -> list[str]:
        found = self.get("pods", "--selector=app.kubernetes.io/name=celery-autoscaler")["items"]
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def bring_the_autoscaler(self) -> None:
        image = ensure_autoscaler_image()
        self.cluster.load_image(image)
        wanted = objects(configuration_in_a_cluster(configuration(self.redis)), ClusterOptions(self.namespace, image))
        self.cluster.apply(self.namespace, wanted)
        self.kubectl("rollout", "status", "deployment/celery-autoscaler", "--timeout=120s")


@pytest.fixture
def shop(cluster: Cluster, namespace: str, redis: RedisServer) -> Shop:
    cluster.apply(namespace, [fleet(redis)])
    made = Shop(cluster, namespace, redis)
    made.kubectl("rollout", "status", f"deployment/{object_name('web')}", "--timeout=120s")
    return made


@contextmanager
def on_this_machine(shop: Shop, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the autoscaler here, with a kubeconfig; its log is C(log) in the folder."""
    told = {
        **configuration(shop.redis),
        "platform": "kubernetes",
        "place": {"kubeconfig": str(shop.cluster.kubeconfig), "namespace": shop.namespace},
        "metrics": False,
        "status": str(folder / "status.json"),
    }
    file = folder / "config.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    launch = collections_path() / "ansible_collections/muejam/celery/plugins/module_utils/launch.py"
    command = [
        sys.executable,
        "-I",
        "-B",
        str(launch),
        "autoscaler.cli",
        "run",
        "--config",
        str(folder / "config.json"),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=CHECKOUT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_burst_scales_a_deployment_out_and_in_from_this_machine(shop: Shop, tmp_path: Path) -> None:
    with on_this_machine(shop, tmp_path) as process:
        log = (tmp_path / "log").read_text
        wait_until(lambda: "leads" in log(), 30, lambda: f"it leads: {log()}")
        shop.send(20, 1)
        wait_until(lambda: shop.replicas() == 3, 30, lambda: f"3 workers: {log()}")
        wait_until(lambda: shop.replicas() == 1, 120, lambda: f"1 worker: {log()}")
        lines = [json.loads(line) for line in log().splitlines()]
        assert "scale_failed" not in {line.get("event") for line in lines}
        # Heartbeats tell what runs, the broker how long tasks wait.
        busy = [line["metrics"] for line in lines if line.get("metrics", {}).get("queue_depth", 0) > 0]
        assert any(metrics.get("running", 0) >= 1 for metrics in busy)
        assert any(metrics.get("wait_time", 0) > 0 for metrics in busy)
        status = int(Path(f"/proc/{process.pid}/status").read_text().partition("VmRSS:")[2].split()[0])
        print(f"resident memory with a kubeconfig: {status / 1024:.0f} MB")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert shop.leader() == ""


def test_a_follower_decides_within_two_intervals_after_its_leader_was_killed(shop: Shop, tmp_path: Path) -> None:
    with on_this_machine(shop, tmp_path) as process:
        here = os.uname().nodename
        wait_until(lambda: shop.leader().startswith(here), 30, "it leads")
        shop.bring_the_autoscaler()
        pods = shop.autoscalers()
        assert len(pods) == 2
        time.sleep(2 * INTERVAL)
        assert shop.leader().startswith(here)
        assert not [line for pod in pods for line in shop.lines(pod) if "action" in line]
        killed = time.time()
        process.kill()
    decided = wait_until(
        lambda: [line for pod in pods for line in shop.lines(pod) if "action" in line], 30, "somebody decides"
    )
    took = min(line["at"] for line in decided) - killed
    print(f"a follower decided after {took:.1f} s")
    assert took < 2 * INTERVAL
    leader = shop.leader().partition("_")[0]
    assert leader in pods
    shop.send(20, 1)
    wait_until(lambda: shop.replicas() == 3, 30, lambda: f"3 workers: {shop.lines(leader)}")
    # One that is told to end hands over at once.
    told = time.time()
    shop.kubectl("delete", "pod", leader, "--wait=false")
    follower = next(pod for pod in pods if pod != leader)
    wait_until(lambda: shop.leader().startswith(follower), 15, "the other one leads")
    since = datetime.fromisoformat(shop.get("lease", "celery-autoscaler")["spec"]["acquireTime"]).timestamp() - told
    print(f"the other one led after {since:.1f} s")
    assert since < INTERVAL
    wait_until(lambda: shop.replicas() == 1, 120, lambda: f"1 worker: {shop.lines(follower)}")
    events = [line["event"] for line in shop.lines(follower) if "event" in line]
    assert "state_unusable" not in events
    metrics = shop.kubectl("get", "--raw", f"/api/v1/namespaces/{shop.namespace}/pods/{follower}:9541/proxy/metrics")
    assert "celery_autoscaler_leader 1.0" in metrics


def pause(shop: Shop, folder: Path, **inputs: object) -> bool:
    """Run the playbook pause, and return whether it changed something."""
    host = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "celery_worker_platform": "kubernetes",
        "celery_worker_kubeconfig": str(shop.cluster.kubeconfig),
        "celery_worker_namespace": shop.namespace,
    }
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"celery_workers": {"hosts": {"cluster": host}}}), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "muejam.celery.pause"]
    done = run([*command, "-e", json.dumps({"fleet": "web", **inputs})], env={"ANSIBLE_NOCOLOR": "1"})
    return "changed=1" in done.stdout


def test_a_paused_fleet_is_held_by_whoever_leads_until_that_is_lifted(shop: Shop, tmp_path: Path) -> None:
    shop.bring_the_autoscaler()
    wait_until(lambda: bool(shop.leader()), 30, "somebody leads")
    assert pause(shop, tmp_path, workers=2, by="alice")
    assert not pause(shop, tmp_path, workers=2, by="alice")
    wait_until(lambda: shop.replicas() == 2, 30, "it is held at 2")
    shop.send(60, 1)
    first = shop.leader()
    pod = first.rpartition("_")[0]
    shop.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    wait_until(lambda: shop.leader() not in ("", first), 60, "another one leads")
    second = shop.leader().rpartition("_")[0]
    wait_until(lambda: sum("action" in line for line in shop.lines(second)) >= 3, 60, "it decides")
    held = [line for line in shop.lines(second) if "action" in line]
    assert {line["to"] for line in held} == {2}
    assert {line["reasons"][0] for line in held} == {"paused at 2 until it is lifted (by alice)"}
    assert shop.replicas() == 2
    # The first ones may be done by now.
    shop.send(90, 1)
    assert pause(shop, tmp_path, state="absent")
    assert "muejam.celery/pause" not in shop.get("deployment", object_name("web"))["metadata"].get("annotations", {})
    wait_until(lambda: shop.replicas() == 3, 30, lambda: f"3 workers: {shop.lines(second)[-3:]}")


def test_it_may_do_what_it_does_and_nothing_else(shop: Shop) -> None:
    shop.bring_the_autoscaler()
    user = f"--as=system:serviceaccount:{shop.namespace}:celery-autoscaler"

    def may(*asked: str) -> bool:
        answer = shop.cluster.kubectl("auth", "can-i", *asked, user, "--namespace", shop.namespace, check=False)
        return answer.stdout.strip() == "yes"

    assert may("patch", f"deployments/{object_name('web')}", "--subresource=scale")
    assert may("list", "pods")
    assert may("patch", "pods")
    assert may("update", "leases.coordination.k8s.io/celery-autoscaler")
    assert may("update", "configmaps/celery-autoscaler-state")
    assert not may("patch", "deployments/celery-worker-other", "--subresource=scale")
    assert not may("patch", f"deployments/{object_name('web')}")
    assert not may("delete", "pods")
    assert not may("get", "secrets")
    assert not may("update", "configmaps/other")
    assert not may("get", "pods", "--subresource=proxy")
    assert not may("create", "pods")
