# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster has what the tests of workers on Kubernetes count on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from broker_servers import RedisServer

from muejam_bed.shell import BedError
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def worker(redis_url: str) -> dict[str, Any]:
    """Return a pod that runs the demo's application with a broker."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker"},
        "spec": {
            "containers": [
                {
                    "name": "worker",
                    "image": DEMO,
                    "env": [{"name": "CELERY_BROKER_URL", "value": redis_url}],
                    "args": ["celery", "--app", "celery_demo", "worker", "--concurrency", "1", "--loglevel", "info"],
                    "securityContext": RESTRICTED,
                }
            ],
            "terminationGracePeriodSeconds": 5,
        },
    }


def test_a_pod_of_the_demo_works_with_redis(cluster: Cluster, namespace: str, redis: RedisServer) -> None:
    """A restricted pod runs the application, takes a task from the broker and runs it."""
    cluster.apply(namespace, [worker(redis.url)])
    cluster.kubectl("wait", "--namespace", namespace, "pod/worker", "--for=condition=Ready", "--timeout=120s")
    send = ["python", "-m", "celery_demo.send", "--count", "1", "--min", "0", "--max", "0"]
    cluster.kubectl("exec", "--namespace", namespace, "worker", "--", *send)

    def log() -> str:
        return cluster.kubectl("logs", "--namespace", namespace, "worker").stdout

    wait_until(lambda: " succeeded in " in log(), 60, log)
    assert cluster.kubectl("exec", "--namespace", namespace, "worker", "--", "id", "-u").stdout.strip() == "1000"


def test_pods_that_are_not_restricted_are_refused(cluster: Cluster, namespace: str) -> None:
    """The namespaces of tests let nothing run that a careful cluster would refuse."""
    pod = worker("redis://192.0.2.1/0")
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(BedError, match="violates PodSecurity"):
        cluster.apply(namespace, [pod])


def test_metrics_of_nodes_are_served(cluster: Cluster) -> None:
    """metrics-server answers by way of the API, some seconds after its first look at a node."""

    def nodes() -> Any:
        return json.loads(cluster.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes").stdout)["items"]

    assert wait_until(nodes, 60, "metrics of nodes")[0]["usage"]["memory"]


def test_keda_scales_by_a_queue(cluster: Cluster, namespace: str, redis: RedisServer) -> None:
    """All of KEDA works: a Deployment of no pods gets one for what waits, and two through the external metric."""
    labels = {"app": "worker"}
    pod = worker(redis.url)
    container = {**pod["spec"]["containers"][0], "args": ["sleep", "infinity"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }
    host, _, port = redis.url.removeprefix("redis://").partition("/")[0].rpartition(":")
    trigger = {
        "type": "redis",
        "metadata": {"address": f"{host}:{port}", "listName": "celery", "listLength": "1", "databaseIndex": "0"},
    }
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"name": "worker"},
            "pollingInterval": 2,
            "minReplicaCount": 0,
            "maxReplicaCount": 2,
            "triggers": [trigger],
        },
    }
    cluster.apply(namespace, [deployment, scaled])
    redis.client().rpush("celery", "one", "two")

    def replicas() -> Any:
        return cluster.get("--namespace", namespace, "deployment/worker")["spec"]["replicas"]

    wait_until(lambda: replicas() == 2, 120, lambda: f"two pods, there are {replicas()}")
