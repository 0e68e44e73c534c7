# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for the pods of a fleet: what is done, what is only slow, and what never will be."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.awaiting import rolled_out
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import REVISION, Fleets

READY = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}


def deployment(wanted: int = 2, updated: int = 2, available: int = 2, there: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 3, "name": "celery-worker-web", "uid": "of-web", "labels": names.labels("web")},
        "spec": {"replicas": wanted},
        "status": {
            "observedGeneration": 3,
            "replicas": there,
            "updatedReplicas": updated,
            "availableReplicas": available,
            **status,
        },
    }


def pod(name: str, status: dict[str, Any], template: str = "new", **metadata: Any) -> dict[str, Any]:
    labels = {**names.labels("web"), names.HASH_LABEL: template}
    return {"metadata": {"name": name, "labels": labels, **metadata}, "status": status}


def replica_set(template: str, revision: int) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {names.HASH_LABEL: template},
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [{"uid": "of-web"}],
        }
    }


def waiting(reason: str, message: str = "", **container: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "worker", "ready": False, "state": state, **container}]}


class Cluster:
    """A fleet as it stands at one look after another; the last one stays. Stands for the API server."""

    server = "https://cluster.example"
    namespace = "shop"

    def __init__(self, *looks: tuple[dict[str, Any], list[dict[str, Any]]], log: str = "") -> None:
        self.looks = list(looks)
        self.log = log
        self.asked: list[dict[str, str]] = []
        self.now = 0.0

    def get(self, path: str, **query: str) -> dict[str, Any]:
        assert path == names.deployments("shop", "web")
        return self.looks[0][0]

    def list(self, path: str, label_selector: str = "", **query: str) -> list[dict[str, Any]]:
        assert label_selector == names.selector_text("web")
        if path.endswith("/replicasets"):
            return [replica_set("new", 10), replica_set("old", 9)]
        return self.looks[0][1] if len(self.looks) == 1 else self.looks.pop(0)[1]

    def text(self, path: str, most: int = 0, **query: str) -> bytes:
        self.asked.append({"path": path, **query})
        return self.log.encode()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self) -> dict[str, str]:
        clock = Clock(lambda: self.now, lambda: self.now, self.sleep)
        return rolled_out(Fleets(self, self.namespace), ["web"], 60, 30, clock)  # type: ignore[arg-type]

    def failure(self) -> str:
        with pytest.raises(OperationError) as caught:
            self.wait()
        return str(caught.value)


def test_it_is_over_when_all_consume_and_the_old_ones_are_gone() -> None:
    new = [pod("a", READY), pod("b", READY)]
    cluster = Cluster(
        (deployment(updated=1, there=3), [*new, pod("old", READY)]),
        (deployment(), [*new, pod("old", READY, deletionTimestamp="2026-01-01T00:00:00Z")]),
        (deployment(), new),
    )
    assert cluster.wait() == {"web": "2 of 2 pods consume, 0 drain"}
    assert cluster.now == 4


def test_a_fleet_of_none_is_over_when_its_pods_have_ended() -> None:
    nothing = deployment(0, 0, 0, 0)
    drains = pod("a", READY, deletionTimestamp="2026-01-01T00:00:00Z")
    cluster = Cluster((nothing, [drains]), (nothing, []))
    assert "0 of 0 pods" in cluster.wait()["web"]
    assert cluster.now == 2


def test_what_the_controller_has_not_seen_yet_is_not_over() -> None:
    unseen = deployment()
    unseen["metadata"]["generation"] = 4
    consuming = [pod("a", READY), pod("b", READY)]
    cluster = Cluster((unseen, consuming), (deployment(), consuming))
    cluster.wait()
    assert cluster.now == 2


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "shop:2"'),
            'a: down (ImagePullBackOff: Back-off pulling image "shop:2")',
        ),
        (waiting("CreateContainerConfigError", "image will run as root"), "image will run as root"),
        (waiting("InvalidImageName"), "InvalidImageName"),
        (
            waiting("CrashLoopBackOff", restartCount=3, lastState={"terminated": {"exitCode": 1, "reason": "Error"}}),
            "a: down (CrashLoopBackOff; before that it ended with exit code 1)",
        ),
        (
            waiting("X", restartCount=9, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "exit code 137, OOMKilled",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "worker", "ready": True, "state": {"running": {}}},
                    *waiting("CrashLoopBackOff", name="proxy")["containerStatuses"],
                ]
            },
            "a: consuming (container proxy: CrashLoopBackOff)",
        ),
    ],
)
def test_what_will_never_be_fails_at_once(status: dict[str, Any], says: str) -> None:
    cluster = Cluster((deployment(updated=1, there=3), [pod("a", status)]))
    failure = cluster.failure()
    assert says in failure
    assert "roll out the fleet web in namespace shop of https://cluster.example" in failure
    assert cluster.now == 0


def test_old_pods_that_never_came_up_do_not_fail_the_rollout_that_repairs_them() -> None:
    crashes = pod("broken", waiting("CrashLoopBackOff", restartCount=3), template="old")
    consuming = [pod("a", READY), pod("b", READY)]
    repairing = deployment(updated=1, there=3)
    cluster = Cluster((repairing, [crashes]), (repairing, [crashes, consuming[0]]), (deployment(), consuming))
    assert cluster.wait() == {"web": "2 of 2 pods consume, 0 drain"}


def test_what_a_quota_refused_before_it_was_raised_is_waited_for() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: few"}
    consuming = [pod("a", READY), pod("b", READY)]
    Cluster((deployment(updated=0, conditions=[condition]), []), (deployment(), consuming)).wait()


def test_a_quota_is_told_although_there_is_no_pod() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: few"}
    assert (
        "no pod could be made: exceeded quota: few"
        in Cluster((deployment(updated=0, conditions=[condition]), [])).failure()
    )


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient memory"}]},
        waiting("ContainerCreating"),
        waiting("ErrImagePull", "no such host"),
    ],
)
def test_what_may_come_yet_is_waited_for(status: dict[str, Any]) -> None:
    slow = deployment(updated=1, there=3)
    consuming = [pod("a", READY), pod("b", READY)]
    Cluster((slow, [pod("a", status)]), (slow, [pod("a", status)]), (deployment(), consuming)).wait()
    cluster = Cluster((slow, [pod("a", status)]))
    failure = cluster.failure()
    assert cluster.now > 60
    for part in ("Insufficient memory", "no such host"):
        assert (part in failure) == (part in str(status))


def test_each_step_begins_the_time_anew() -> None:
    consuming = [pod("a", READY), pod("b", READY)]
    looks = [(deployment(updated=1, there=3), consuming[:done]) for done in (0, 1) for _ in range(25)]
    cluster = Cluster(*looks, (deployment(), consuming))
    cluster.wait()
    assert cluster.now == 100


def test_the_log_of_what_ended_is_shown_and_its_passwords_are_not() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    cluster = Cluster(
        (deployment(updated=1, there=3), [pod("a", waiting("CrashLoopBackOff", restartCount=3, lastState=ended))]),
        log="ModuleNotFoundError: No module named 'shop'\nredis://:not-a-real-password@h:6379/0\n",
    )
    failure = cluster.failure()
    assert "No module named 'shop'" in failure
    assert "not-a-real-password" not in failure
    assert cluster.asked == [
        {"path": "/api/v1/namespaces/shop/pods/a/log", "container": "worker", "tailLines": "10", "previous": "true"}
    ]


def test_pods_that_drain_too_long_are_told_apart() -> None:
    drains = pod("old", READY, deletionTimestamp="2026-01-01T00:00:00Z")
    cluster = Cluster((deployment(), [pod("a", READY), pod("b", READY), drains]))
    assert "1 drain, and these do not end: old" in cluster.failure()
    assert 30 < cluster.now < 40
