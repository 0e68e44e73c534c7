# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform kubernetes on a real cluster: what only its controllers and its kubelet can prove."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from broker_servers import RedisServer

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import WorkerReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place, RollRequest, ScaleRequest
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import (
    KubernetesPlatform,
    open_kubernetes,
)
from muejam_bed.shell import CHECKOUT, run
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIFECYCLE = CHECKOUT / "roles/worker/files/muejam_celery_lifecycle"
CELERY = [
    *("celery", "--app", "celery_demo", "worker", "--loglevel", "info", "--concurrency", "1"),
    *("--include", "muejam_celery_lifecycle"),
]


@dataclass
class Bed:
    """A namespace with fleets that are made by hand, and the platform on it."""

    cluster: Cluster
    namespace: str
    redis: RedisServer
    platform: KubernetesPlatform

    def add(
        self, fleet: str, workers: int, command: list[str] | None = None, grace: int = 60, **container: Any
    ) -> None:
        """Have a fleet as the role makes it, with C(grace) seconds for a pod to end."""
        package = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "lifecycle"},
            "data": {path.name: path.read_text(encoding="utf-8") for path in LIFECYCLE.glob("*.py")},
        }
        pod_name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        port = {"name": names.LIFECYCLE_PORT_NAME, "containerPort": names.LIFECYCLE_PORT}
        worker = {
            "name": names.CONTAINER,
            "image": DEMO,
            "args": command or [*CELERY, "--hostname", f"{fleet}@$(POD)"],
            "env": [
                pod_name,
                {"name": "CELERY_BROKER_URL", "value": self.redis.url},
                {"name": "PYTHONPATH", "value": "/opt/lifecycle:/opt/celery-demo"},
                {"name": "CELERY_LIFECYCLE_HTTP", "value": str(names.LIFECYCLE_PORT)},
            ],
            "ports": [port],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": port["name"]}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "securityContext": RESTRICTED,
            # Whatever the image names as its stop signal.
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "kill -TERM 1"]}}},
            "volumeMounts": [{"name": "lifecycle", "mountPath": "/opt/lifecycle/muejam_celery_lifecycle"}],
            **container,
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": names.object_name(fleet), "labels": names.labels(fleet)},
            "spec": {
                "replicas": workers,
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": names.selector(fleet)},
                "template": {
                    "metadata": {"labels": names.labels(fleet)},
                    "spec": {
                        "containers": [worker],
                        "volumes": [{"name": "lifecycle", "configMap": {"name": "lifecycle"}}],
                        "terminationGracePeriodSeconds": grace,
                    },
                },
            },
        }
        self.cluster.apply(self.namespace, [package, deployment])

    def workers(self, fleet: str = "web") -> tuple[WorkerReading, ...]:
        reading = self.platform.read(fleet)
        assert reading.workers is not None, reading.problem
        return reading.workers

    def phases(self, fleet: str = "web") -> list[str]:
        return [worker.phase for worker in self.workers(fleet)]

    def wait_for(self, workers: int, fleet: str = "web") -> None:
        def done() -> bool:
            return self.phases(fleet) == ["consuming"] * workers

        wait_until(done, 120, lambda: f"{workers} consume: {self.workers(fleet)}")

    def send(self, count: int, seconds: float) -> None:
        load = ["--count", str(count), "--min", str(seconds), "--max", str(seconds)]
        path = {"CELERY_BROKER_URL": self.redis.url, "PYTHONPATH": str(CHECKOUT / "demo" / "app")}
        run([sys.executable, "-m", "celery_demo.send", *load], env=path)

    def busy(self) -> list[str]:
        return [worker.id for worker in self.workers() if worker.active]


@pytest.fixture
def bed(cluster: Cluster, namespace: str, redis: RedisServer) -> Bed:
    place = Place(kubeconfig=str(cluster.kubeconfig), namespace=namespace)
    return Bed(cluster, namespace, redis, open_kubernetes(place))


def refusal(call: Callable[[], object]) -> OperationError:
    with pytest.raises(OperationError) as caught:
        call()
    return caught.value


def test_a_fleet_grows_shrinks_and_drains(bed: Bed) -> None:
    """New workers consume, the idle ones go, and the last one finishes what it has."""
    bed.add("web", 1)
    bed.wait_for(1)
    (first,) = bed.workers()
    assert (first.name, first.active, first.concurrency) == (f"web@{first.id}", 0, 1), first
    grown = bed.platform.scale(ScaleRequest("web", 3, expected_workers=1, wait_timeout=120))
    assert (grown.before, grown.after, len(grown.started), grown.stopped) == (1, 3, 2, [])
    assert grown.start_seconds.keys() == set(grown.started)
    assert bed.phases() == ["consuming"] * 3

    bed.send(1, 30)
    wait_until(bed.busy, 30, "a worker has the task")
    (busy,) = bed.busy()
    shrunk = bed.platform.scale(ScaleRequest("web", 1, expected_workers=3))
    assert (shrunk.before, shrunk.after, shrunk.warnings, shrunk.unknown) == (3, 1, [], {})
    assert (len(shrunk.stopped), shrunk.workers_after) == (2, [busy])
    assert bed.busy() == [busy], "the task still runs"
    assert bed.platform.fleet_of(f"web@{busy}") == "web"
    wait_until(lambda: bed.workers()[0].cpu_rate is not None, 60, lambda: f"its use is measured: {bed.workers()}")
    (worker,) = bed.workers()
    assert (worker.cores, worker.memory_allowed) == (0.02, 64 * 2**20)
    assert 20 * 2**20 < (worker.memory or 0) < 500 * 2**20, worker
    assert 0 <= (worker.cpu_rate or 0) < 4, worker

    none = bed.platform.scale(ScaleRequest("web", 0))
    assert (none.after, none.stopped, none.warnings) == (0, [busy], [])
    assert bed.redis.client().hlen("unacked") == 0, "it was finished and acknowledged"
    assert bed.redis.client().llen("celery") == 0
    assert bed.platform.scale(ScaleRequest("web", 0)).changed is False


def test_a_worker_is_restarted_and_all_of_them(bed: Bed) -> None:
    bed.add("web", 2)
    bed.wait_for(2)
    before = [worker.id for worker in bed.workers()]
    bed.platform.restart("web", before[0])
    wait_until(lambda: bed.phases() == ["consuming"] * 2, 60, lambda: f"it is replaced: {bed.workers()}")
    now = [worker.id for worker in bed.workers()]
    assert before[0] not in now
    assert bed.platform.roll(RollRequest("web")).restarted == []
    result = bed.platform.roll(RollRequest("web", only_outdated=False, wait_timeout=60))
    assert sorted(result.restarted) == sorted(now)
    assert not {worker.id for worker in bed.workers()} & set(now)
    # Another template: the Deployment replaces them itself.
    patch = {"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}}
    outdated = sorted(worker.id for worker in bed.workers())
    name = names.object_name("web")
    bed.cluster.kubectl("--namespace", bed.namespace, "patch", "deployment", name, "--patch", json.dumps(patch))
    wait_until(lambda: bed.platform.roll(RollRequest("web"), check=True).restarted, 30, "the template is seen")
    assert sorted(bed.platform.roll(RollRequest("web", wait_timeout=60)).restarted) == outdated


def test_what_does_not_start_is_explained_and_taken_back(bed: Bed) -> None:
    bed.add("web", 0, ["python", "-c", "import celery_app_that_is_missing"])
    error = refusal(lambda: bed.platform.scale(ScaleRequest("web", 2, wait_timeout=120)))
    assert "2 of its workers did not start. Started: none. Set back to 0 workers" in str(error)
    assert "CrashLoopBackOff" in str(error)
    assert "No module named 'celery_app_that_is_missing'" in str(error)
    assert (error.details["changed"], error.details["after"]) == (False, 0)

    bed.add("image", 0, image="nobody.invalid/nothing:1", imagePullPolicy="Never")
    error = refusal(lambda: bed.platform.scale(ScaleRequest("image", 1, wait_timeout=60)))
    assert "nobody.invalid/nothing:1" in str(error)
    assert "describe pod" in str(error)

    bed.add("huge", 0, resources={"requests": {"cpu": "1000"}})
    error = refusal(lambda: bed.platform.scale(ScaleRequest("huge", 1, wait_timeout=10)))
    assert "Unschedulable" in str(error)
    assert "within 10 s" in str(error)


def test_who_is_killed_is_told(bed: Bed) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    bed.add("web", 1, ["python", "-c", deaf], grace=4, readinessProbe=None, lifecycle=None)
    bed.wait_for(1)
    (worker,) = bed.workers()
    assert (worker.active, worker.silent) == (None, True), "it does not answer"
    error = refusal(lambda: bed.platform.scale(ScaleRequest("web", 0)))
    assert f"{worker.id} was killed" in str(error)
    assert (error.details["killed"], error.details["after"]) == ([worker.id], 0)


def test_a_quota_is_told(bed: Bed) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "1"}},
    }
    bed.cluster.apply(bed.namespace, [quota])
    bed.add("web", 0)
    error = refusal(lambda: bed.platform.scale(ScaleRequest("web", 3, wait_timeout=60)))
    assert "exceeded quota: few" in str(error)
    assert (len(error.details["started"]), error.details["after"]) == (1, 1)


def test_it_does_not_fight_an_autoscaler_nor_anybody_else(bed: Bed) -> None:
    bed.add("web", 1)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.object_name("web")}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    metrics = [{"type": "Resource", "resource": cpu}]
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "by-cpu"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": metrics,
        },
    }
    bed.cluster.apply(bed.namespace, [hpa])
    assert "by-cpu" in str(refusal(lambda: bed.platform.scale(ScaleRequest("web", 2))))
    bed.cluster.kubectl("--namespace", bed.namespace, "delete", "hpa", "by-cpu")
    error = refusal(lambda: bed.platform.scale(ScaleRequest("web", 3, expected_workers=2)))
    assert "2 workers were expected, but there are 1" in str(error)
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "by-queue", "annotations": {"autoscaling.keda.sh/paused": "true"}},
        "spec": {
            "scaleTargetRef": {"name": names.object_name("web")},
            "minReplicaCount": 2,
            "maxReplicaCount": 2,
            "triggers": [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *"}}],
        },
    }
    scaled["spec"]["triggers"][0]["metadata"]["desiredReplicas"] = "1"
    bed.cluster.apply(bed.namespace, [scaled])
    assert bed.platform.scale(ScaleRequest("web", 2, wait=False)).after == 2, "it is paused"
    del scaled["metadata"]["annotations"]
    bed.cluster.apply(bed.namespace, [scaled])
    assert "by-queue" in str(refusal(lambda: bed.platform.scale(ScaleRequest("web", 1))))
    bed.cluster.kubectl("--namespace", bed.namespace, "delete", "scaledobject", "by-queue", "--wait=false")
    assert "there is no such namespace" in str(
        refusal(open_kubernetes(Place(str(bed.cluster.kubeconfig), namespace="nowhere-at-all")).fleets)
    )


def test_a_number_is_changed_only_on_the_version_it_was_decided_on(bed: Bed) -> None:
    """The API server itself refuses another version: without that, who comes second would not notice."""
    bed.add("web", 0)
    api, path = bed.platform._tools.fleets.api, names.deployments(bed.namespace, "web", "scale")
    body = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 5}}
    error = refusal(lambda: api.patch(path, body))
    # The subresource leaves out a number of 0.
    assert (getattr(error, "status", None), api.get(path)["spec"].get("replicas", 0)) == (409, 0)


def test_without_rights_it_says_which_are_missing(bed: Bed, tmp_path: Path) -> None:
    bed.add("web", 1)
    bed.wait_for(1)
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reads"}, "rules": rules}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": bed.namespace}],
    }
    bed.cluster.apply(bed.namespace, [role, binding])
    token = bed.cluster.kubectl("--namespace", bed.namespace, "create", "token", "default").stdout.strip()
    view = ["config", "view", "--raw", "--flatten", "--output=json"]
    values = json.loads(bed.cluster.kubectl(*view).stdout)
    values["users"] = [{"name": each["name"], "user": {"token": token}} for each in values["users"]]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(values), encoding="utf-8")
    reader = open_kubernetes(Place(str(kubeconfig), namespace=bed.namespace))

    (worker,) = reader.read("web").workers or ()
    assert (worker.phase, worker.active, worker.silent) == ("consuming", None, False)
    assert '{apiGroups: [""], resources: ["pods/proxy"], verbs: ["get"]}' in worker.why
    error = refusal(lambda: reader.require_access("scale fleet web"))
    assert '{apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["patch"]}' in str(error)
    assert 'deployments"], verbs: ["get"]' not in str(error)
    error = refusal(lambda: reader.scale(ScaleRequest("web", 2)))
    assert "horizontalpodautoscalers" in str(error)
    assert token not in str(error)
