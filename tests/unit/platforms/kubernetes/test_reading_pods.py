# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster tells of its fleets, and in how many calls."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading, WorkerReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import is_pod_of, labels
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import parse_pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.quantities import quantity
from fake_cluster import STATUS, FakeCluster

MIB = 2**20


def platform(cluster: FakeCluster, **values: Any) -> KubernetesPlatform:
    return KubernetesPlatform(cluster, clock=cluster.time.clock, **values)


def read(cluster: FakeCluster, **values: Any) -> FleetReading:
    return platform(cluster, **values).read("web")


def only_worker(cluster: FakeCluster, **values: Any) -> WorkerReading:
    workers = read(cluster, **values).workers
    assert workers is not None
    (worker,) = workers
    return worker


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("web", 1)
    return cluster


def test_a_worker_tells_everything(cluster: FakeCluster) -> None:
    (pod,) = cluster.of("web")
    cluster.tasks = {pod: 2}
    cluster.usage = {pod: {"cpu": "250m", "memory": "128Mi"}}
    reading = read(cluster)
    assert (reading.host, reading.exists, reading.wanted_workers, reading.wanted, reading.problem) == (
        "namespace muejam of https://cluster.example.com:6443",
        True,
        1,
        1,
        "",
    )
    assert reading.workers == (
        WorkerReading(
            name=f"web@{pod}",
            phase="consuming",
            life=f"uid-{pod}:0",
            active=2,
            reserved=0,
            started=12,
            taken={"celery": 12},
            cpu_rate=0.25,
            cores=0.5,
            memory=128.0 * MIB,
            memory_allowed=256.0 * MIB,
            since=90.0,
            concurrency=4,
            scheduled=0,
            id=pod,
        ),
    )


def test_calls_do_not_grow_with_the_fleets() -> None:
    cluster = FakeCluster()
    names = [f"fleet-{number}" for number in range(50)]
    for name in names:
        cluster.add(name, 4)
    kubernetes = platform(cluster, ask_workers=False)
    for _look in range(3):
        cluster.calls.clear()
        read, begun, readings = kubernetes.reader(), cluster.time.clock.wall(), []
        for name in names:
            readings.append(read(name))
            cluster.time.pass_by(60)
        assert sorted(cluster.calls) == ["list deployments", "list pods", "list pods"], "the last are the metrics"
        assert all(reading.wanted == 4 and len(reading.workers or ()) == 4 for reading in readings)
        assert {reading.at for reading in readings} == {begun}


def test_each_look_is_a_new_one(cluster: FakeCluster) -> None:
    cluster.add("mail", 1)
    kubernetes = platform(cluster)
    read = kubernetes.reader()
    assert cluster.calls == [], "until it is asked"
    assert read("web").wanted == 1
    cluster.deployments["web"].replicas = cluster.deployments["mail"].replicas = 2
    assert (read("web").wanted, read("mail").wanted) == (1, 1), "of the same instant"
    assert (kubernetes.read("web").wanted, kubernetes.reader()("mail").wanted) == (2, 2)


def test_where_heartbeats_tell_no_worker_is_asked(cluster: FakeCluster) -> None:
    worker = only_worker(cluster, ask_workers=False)
    assert (worker.active, worker.silent) == (None, False)
    assert "its heartbeats tell" in worker.why
    assert "get pods/proxy" not in cluster.calls


def test_without_a_metrics_api_the_use_is_unknown(cluster: FakeCluster) -> None:
    cluster.usage = None
    worker = only_worker(cluster)
    assert (worker.cpu_rate, worker.memory, worker.active) == (None, None, 0)
    assert worker.why == "what it uses is not known: this cluster has no metrics API; install metrics-server"
    cluster.usage = {}
    assert "has not measured it yet" in only_worker(cluster).why
    cluster.refuses["list pods"] = (0, "no answer")
    assert read(cluster).workers is None


def test_without_a_request_what_is_allowed_is_unknown(cluster: FakeCluster) -> None:
    (pod,) = cluster.of("web")
    cluster.usage = {pod: {"cpu": "1", "memory": "1Mi"}}
    cluster.pods[pod].resources = {"limits": {"memory": "1Gi"}}
    worker = only_worker(cluster)
    assert (worker.cores, worker.memory_allowed) == (None, 1024.0 * MIB)
    assert worker.why == "its container has no request and no limit of CPU, so its use in per cent is not known"


@pytest.mark.parametrize(
    ("refusal", "silent", "why"),
    [
        ((403, 'User "ci" cannot get resource "pods/proxy"'), False, 'resources: ["pods/proxy"], verbs: ["get"]'),
        ((404, "the server could not find the requested resource"), False, "no status over HTTP"),
        ((503, "error trying to reach service: connection refused"), True, "does not answer"),
        ((0, "timed out"), True, "does not answer: timed out"),
    ],
)
def test_a_worker_that_cannot_be_asked(cluster: FakeCluster, refusal: tuple[int, str], silent: bool, why: str) -> None:
    cluster.refuses["get pods/proxy"] = refusal
    worker = only_worker(cluster)
    assert (worker.phase, worker.active, worker.silent) == ("consuming", None, silent)
    assert why in worker.why


def test_a_container_beside_it_that_crashes_makes_no_worker_down(cluster: FakeCluster) -> None:
    (pod,) = cluster.of("web")
    cluster.pods[pod].sidecar_waits = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    worker = only_worker(cluster)
    assert (worker.phase, worker.active, worker.silent, worker.state) == ("consuming", 0, False, "")
    assert "container sidecar: CrashLoopBackOff: back-off 5m0s" in worker.why
    # What the worker itself waits for is still what is told.
    cluster.pods[pod].waits = {"reason": "ImagePullBackOff"}
    worker = only_worker(cluster)
    assert (worker.phase, worker.state) == ("down", "ImagePullBackOff")


def test_a_loop_that_stands_still_is_silent(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATUS, "monotonic", 4990.0)
    worker = only_worker(cluster)
    assert (worker.active, worker.silent, worker.taken) == (None, True, {"celery": 12})
    assert "s old" in worker.why


@pytest.mark.parametrize(
    ("changes", "phase", "state"),
    [
        ({"ready_at": None}, "starting", ""),
        ({"waits": {"reason": "ContainerCreating"}, "ready_at": None}, "starting", ""),
        ({"deleted_at": 1000.0, "ends_at": 2000.0}, "draining", ""),
        ({"waits": {"reason": "ErrImagePull", "message": "not found"}}, "down", "ErrImagePull: not found"),
        (
            {"waits": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}, "restarts": 2},
            "down",
            "CrashLoopBackOff: back-off 10s; before that it ended with exit code 1",
        ),
        ({"exit_code": 3}, "down", "it ended with exit code 3"),
        ({"unschedulable": "0/1 nodes"}, "down", "Unschedulable: 0/1 nodes"),
    ],
)
def test_phases(cluster: FakeCluster, changes: dict[str, Any], phase: str, state: str) -> None:
    (pod,) = cluster.of("web")
    for name, value in changes.items():
        setattr(cluster.pods[pod], name, value)
    if "exit_code" in changes or "ready_at" in changes or "unschedulable" in changes:
        cluster.pods[pod].ready_at = None
    worker = next(worker for worker in read(cluster).workers or () if worker.id == pod)
    assert (worker.phase, worker.state) == (phase, state)
    if phase == "down":
        # Its platform never gives it up, and nobody else is to start it.
        assert (worker.retried, worker.why) == (True, f"it does not run ({state})")
        assert worker.down_for is not None


def test_one_that_is_not_ready_any_more_consumes_and_may_be_busy(cluster: FakeCluster) -> None:
    (pod,) = cluster.of("web")
    cluster.pods[pod].unready_at = cluster.time.now - 20
    worker = only_worker(cluster)
    assert (worker.phase, worker.silent, worker.since) == ("consuming", True, None)
    assert worker.why.startswith("it is not ready any more")


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_is_no_worker(cluster: FakeCluster, phase: str) -> None:
    (pod,) = cluster.of("web")
    cluster.pods[pod].phase = phase
    reading = read(cluster)
    assert reading.workers is not None
    assert pod not in [worker.id for worker in reading.workers]
    assert len(reading.workers) == 1
    assert reading.lost == {f"web@{pod}": "it has ended"}


def test_how_a_pod_was_lost_is_told_unless_it_was_told_to_go() -> None:
    evicted = {
        "metadata": {"name": "web-1", "labels": labels("web")},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
    }
    pod = parse_pod(evicted)
    assert pod is not None
    assert (pod.over, pod.lost, pod.current) == (True, True, False)
    assert pod.state == "Evicted: The node was low on resource: memory."
    # Its worker has drained in time.
    why = {"reason": "TerminationByKubelet", "message": "The node was low on resource: memory."}
    evicted["status"] = {"phase": "Succeeded", "conditions": [{"type": "DisruptionTarget", "status": "True", **why}]}
    drained = parse_pod(evicted)
    assert drained is not None
    assert (drained.over, drained.lost) == (True, True)
    assert drained.state == "TerminationByKubelet: The node was low on resource: memory."
    evicted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    told = parse_pod(evicted)
    assert told is not None
    assert (told.over, told.lost) == (True, False)


def test_pods_of_others_are_no_workers() -> None:
    assert parse_pod({"metadata": {"name": "x", "labels": {"app.kubernetes.io/instance": "web"}}}) is None


def test_unknown_is_told_with_its_reason(cluster: FakeCluster) -> None:
    kubernetes = platform(cluster)
    absent = kubernetes.read("new")
    assert (absent.exists, absent.workers) == (False, None)
    assert "has no fleet new" in absent.problem
    cluster.refuses["list pods"] = (403, 'pods is forbidden: User "ci" cannot list resource "pods"')
    unread = kubernetes.read("web")
    assert (unread.exists, unread.workers) == (None, None)
    assert 'Add the rule {apiGroups: [""], resources: ["pods"], verbs: ["list"]}' in unread.problem
    cluster.refuses.clear()
    cluster.deployments.clear()
    cluster.namespaces.clear()
    nowhere = kubernetes.read("web")
    assert nowhere.exists is False
    assert "there is no such namespace" in nowhere.problem


def test_the_fleet_of_a_name_is_known_by_the_pods_that_were_seen(cluster: FakeCluster) -> None:
    kubernetes = platform(cluster)
    name = f"web@{cluster.of('web')[0]}"
    assert kubernetes.fleet_of(name) is None
    kubernetes.read("web")
    assert kubernetes.fleet_of(name) == "web"
    assert kubernetes.fleet_of("web@celery-worker-web-aaaa-zzzzz") is None, "a pod of another cluster"
    cluster.add("web", 0)
    cluster.pods.clear()
    cluster.time.pass_by(60)
    kubernetes.read("web")
    assert kubernetes.fleet_of(name) == "web", "its last words may come late"
    cluster.time.pass_by(300)
    kubernetes.read("web")
    assert kubernetes.fleet_of(name) is None


@pytest.mark.parametrize(
    ("pod", "of_web"),
    [
        ("celery-worker-web-7d9f8c6b5-x2x4z", True),
        ("celery-worker-web-a-7d9f8c6b5-x2x4z", False),
        ("celery-worker-webs-7d9f8c6b5-x2x4z", False),
        ("celery-worker-web-", False),
        ("celery-worker-web-7d9f8c6b5", False),
    ],
)
def test_names_of_pods(pod: str, of_web: bool) -> None:
    assert is_pod_of("web", pod) is of_web


def test_names_of_pods_that_are_cut() -> None:
    fleet = "f" * 40
    assert is_pod_of(fleet, f"celery-worker-{fleet}-7d9x2x4z")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 0.25),
        ("1", 1.0),
        ("1.5", 1.5),
        ("123456789n", 0.123456789),
        ("250u", 0.00025),
        ("512Mi", 512 * MIB),
        ("1Gi", 1024 * MIB),
        ("5E", 5e18),
        ("5e3", 5000.0),
        ("1k", 1000.0),
        (2, 2.0),
        (None, None),
        ("", None),
        ("12Q", None),
        ("lots", None),
    ],
)
def test_quantities(text: object, value: float | None) -> None:
    assert quantity(text) == (None if value is None else pytest.approx(value))
