# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that cannot be reached, lacks parts, or cannot run a pod: said clearly, and the fleet is left alone."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place, ScaleRequest
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import open_kubernetes
from muejam_bed.ports import free_port
from muejam_bed.shell import run
from muejam_cluster import faults
from muejam_cluster.access import Cluster
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

POLICY = {"limits": {"min_workers": 1, "max_workers": 2}}
KINDS = (
    "deployments,secrets,configmaps,serviceaccounts,poddisruptionbudgets,roles,rolebindings,scaledobjects,hpa,cronjobs"
)

pytestmark = pytest.mark.soak


def authority(folder: Path) -> str:
    """Return a certificate authority that has signed nothing."""
    files = ("-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"))
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Nobody", *files])
    return base64.b64encode((folder / "ca.crt").read_bytes()).decode()


@pytest.mark.parametrize("wrong", ["certificate", "address"])
def test_an_api_server_that_is_not_the_one_or_not_there(deployed: Deployed, tmp_path: Path, wrong: str) -> None:
    deployed.deploy({"name": "web", "workers": 1})
    before = deployed.get("deployment", "celery-worker-web")["metadata"]["resourceVersion"]
    if wrong == "certificate":
        wrong_authority = {"certificate-authority-data": authority(tmp_path)}
        path = str(deployed.cluster.another_way(tmp_path, **wrong_authority))
        says, next_step = "its certificate is not accepted", "Check the certificate authority"
    else:
        path = str(deployed.cluster.another_way(tmp_path, server=f"https://127.0.0.1:{free_port()}"))
        says, next_step = "Connection refused", "Check that the API server runs and can be reached"
    platform = open_kubernetes(Place(path, namespace=deployed.namespace))
    reading = platform.read("web")
    assert (reading.workers, reading.exists) == (None, None)
    assert says in reading.problem
    with pytest.raises(OperationError) as caught:
        platform.scale(ScaleRequest("web", 2))
    assert says in caught.value.why
    assert next_step in caught.value.next_step
    refused = deployed.deploy({"name": "web", "workers": 2}, check=False, celery_worker_kubeconfig=path)
    assert refused.returncode != 0
    assert ("certificate verify failed" if wrong == "certificate" else "Connection refused") in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert deployed.get("deployment", "celery-worker-web")["metadata"]["resourceVersion"] == before


def as_put_there(deployed: Deployed) -> dict[str, Any]:
    """Return all that a deployment puts into the namespace, without what the cluster notes of it."""
    found = {}
    for thing in deployed.get(KINDS)["items"]:
        metadata = {key: thing["metadata"].get(key) for key in ("uid", "generation", "labels", "annotations")}
        content = {key: value for key, value in thing.items() if key not in ("metadata", "status")}
        found[thing["kind"], thing["metadata"]["name"]] = (metadata, content)
    return found


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a deployment that was refused says, in one line: the program breaks it where it likes."""
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "Nothing was changed." in text
    return " ".join(text.replace("\\n", " ").replace('\\"', '"').split())


def test_a_namespace_that_is_not_there(deployed: Deployed) -> None:
    refused = deployed.deploy({"name": "web", "workers": 1}, check=False, celery_worker_namespace="nowhere-at-all")
    says = told(refused)
    assert "Could not find the namespace nowhere-at-all" in says
    assert "there is no such namespace" in says
    assert "`kubectl create namespace nowhere-at-all`" in says
    assert "NotFound" in deployed.cluster.kubectl("get", "namespace", "nowhere-at-all", check=False).stderr


def test_a_user_who_may_only_look_is_told_all_rights_that_are_missing(deployed: Deployed, tmp_path: Path) -> None:
    deployed.deploy({"name": "web", "workers": 1})
    looks = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    token = deployed.cluster.token_of(deployed.namespace, "looks", looks)
    path = str(deployed.cluster.another_way(tmp_path, token))
    before = as_put_there(deployed)
    fleet = {"name": "web", "workers": 2, "environment": {"CHANGED": "1"}}
    says = told(deployed.deploy(fleet, check=False, celery_worker_kubeconfig=path))
    assert f"Add to a Role in namespace {deployed.namespace} that is bound to this user:" in says
    for group, resources in (
        ("apps", '"deployments"'),
        ("policy", '"poddisruptionbudgets"'),
        ("", '"configmaps", "secrets", "serviceaccounts"'),
    ):
        assert f'- {{apiGroups: ["{group}"], resources: [{resources}], verbs: ["create", "patch"]}}' in says
    # Also what comes last in a deployment is missed before anything: the removal of a fleet.
    says = told(deployed.deploy({"name": "web", "state": "absent"}, check=False, celery_worker_kubeconfig=path))
    assert '- {apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch", "delete"]}' in says
    # And of what is to size it.
    more = {"celery_worker_kubeconfig": path, "celery_worker_autoscaling": "keda"}
    says = told(deployed.deploy({**fleet, "policy": POLICY}, check=False, **more))
    assert '- {apiGroups: ["keda.sh"], resources: ["scaledobjects"], verbs: ["create", "patch"]}' in says
    assert as_put_there(deployed) == before
    assert len(deployed.consuming("web")) == 1


def test_a_user_without_any_right_is_told_that_the_namespace_may_be_another_one(
    deployed: Deployed, tmp_path: Path
) -> None:
    path = str(deployed.cluster.another_way(tmp_path, deployed.cluster.token_of(deployed.namespace, "nobody", [])))
    says = told(deployed.deploy({"name": "web", "workers": 1}, check=False, celery_worker_kubeconfig=path))
    assert "Whether there is such a namespace this user may not see: check its name." in says
    assert not deployed.get("deployments,secrets")["items"]


@contextmanager
def without(cluster: Cluster, kind: str, name: str, unit: str) -> Iterator[None]:
    """Take a definition out of the cluster for the length of a with block, and what counts on it along."""
    there = cluster.get(kind, name)
    kept = {key: there["metadata"][key] for key in ("name", "labels", "annotations") if key in there["metadata"]}
    again = {**there, "metadata": kept}
    again.pop("status", None)
    with faults.stopped(unit):
        cluster.kubectl("delete", kind, name, "--timeout=60s")
        try:
            yield
        finally:
            cluster.kubectl("create", "--filename=-", stdin=json.dumps(again))
    condition = "Established" if kind == "crd" else "Available"
    cluster.kubectl("wait", kind, name, f"--for=condition={condition}", "--timeout=120s")


def test_a_cluster_without_keda(deployed: Deployed) -> None:
    deployed.deploy({"name": "web", "workers": 1})
    with without(deployed.cluster, "crd", "scaledobjects.keda.sh", "keda-operator"):
        fleet = {"name": "web", "workers": 1, "policy": POLICY}
        refused = deployed.deploy(fleet, check=False, celery_worker_autoscaling="keda")
        assert refused.returncode != 0
        assert "KEDA is not installed in this cluster" in refused.stdout
        # Who has none does not need it.
        assert deployed.platform.scale(ScaleRequest("web", 2, wait_timeout=120)).after == 2
    assert len(deployed.consuming("web")) == 2


def test_a_cluster_without_a_metrics_api(deployed: Deployed) -> None:
    deployed.deploy({"name": "web", "workers": 1})
    with without(deployed.cluster, "apiservice", "v1beta1.metrics.k8s.io", "metrics-server"):
        [worker] = deployed.workers("web")
        assert (worker.phase, worker.cpu_rate, worker.memory) == ("consuming", None, None)
        assert "what it uses is not known" in worker.why
        refused = deployed.deploy(
            {"name": "web", "workers": 1, "policy": POLICY}, check=False, celery_worker_autoscaling="hpa"
        )
        assert refused.returncode != 0
        assert "metrics" in refused.stdout
        assert not deployed.get("hpa")["items"]
    assert len(deployed.consuming("web")) == 1


def refused(deployed: Deployed, **fleet: Any) -> subprocess.CompletedProcess[str]:
    fleet = {"name": "web", "workers": 1, "start_timeout": 20, **fleet}
    done = deployed.deploy(fleet, check=False, celery_worker_rollout_timeout=20)
    assert done.returncode != 0
    return done


def test_pods_that_cannot_run_are_told_and_those_that_there_are_stay(deployed: Deployed) -> None:
    deployed.deploy({"name": "web", "workers": 1})
    [before] = deployed.consuming("web")
    pulled = refused(deployed, image="registry.invalid/none:1", pull_policy="IfNotPresent").stdout
    assert "registry.invalid/none:1" in pulled
    assert "ErrImagePull" in pulled or "ImagePullBackOff" in pulled
    assert "Insufficient cpu" in refused(deployed, requests={"cpu": "1000"}).stdout
    assert deployed.consuming("web") == [before]
    deployed.deploy({"name": "web", "workers": 1})
    wait_until(lambda: len(deployed.consuming("web")) == 1, 60, lambda: f"it is mended: {deployed.workers('web')}")
