# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory, with the controllers that make and delete pods, on a clock of its own."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakeTime
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import (
    Attempt,
    Refused,
    refused,
)

NAMESPACE = "muejam"
SERVER = "https://cluster.example.com:6443"


@dataclass
class FakePod:
    """One pod; times in seconds of the clock, None: not yet."""

    name: str
    fleet: str
    template: str
    created: float
    grace: float
    ready_at: float | None = None
    deleted_at: float | None = None
    ends_at: float | None = None
    unready_at: float | None = None
    waits: dict[str, str] | None = None
    sidecar_waits: dict[str, str] | None = None
    unschedulable: str = ""
    restarts: int = 0
    exit_code: int | None = None
    phase: str = "Running"
    annotations: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=lambda: {"requests": {"cpu": "500m", "memory": "256Mi"}})

    def ready(self, now: float) -> bool:
        up = self.ready_at is not None and self.ready_at <= now and self.unready_at is None
        return up and self.waits is None and self.deleted_at is None


@dataclass
class FakeDeployment:
    replicas: int
    template: str = "aaaa"
    ours: bool = True
    version: int = 100
    generation: int = 1
    revision: int = 1
    paused: bool = False
    observed_at: float = 0.0
    refused: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    templates: list[str] = field(default_factory=lambda: ["aaaa"])


@dataclass
class FakeCluster:
    """Takes the place of an API server.

    What makes it fail may be set at any time:

    :ivar refuses: by verb and resource, such as C(patch pods), the status and the message it answers with.
    :ivar start_seconds: from a pod's creation until it is ready.
    :ivar drain_seconds: by pod, how long it takes to end.
    :ivar trouble: what new pods wait for, such as C({"reason": "CrashLoopBackOff"}).
    :ivar unschedulable: what the scheduler says of new pods.
    :ivar quota: the most pods of the namespace.
    :ivar tasks: by pod, tasks in hand; None does not answer.
    :ivar objects: Leases and ConfigMaps by their paths.
    :ivar phase: of the namespace.
    :ivar served: by versions of the API the kinds that it knows, such as C({"apps/v1": ["Deployment"]}).
    :ivar denied: what the user may not, such as C(patch pods), or C(get deployments celery-worker-web) of one alone.
    :ivar most_bytes: the most that an object may have in it.
    :ivar later: what else happens, each with its time.
    :ivar before_patch: called before each change of a number.
    """

    time: FakeTime = field(default_factory=FakeTime)
    namespace: str = NAMESPACE
    server: str = SERVER
    deployments: dict[str, FakeDeployment] = field(default_factory=dict)
    pods: dict[str, FakePod] = field(default_factory=dict)
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    start_seconds: float = 3.0
    drain_seconds: dict[str, float] = field(default_factory=dict)
    grace: float = 60.0
    trouble: dict[str, str] | None = None
    unschedulable: str = ""
    quota: int | None = None
    tasks: dict[str, int | None] = field(default_factory=dict)
    usage: dict[str, dict[str, str]] | None = field(default_factory=dict)
    hpas: list[dict[str, Any]] = field(default_factory=list)
    scaled_objects: list[dict[str, Any]] | None = None
    namespaces: set[str] = field(default_factory=lambda: {NAMESPACE})
    phase: str = "Active"
    served: dict[str, list[str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    logs: dict[str, str] = field(default_factory=dict)
    before_patch: Callable[[], None] | None = None
    calls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    scaled: list[tuple[str, int]] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    most_bytes: int = 1024 * 1024
    later: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _made: int = 0
    _versions: int = 0

    def add(self, fleet: str, workers: int, **values: Any) -> FakeDeployment:
        """Have a fleet whose workers consume."""
        self.deployments[fleet] = FakeDeployment(workers, **values)
        for _ in range(workers):
            pod = self._make(fleet)
            pod.created, pod.ready_at = self.time.now - 100, self.time.now - 90
        return self.deployments[fleet]

    def of(self, fleet: str) -> list[str]:
        """The names of a fleet's pods, the oldest first."""
        return [pod.name for pod in self.pods.values() if pod.fleet == fleet]

    # The API.

    def get(self, path: str, **query: str) -> dict[str, Any]:
        attempt = self._note("GET", path)
        if attempt.resource == "namespaces":
            there = {"metadata": {"name": self.namespace}, "status": {"phase": self.phase}}
            return self._need(there if self.namespace in self.namespaces else None, attempt)
        if path.startswith("/apis/") and not attempt.resource:
            kinds = self.served.get(path.removeprefix("/apis/"))
            if kinds is None:
                raise refused(attempt, 404, "Not Found", b"404 page not found", "the kubeconfig")
            return {"resources": [{"kind": kind} for kind in kinds]}
        if attempt.resource in KEPT:
            return copy.deepcopy(self._need(self.objects.get(path), attempt))
        fleet = path.rpartition("/")[2].removeprefix(names.PREFIX)
        return self._need(self._deployment(fleet) if fleet in self.deployments else None, attempt)

    def list(self, path: str, label_selector: str = "", **query: str) -> list[dict[str, Any]]:
        attempt = self._note("GET", path)
        if attempt.group == "metrics.k8s.io":
            if self.usage is None:
                raise refused(attempt, 404, "Not Found", b"404 page not found", "the kubeconfig")
            return [
                {"metadata": {"name": pod}, "containers": [{"name": "sidecar"}, {"name": "worker", "usage": used}]}
                for pod, used in self.usage.items()
            ]
        if attempt.resource == "horizontalpodautoscalers":
            return self.hpas
        if attempt.resource == "scaledobjects":
            if self.scaled_objects is None:
                raise refused(attempt, 404, "Not Found", b"404 page not found", "the kubeconfig")
            return self.scaled_objects
        if attempt.resource == "replicasets":
            return [
                self._replica_set(fleet, each, template, number)
                for fleet, each in self.deployments.items()
                for number, template in enumerate(each.templates, 1)
                if f"{names.FLEET_LABEL}={fleet}" in label_selector
            ]
        if attempt.resource == "deployments":
            return [self._deployment(fleet) for fleet in self.deployments]
        assert attempt.resource == "pods", path
        wanted = label_selector.split(f"{names.FLEET_LABEL}=")[1:]
        return [self._pod(pod) for pod in self.pods.values() if not wanted or pod.fleet == wanted[0]]

    def patch(self, path: str, body: Any, kind: str = "merge", **query: str) -> dict[str, Any]:
        attempt = self._note("PATCH", path)
        if attempt.resource == "pods":
            pod = self.pods.get(path.rpartition("/")[2])
            self._need({} if pod else None, attempt)
            assert pod is not None
            pod.annotations.update(body["metadata"]["annotations"])
            return {}
        if attempt.resource == "deployments":
            fleet = path.rpartition("/")[2].removeprefix(names.PREFIX)
            noted = self._need(self._deployment(fleet) if fleet in self.deployments else None, attempt)
            after = {**noted["metadata"]["annotations"], **body["metadata"]["annotations"]}
            self.deployments[fleet].annotations = {key: value for key, value in after.items() if value is not None}
            self.deployments[fleet].version += 1
            return {}
        assert attempt.resource == "deployments/scale", path
        if self.before_patch:
            self.before_patch()
        deployment = self.deployments[path.split("/")[-2].removeprefix(names.PREFIX)]
        if body["metadata"]["resourceVersion"] != str(deployment.version):
            raise refused(attempt, 409, "Conflict", _said("the object has been modified", "Conflict"), "the kubeconfig")
        deployment.replicas = body["spec"]["replicas"]
        self.scaled.append((path.split("/")[-2].removeprefix(names.PREFIX), deployment.replicas))
        deployment.version += 1
        deployment.generation += 1
        self.settle()
        return {}

    def post(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        attempt = self._note("POST", path)
        if attempt.resource in KEPT:
            path += "/" + body["metadata"]["name"]
            if path in self.objects:
                raise refused(attempt, 409, "Conflict", _said("already exists", "AlreadyExists"), "the kubeconfig")
            return self._keep(path, body, attempt)
        assert attempt.resource == "selfsubjectaccessreviews"
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        right = " ".join(filter(None, (asked["verb"], resource, asked.get("name"))))
        self.asked.append(right)
        return {"status": {"allowed": right not in self.denied}}

    def put(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        attempt = self._note("PUT", path)
        before = self._need(self.objects.get(path), attempt)
        if body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            raise refused(attempt, 409, "Conflict", _said("the object has been modified", "Conflict"), "the kubeconfig")
        return self._keep(path, body, attempt)

    def _keep(self, path: str, body: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
        size = sum(len(text.encode()) for text in (body.get("data") or {}).values())
        size += sum(len(base64.b64decode(text)) for text in (body.get("binaryData") or {}).values())
        if size > self.most_bytes:
            message = "ConfigMap is invalid: []: Too long: may not be more than 1048576 bytes"
            raise refused(attempt, 422, "Unprocessable Entity", _said(message, "Invalid"), "the kubeconfig")
        self._versions += 1
        kept = copy.deepcopy(dict(body))
        kept["metadata"]["resourceVersion"] = str(self._versions)
        self.objects[path] = kept
        return copy.deepcopy(kept)

    def delete(self, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        attempt = self._note("DELETE", path)
        pod = self.pods.get(path.rpartition("/")[2])
        self._need({} if pod else None, attempt)
        assert pod is not None
        assert body == {"preconditions": {"uid": _uid(pod)}}
        self._end(pod)
        self.settle()
        return {}

    def text(self, path: str, most: int = 0, timeout: float | None = None, **query: str) -> bytes:
        attempt = self._note("GET", path)
        pod = path.split("/pods/")[1].partition("/")[0].partition(":")[0]
        if attempt.resource == "pods/log":
            return self.logs.get(pod, "").encode()
        tasks = self.tasks.get(pod, 0)
        if tasks is None:
            raise refused(attempt, 503, "", _said("dial tcp: i/o timeout", "ServiceUnavailable"), "the kubeconfig")
        return json.dumps({**STATUS, "active": tasks}).encode()

    # Its controllers.

    def settle(self) -> None:
        """Let happen what is due."""
        now = self.time.now
        for due in [one for one in self.later if one[0] <= now]:
            self.later.remove(due)
            due[1]()
        for pod in list(self.pods.values()):
            if pod.ends_at is not None and pod.ends_at <= now:
                del self.pods[pod.name]
        for fleet, deployment in self.deployments.items():
            current = [
                p for p in self.pods.values() if p.fleet == fleet and p.deleted_at is None and p.phase == "Running"
            ]
            goes_first = sorted(
                current,
                key=lambda pod: (
                    pod.ready(now),
                    int(pod.annotations.get(names.DELETION_COST, 0)),
                    -pod.created,
                    pod.name,
                ),
            )
            for pod in goes_first[: max(len(current) - deployment.replicas, 0)]:
                self._end(pod)
            deployment.refused = ""
            for _ in range(deployment.replicas - len(current)):
                if self.quota is not None and len(self.pods) >= self.quota:
                    deployment.refused = "pods is forbidden: exceeded quota: few, used: pods=2, limited: pods=2"
                    break
                self._make(fleet)

    def roll_out(self, fleet: str, template: str) -> None:
        """Have a new template, and one pod of it beside the old ones."""
        deployment = self.deployments[fleet]
        deployment.template, deployment.revision = template, deployment.revision + 1
        deployment.templates.append(template)
        deployment.generation += 1

    def _make(self, fleet: str) -> FakePod:
        self._made += 1
        template = self.deployments[fleet].template
        name = f"{names.object_name(fleet)}-{template}-{self._made:05d}"
        now = self.time.now
        pod = FakePod(name, fleet, template, now, self.grace, now + self.start_seconds)
        pod.waits, pod.unschedulable = self.trouble, self.unschedulable
        pod.restarts = 3 if self.trouble and self.trouble["reason"] == "CrashLoopBackOff" else 0
        if self.trouble or self.unschedulable:
            pod.ready_at = None
        self.pods[name] = pod
        return pod

    def _end(self, pod: FakePod) -> None:
        pod.deleted_at = self.time.now
        pod.ends_at = self.time.now + min(self.drain_seconds.get(pod.name, 1.0), pod.grace + 0.6)

    def _note(self, method: str, path: str) -> Attempt:
        attempt = Attempt(method, path, self.server)
        what = f"{attempt.verb} {attempt.resource}"
        self.calls.append(what)
        self.settle()
        if what in self.refuses:
            status, message = self.refuses[what]
            if not status:
                raise Refused(attempt.tried, message, "Check that the API server runs.")
            raise refused(attempt, status, "", _said(message, "Forbidden"), "the kubeconfig")
        return attempt

    def _need(self, found: dict[str, Any] | None, attempt: Attempt) -> dict[str, Any]:
        if found is None:
            name = attempt.path.rpartition("/")[2]
            body = _said(f'{attempt.resource} "{name}" not found', "NotFound", name)
            raise refused(attempt, 404, "Not Found", body, "the kubeconfig")
        return found

    def _time(self, at: float) -> str:
        return datetime.fromtimestamp(1_767_225_600.0 + at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _deployment(self, fleet: str) -> dict[str, Any]:
        each = self.deployments[fleet]
        of_it = [pod for pod in self.pods.values() if pod.fleet == fleet and pod.deleted_at is None]
        conditions = [{"type": "ReplicaFailure", "status": "True", "message": each.refused}] if each.refused else []
        return {
            "metadata": {
                "name": names.object_name(fleet),
                "uid": f"uid-{fleet}",
                "labels": names.labels(fleet) if each.ours else {"app": fleet},
                "resourceVersion": str(each.version),
                "generation": each.generation,
                "annotations": {"deployment.kubernetes.io/revision": str(each.revision), **each.annotations},
            },
            "spec": {"replicas": each.replicas, "paused": each.paused},
            "status": {
                "observedGeneration": each.generation - (each.observed_at > self.time.now),
                "replicas": len(of_it),
                "updatedReplicas": sum(pod.template == each.template for pod in of_it),
                "conditions": conditions,
            },
        }

    def _replica_set(self, fleet: str, each: FakeDeployment, template: str, number: int) -> dict[str, Any]:
        return {
            "metadata": {
                "labels": {**names.selector(fleet), names.HASH_LABEL: template},
                "ownerReferences": [{"kind": "Deployment", "uid": f"uid-{fleet}"}],
                "annotations": {"deployment.kubernetes.io/revision": str(number)},
            }
        }

    def _pod(self, pod: FakePod) -> dict[str, Any]:
        now = self.time.now
        metadata: dict[str, Any] = {
            "name": pod.name,
            "uid": _uid(pod),
            "labels": {**names.labels(pod.fleet), names.HASH_LABEL: pod.template},
            "annotations": pod.annotations,
            "creationTimestamp": self._time(pod.created),
        }
        if pod.deleted_at is not None:
            metadata["deletionTimestamp"] = self._time(pod.deleted_at + pod.grace)
            metadata["deletionGracePeriodSeconds"] = int(pod.grace)
        worker_ready = pod.ready(now)
        ready = worker_ready and pod.sidecar_waits is None
        came = pod.unready_at or (pod.ready_at if ready else None) or pod.created
        conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": self._time(came)}]
        told: dict[str, Any] = {"name": "worker", "restartCount": pod.restarts, "state": {}, "ready": worker_ready}
        beside: dict[str, Any] = {"name": "sidecar", "restartCount": 4 if pod.sidecar_waits else 0}
        beside["ready"] = pod.sidecar_waits is None
        beside["state"] = {"waiting": pod.sidecar_waits} if pod.sidecar_waits else {"running": {}}
        status: dict[str, Any] = {"phase": pod.phase, "conditions": conditions, "containerStatuses": [beside, told]}
        if pod.unschedulable:
            wrong = {"reason": "Unschedulable", "message": pod.unschedulable}
            conditions.append({"type": "PodScheduled", "status": "False", **wrong})
            status["phase"] = "Pending"
            del status["containerStatuses"]
        elif pod.exit_code is not None:
            told["state"]["terminated"] = {"exitCode": pod.exit_code, "reason": "Error"}
        elif pod.waits:
            told["state"]["waiting"] = pod.waits
            if pod.restarts:
                told["lastState"] = {
                    "terminated": {"exitCode": 1, "reason": "Error", "finishedAt": self._time(now - 5)}
                }
        else:
            told["state"]["running"] = {"startedAt": self._time(pod.created + 1)}
        return {
            "metadata": metadata,
            "spec": {
                "terminationGracePeriodSeconds": int(pod.grace),
                "containers": [{"name": "sidecar"}, {"name": "worker", "resources": pod.resources}],
            },
            "status": status,
        }


KEPT = ("leases", "configmaps")
"""Kinds of objects that are kept as they come."""

STATUS = {
    "version": 1,
    "pid": 1,
    "state": "consuming",
    "active": 0,
    "reserved": 0,
    "scheduled": 0,
    "processed": 12,
    "finished": 10,
    "taken": {"celery": 12},
    "pool": "prefork",
    "concurrency": 4,
    "config": "",
    "blocked": False,
    "monotonic": 5000.0,
    "written": 5000.5,
}
"""What a worker says of itself."""


def _uid(pod: FakePod) -> str:
    return f"uid-{pod.name}"


def _said(message: str, reason: str, name: str = "") -> bytes:
    said: Mapping[str, Any] = {"kind": "Status", "message": message, "reason": reason, "details": {"name": name}}
    return json.dumps(said).encode()
