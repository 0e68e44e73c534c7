# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets with whoever sizes them, written as files by a run that reaches no cluster, are what a cluster takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from broker_servers import RedisServer

from muejam_bed.shell import run
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

WINDOWS = [{"name": "peak", "time": "08:00-18:00", "days": ["mon", "tue", "wed", "thu", "fri"], "min_workers": 3}]
RULES = {
    "scale_up": {"any": [{"metric": "cpu", "above": 80}], "add": {"workers": 1}},
    "scale_down": {"all": [{"metric": "cpu", "below": 20}], "remove": {"workers": 1}},
}
LIMITS = {"min_workers": 1, "max_workers": 4}
OWNERS: dict[str, dict[str, Any]] = {
    "keda": {"limits": LIMITS, "schedule": {"windows": WINDOWS}},
    "hpa": {"limits": LIMITS, **RULES, "schedule": {"windows": WINDOWS}},
    "policy": {"limits": LIMITS, "schedule": {"windows": WINDOWS}},
    "schedule": {"limits": LIMITS, "schedule": {"windows": WINDOWS}},
}
KINDS = {
    "keda": {"ScaledObject", "CronJob", "Deployment"},
    "hpa": {"HorizontalPodAutoscaler", "CronJob", "Deployment"},
    "policy": {"Deployment", "Role", "RoleBinding", "Secret"},
    "schedule": {"CronJob", "Role", "RoleBinding", "Deployment"},
}
"""What is among the files, beside what each fleet has."""


@dataclass
class Rendered:
    """Hosts that stand for namespaces of clusters that nobody reaches, one for each owner."""

    scratch: Path
    namespace: str
    broker_url: str

    def play(self) -> subprocess.CompletedProcess[str]:
        hosts = {owner: self.host(owner, policy) for owner, policy in OWNERS.items()}
        inventory = self.scratch / "inventory.json"
        inventory.write_text(json.dumps({"celery_workers": {"hosts": hosts}}), encoding="utf-8")
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return run([program, "-i", str(inventory), "muejam.celery.deploy"], env={"ANSIBLE_NOCOLOR": "1"})

    def host(self, owner: str, policy: dict[str, Any]) -> dict[str, Any]:
        fleet = {
            "name": "web",
            "image": DEMO,
            "app": "celery_demo",
            "queues": ["celery"],
            "concurrency": 1,
            "workers": 1,
            "broker_url": self.broker_url,
            "requests": {"cpu": "20m", "memory": "64M"},
            "policy": policy,
            "autoscaling_options": {"image": "kubectl:1"},
        }
        return {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "celery_worker_platform": "kubernetes",
            "celery_worker_kubeconfig": "/nowhere",
            "celery_worker_namespace": self.namespace,
            "celery_worker_render_to": str(self.folder(owner)),
            "celery_worker_autoscaling": owner,
            "celery_autoscaler_image": "celery-autoscaler:1",
            "celery_worker_fleets": [fleet],
        }

    def folder(self, owner: str) -> Path:
        return self.scratch / "out" / owner

    def files(self) -> dict[str, bytes]:
        found = [path for path in (self.scratch / "out").rglob("*") if path.is_file()]
        return {str(path.relative_to(self.scratch / "out")): path.read_bytes() for path in sorted(found)}

    def objects(self, owner: str) -> list[dict[str, Any]]:
        texts = [path.read_text(encoding="utf-8") for path in sorted(self.folder(owner).rglob("*.yaml"))]
        return [each for text in texts for each in yaml.safe_load_all(text) if each]


@pytest.fixture
def rendered(tmp_path: Path, namespace: str, redis: RedisServer) -> Rendered:
    return Rendered(tmp_path, namespace, redis.url)


def test_what_is_written_for_each_owner_is_applied_as_it_is(cluster: Cluster, rendered: Rendered) -> None:
    rendered.play()
    files = rendered.files()
    again = rendered.play()
    assert rendered.files() == files, "the same bytes"
    assert again.stdout.count("changed=0 ") == len(OWNERS), again.stdout
    for owner in OWNERS:
        folders = {path.name for path in rendered.folder(owner).iterdir()}
        assert folders == ({"web", "celery-autoscaler"} if owner == "policy" else {"web"})
        kinds = {each["kind"] for each in rendered.objects(owner)}
        assert kinds >= KINDS[owner], (owner, sorted(kinds))
        assert {each["metadata"]["namespace"] for each in rendered.objects(owner)} == {rendered.namespace}
        apply(cluster, rendered.folder(owner), "--dry-run=server")
    # One of them for good: whoever applies it again changes nothing.
    apply(cluster, rendered.folder("keda"))
    there = versions(cluster, rendered, "keda")
    where = ("--namespace", rendered.namespace)
    [scaler] = cluster.get(*where, "scaledobjects")["items"]
    target = scaler["spec"]["scaleTargetRef"]["name"]
    assert cluster.get(*where, "deployment", target)["metadata"]["name"] == "celery-worker-web"
    wait_until(lambda: cluster.get(*where, "hpa")["items"], 60, lambda: f"KEDA takes it up: {scaler}")
    apply(cluster, rendered.folder("keda"))
    assert versions(cluster, rendered, "keda") == there


def apply(cluster: Cluster, folder: Path, *options: str) -> None:
    """Do what a GitOps tool does, with all files of a folder."""
    cluster.kubectl("apply", "--server-side", *options, "--recursive", "--filename", str(folder))


def versions(cluster: Cluster, rendered: Rendered, owner: str) -> dict[str, int]:
    """Return which version of its specification each object has, for those that count them."""
    found = {}
    for each in rendered.objects(owner):
        name = f"{each['kind']}/{each['metadata']['name']}"
        there = cluster.get("--namespace", rendered.namespace, name.lower())
        found[name] = int(there["metadata"].get("generation", 0))
    return found
