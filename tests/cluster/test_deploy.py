# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook deploy on a real cluster: fleets come, work, change drained and go; what cannot be done is explained."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from broker_servers import RedisServer
from place import Place, changed

from muejam_bed.shell import BedError
from muejam_cluster.access import Cluster
from muejam_cluster.waiting import wait_until

SECRET = "not-a-real-secret-0123456789"
LABEL = "app.kubernetes.io/managed-by=muejam.celery"
KINDS = "deployments,pods,secrets,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies"


USUAL = {"acks_late": True, "environment": {"DEMO_SECRET": SECRET}, "drain_timeout": 60}


@dataclass
class Shop(Place):
    """A place that is looked at as a whole."""

    def deploy_workers(self) -> subprocess.CompletedProcess[str]:
        """Have the role alone, for whose fleets an engine somewhere else sets the number."""
        playbook = self.scratch / "workers.yml"
        play = {"hosts": "celery_workers", "gather_facts": False, "roles": ["muejam.celery.worker"]}
        playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
        return self.play(str(playbook))

    def there(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(KINDS, "--selector", LABEL)["items"]
        return found

    def pods(self) -> set[str]:
        return {one["metadata"]["name"] for one in self.there() if one["kind"] == "Pod"}

    def finished(self) -> int:
        return len(self.redis.client().keys("celery-task-meta-*"))

    def active(self) -> int:
        return int(self.redis.client().hlen("unacked"))


@pytest.fixture
def place(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, redis, tmp_path, {**USUAL, "result_backend": redis.url})


def test_a_fleet_comes_works_changes_drained_and_goes(place: Shop) -> None:
    place.fleet = {"workers": 2}
    rehearsal = place.deploy("--check", "--diff")
    assert changed(rehearsal) > 0
    assert place.there() == []

    first = place.deploy("-vvv", "--diff")
    coded = base64.b64encode(SECRET.encode()).decode()
    for output in (rehearsal, first):
        assert SECRET not in output.stdout + output.stderr
        assert coded not in output.stdout + output.stderr
    before = place.pods()
    assert len(before) == 2
    place.send(20, 0.1)
    wait_until(lambda: place.finished() == 20, 60, "20 tasks are done")
    again = place.deploy()
    assert changed(again) == 0, again.stdout

    # Another secret: pods that run a task finish it, while the next ones take over.
    place.send(2, 8)
    wait_until(lambda: place.active() >= 2, 30, "both workers have a task")
    place.fleet["environment"] = {"DEMO_SECRET": "another-" + SECRET}
    rolled = place.deploy("--diff", "-vvv")
    assert "muejam.celery/environment" in rolled.stdout
    assert SECRET not in rolled.stdout + rolled.stderr
    assert not before & place.pods()
    assert place.finished() == 22

    place.send(1, 8)
    wait_until(lambda: place.active() == 1, 30, "a worker has a task")
    place.fleet = {"state": "absent"}
    rehearsal = place.deploy("--check")
    assert changed(rehearsal) > 0
    assert len(place.pods()) == 2
    assert changed(place.deploy()) > 0
    assert place.finished() == 23
    assert place.there() == []
    assert changed(place.deploy()) == 0


def test_the_number_of_workers_is_left_to_whom_it_belongs(place: Shop) -> None:
    place.fleet = {"workers": 1, "policy": {}}
    place.deploy_workers()
    scale = ["--namespace", place.namespace, "scale", "deployment/celery-worker-web"]
    place.cluster.kubectl(*scale, "--replicas=2")
    place.fleet["log_level"] = "WARNING"
    assert changed(place.deploy_workers()) > 0
    assert place.deployment()["spec"]["replicas"] == 2
    assert changed(place.deploy_workers()) == 0

    # Without a policy the inventory decides, also over somebody's kubectl.
    place.fleet = {"workers": 1, "log_level": "WARNING"}
    assert changed(place.deploy()) > 0
    assert place.deployment()["spec"]["replicas"] == 1

    # An inventory that names it no more is told of it, and leaves it alone.
    place.fleet = {"name": "mail", "workers": 0}
    done = place.deploy()
    assert f"There is a fleet web in namespace {place.namespace}" in done.stdout
    assert len(place.pods()) == 1


def test_the_other_playbooks_work_on_it(place: Shop) -> None:
    place.fleet = {"workers": 1}
    place.deploy()
    grown = place.play("muejam.celery.scale", "-e", "fleet=web", "-e", "workers=3")
    assert "web on cluster: 1 -> 3 workers, 2 started" in grown.stdout
    assert len(place.pods()) == 3
    place.send(4, 5)
    wait_until(lambda: place.active() >= 3, 30, "every worker has a task")
    assert "3 wanted, 3 running" in place.play("muejam.celery.status").stdout
    assert changed(place.play("muejam.celery.scale", "-e", "fleet=web", "-e", "workers=1")) == 1
    before = place.pods()
    assert changed(place.play("muejam.celery.rolling_restart", "-e", "fleet=web", "-e", "only=all")) == 1
    assert len(place.pods()) == 1
    assert not before & place.pods()
    wait_until(lambda: place.finished() == 4, 60, "no task is lost")
    place.send(1, 5)
    wait_until(lambda: place.active() == 1, 30, "the worker has a task")
    assert "web 1 -> 0 workers, 1 drained" in place.play("muejam.celery.drain", "-e", "fleet=web").stdout
    assert (place.finished(), place.pods()) == (5, set())
    refused = place.play("muejam.celery.autoscale", "-e", "fleet=web", check=False)
    assert refused.returncode != 0
    assert "cluster stands for a cluster" in refused.stdout


def test_what_cannot_be_done_says_why(place: Shop) -> None:
    # One fault that the schema has, and one that only the API server knows.
    memory = {"containers": [{"name": "worker", "resources": {"limits": {"memory": "x"}}}]}
    for spec, says in (({"nodeSelector": 5}, "Deployment celery-worker-web: "), (memory, "quantities must match")):
        place.fleet = {"pod_options": {"spec": spec}}
        refused = place.deploy(check=False)
        assert refused.returncode != 0
        assert says in refused.stdout
    assert place.there() == []

    place.fleet = {"image": "registry.invalid/none:1", "pull_policy": "Never"}
    refused = place.deploy(check=False)
    assert "ErrImageNeverPull" in refused.stdout
    assert "roll out the fleet web in namespace" in refused.stdout

    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    place.cluster.apply(place.namespace, [quota])
    place.fleet = {"workers": 2}
    refused = place.deploy(check=False)
    assert "exceeded quota: few" in refused.stdout

    place.variables = {"celery_worker_namespace": "not-there"}
    assert "there is no such namespace" in place.deploy(check=False).stdout


def test_rendered_objects_are_what_a_deployment_puts_there(place: Shop) -> None:
    place.variables = {"celery_worker_render_to": str(place.scratch / "out"), "celery_worker_kubeconfig": "/nowhere"}
    assert changed(place.deploy()) > 0
    assert changed(place.deploy()) == 0
    files = sorted(path.name for path in (place.scratch / "out/web").iterdir())
    assert files == [
        "configmap.yaml",
        "deployment.yaml",
        "poddisruptionbudget.yaml",
        "secret.yaml",
        "serviceaccount.yaml",
    ]
    assert (place.scratch / "out/web/secret.yaml").stat().st_mode & 0o077 == 0
    for dry in ("--dry-run=server", "--server-side"):
        try:
            place.cluster.kubectl("apply", "--filename", str(place.scratch / "out/web"), dry)
        except BedError as error:
            pytest.fail(str(error))
    place.variables = {}
    # The same objects, under another field manager: nothing of them changes, and nothing is rolled out again.
    generation = place.deployment()["metadata"]["generation"]
    place.deploy()
    assert place.deployment()["metadata"]["generation"] == generation


def test_a_pause_outlasts_a_deployment_of_another_configuration(place: Place) -> None:
    place.deploy()
    asked = ("-e", "fleet=web", "-e", "workers=2", "-e", "by=alice")
    refused = place.play("muejam.celery.pause", *asked, check=False)
    assert "no autoscaler scales it by a policy in namespace" in refused.stdout
    assert changed(place.play("muejam.celery.pause", *asked, "-e", "scheduled=true", "--check")) == 1
    assert changed(place.play("muejam.celery.pause", *asked, "-e", "scheduled=true")) == 1
    assert changed(place.play("muejam.celery.pause", *asked, "-e", "scheduled=true")) == 0
    place.fleet = {"concurrency": 2}
    place.deploy()
    written = place.deployment()["metadata"]["annotations"]["muejam.celery/pause"]
    assert json.loads(written) == {"workers": 2, "until": None, "by": "alice"}
    assert changed(place.play("muejam.celery.pause", "-e", "fleet=web", "-e", "state=absent")) == 1
    assert "muejam.celery/pause" not in place.deployment()["metadata"]["annotations"]
