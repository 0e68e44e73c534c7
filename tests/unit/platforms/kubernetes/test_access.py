# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment to a cluster takes, and how it is told what of that is missing, before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.filter import cluster as filters
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import cluster_objects, role
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import VARIABLES
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems, spec
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import access, scalers
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.access import Right
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.modules import access_info
from fake_cluster import FakeCluster

PAGE = Path(__file__).parents[4] / "docs/kubernetes.md"
PASSWORD = "not-a-real-password"
FLEET = {
    "name": "web",
    "app": "shop.celery:app",
    "queues": ["celery"],
    "image": "registry.example/shop:1.4",
    "broker_url": f"redis://:{PASSWORD}@redis:6379/0",
    "requests": {"cpu": "200m", "memory": "256M"},
    "autoscaling_options": {"image": "registry.example/kubectl:1.34"},
    "policy": {
        "limits": {"min_workers": 1, "max_workers": 4},
        "scale_up": {"any": [{"metric": "cpu", "above": 80}]},
        "schedule": {"windows": [{"name": "peak", "time": "08:00-18:00", "min_workers": 2}]},
    },
}
OWNERS = ("policy", "keda", "hpa", "schedule", "none")
SERVED = {
    "apps/v1": ["Deployment"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
    "batch/v1": ["CronJob", "Job"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "keda.sh/v1alpha1": ["ScaledObject", "TriggerAuthentication"],
}
TRIED = "deploy to namespace muejam"


def objects_of(autoscaling: str) -> list[dict[str, Any]]:
    """All that the roles apply for a fleet whose number is set by this one."""
    assert problems.find([FLEET], platform="kubernetes") == []
    fleets = spec.resolve([FLEET], platform="kubernetes")
    found = filters.cluster_objects(fleets, "muejam", {"signals.py": ""}, network_policy=True)
    handovers = filters.cluster_handovers(fleets, "muejam", autoscaling, 0.0)
    assert handovers["problems"] == []
    found += handovers["objects"]
    if autoscaling == "policy":
        settings = {name: variable.default for name, variable in VARIABLES.items()}
        settings.update({"image": "registry.example/autoscaler:1", "mode": ACT, "restart_stuck": True})
        plan = role.plan(fleets, settings, {}, autoscaling)
        found += cluster_objects.of_role(plan["configuration"], settings, "muejam")
    return found


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(served=dict(SERVED))


def failure(cluster: FakeCluster, *asked: Any, **more: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        access.require_access(cluster, TRIED, *asked, **more)
    assert PASSWORD not in str(caught.value)
    assert {call.partition(" ")[0] for call in cluster.calls} <= {"get", "list", "create"}
    assert not {call for call in cluster.calls if call.startswith("create")} - {"create selfsubjectaccessreviews"}
    return caught.value


@pytest.mark.parametrize("autoscaling", OWNERS)
def test_every_kind_that_is_applied_is_known_by_its_group(autoscaling: str) -> None:
    for thing in objects_of(autoscaling):
        group, _slash, _version = thing["apiVersion"].rpartition("/")
        assert access.KINDS[thing["kind"]][0] == group, thing["kind"]


def test_every_kind_that_is_removed_is_known_as_it_is_elsewhere() -> None:
    for kind in scalers.KINDS:
        assert access.KINDS[kind.kind] == (kind.version.rpartition("/")[0], kind.resource)
    for thing in [*cluster_objects.names_of_all("muejam"), *filters.cluster_leftovers(["web"], "muejam")]:
        assert access.KINDS[thing["kind"]][0] == thing["apiVersion"].rpartition("/")[0]


def test_the_outlines_of_a_fleet_have_all_kinds_of_its_objects() -> None:
    made = {(thing["apiVersion"], thing["kind"]) for thing in objects_of("none")}
    assert {(each["apiVersion"], each["kind"]) for each in filters.cluster_leftovers(["web"], "muejam")} == made


def test_what_it_takes_to_apply_and_to_remove() -> None:
    deployment, scaler = (
        next(thing for thing in objects_of("keda") if thing["kind"] == kind) for kind in ("Deployment", "ScaledObject")
    )
    assert access.to_apply([deployment, deployment]) == [
        Right("apps", "deployments", verb) for verb in ("get", "create", "patch")
    ]
    assert access.to_apply([scaler]) == [
        Right("keda.sh", "scaledobjects", verb) for verb in ("list", "create", "patch", "get")
    ]
    assert access.to_remove([deployment, deployment]) == [Right("apps", "deployments", v) for v in ("get", "delete")]


@pytest.mark.parametrize("autoscaling", OWNERS)
def test_who_has_all_rights_is_refused_nothing(cluster: FakeCluster, autoscaling: str) -> None:
    found = access.require_access(cluster, TRIED, objects_of(autoscaling), rights=access.TO_READ)
    assert {"create secrets", "patch deployments", "list pods"} <= {f"{each.verb} {each.resource}" for each in found}
    assert len(cluster.asked) == len(set(cluster.asked))


def test_all_missing_rights_are_told_as_rules_to_add(cluster: FakeCluster) -> None:
    cluster.denied = {"create secrets", "patch secrets", "create configmaps", "patch configmaps", "list pods"}
    error = failure(cluster, objects_of("none"), rights=access.TO_READ)
    assert error.tried == TRIED
    assert error.why == (
        "this user may not list pods, create secrets, patch secrets, create configmaps, patch configmaps in namespace "
        "muejam of https://cluster.example.com:6443"
    )
    first, *rules = error.next_step.splitlines()
    assert first == "Nothing was changed. Add to a Role in namespace muejam that is bound to this user:"
    assert yaml.safe_load("\n".join(rules)) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["create", "patch"]},
    ]


def test_who_makes_a_role_has_to_have_what_it_gives_but_who_may_give_anything(cluster: FakeCluster) -> None:
    cluster.denied = {"patch deployments/scale", "patch deployments/scale celery-worker-web", "escalate roles"}
    error = failure(cluster, objects_of("policy"))
    assert '- {apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["patch"]}' in error.next_step
    cluster.denied.remove("escalate roles")
    cluster.asked.clear()
    access.require_access(cluster, TRIED, objects_of("policy"))
    assert "patch deployments/scale" not in cluster.asked


def test_who_may_do_it_to_the_objects_that_are_meant_need_not_do_it_to_all(cluster: FakeCluster) -> None:
    cluster.denied = {"get leases", "escalate roles"}
    access.require_access(cluster, TRIED, objects_of("policy"))
    assert "get leases celery-autoscaler" in cluster.asked


def test_what_goes_and_what_is_done_besides_takes_rights_too(cluster: FakeCluster) -> None:
    cluster.denied = {"delete poddisruptionbudgets", "list horizontalpodautoscalers"}
    rules = [{"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}]
    error = failure(cluster, removed=filters.cluster_leftovers(["web"], "muejam"), rights=access.of_rules(rules))
    assert "may not list horizontalpodautoscalers, delete poddisruptionbudgets in" in error.why


def test_a_namespace_that_is_not_there(cluster: FakeCluster) -> None:
    cluster.namespaces = set()
    error = failure(cluster, objects_of("none"))
    assert isinstance(error, Refused)
    assert (error.status, error.why) == (404, "there is no such namespace")
    assert "celery_worker_namespace" in error.next_step
    assert "`kubectl create namespace muejam`" in error.next_step
    assert cluster.asked == []


def test_a_namespace_that_is_being_deleted(cluster: FakeCluster) -> None:
    cluster.phase = "Terminating"
    error = failure(cluster, objects_of("none"))
    assert "is being deleted" in error.why
    assert "Wait until it is gone" in error.next_step


def test_who_may_not_see_the_namespace(cluster: FakeCluster) -> None:
    cluster.refuses["get namespaces"] = (403, 'User "me" cannot get resource "namespaces" in API group ""')
    access.require_access(cluster, TRIED, objects_of("none"))
    cluster.denied = {"list pods"}
    error = failure(cluster, rights=access.TO_READ)
    assert "Whether there is such a namespace this user may not see: check its name. Add to a Role" in error.next_step
    cluster.refuses["get namespaces"] = (0, "Connection refused")
    assert "Connection refused" in failure(cluster).why


@pytest.mark.parametrize("left", [None, ["TriggerAuthentication"]])
def test_a_cluster_without_keda_is_told_before_a_right_on_it_is_missed(
    cluster: FakeCluster, left: list[str] | None
) -> None:
    cluster.denied = {"list scaledobjects", "escalate roles"}
    if left is None:
        del cluster.served["keda.sh/v1alpha1"]
    else:
        cluster.served["keda.sh/v1alpha1"] = left
    error = failure(cluster, objects_of("keda"))
    assert error.why == "KEDA is not installed in this cluster: it does not serve keda.sh/v1alpha1"
    assert "Install KEDA (https://keda.sh/docs/latest/deploy)" in error.next_step
    assert "celery_worker_autoscaling: policy" in error.next_step
    cluster.denied = set()
    access.require_access(cluster, TRIED, objects_of("hpa"))


def test_an_older_cluster(cluster: FakeCluster) -> None:
    del cluster.served["autoscaling/v2"]
    assert "this cluster has no such API: it does not serve autoscaling/v2" in failure(cluster, objects_of("hpa")).why


def test_what_the_options_of_the_module_lack() -> None:
    given: dict[str, Any] = {"objects": objects_of("policy"), "removed": [{"kind": "Secret"}], "rules": []}
    assert list(access_info.faults(given)) == []
    given["objects"] = [
        {"kind": "Pod"},
        {"kind": "Role", "apiVersion": "v1", "metadata": {}, "rules": [{"verbs": "*"}]},
    ]
    given["removed"] = [{}]
    given["rules"] = [{"apiGroups": [""], "resources": "pods", "verbs": ["list"]}]
    assert [fault.partition(":")[0] for fault in access_info.faults(given)] == [
        "objects[0].kind",
        "removed[0].kind",
        "objects[0].apiVersion",
        "objects[0].metadata",
        "objects[1].rules[0].apiGroups",
        "objects[1].rules[0].resources",
        "objects[1].rules[0].verbs",
        "rules[0].resources",
    ]


def rules_of_the_page() -> list[dict[str, Any]]:
    """The Role that docs/kubernetes.md has for who deploys."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"^## Rights$.*?^```yaml\n(?P<rules>.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    rules: list[dict[str, Any]] = yaml.safe_load(found["rules"])["rules"]
    return rules


def wanted(autoscaling: str) -> Iterator[Right]:
    objects = objects_of(autoscaling)
    yield from access.to_apply(objects)
    yield from access.granted(objects)
    yield from access.to_remove(filters.cluster_leftovers(["web"], "muejam"))
    yield from access.to_remove(cluster_objects.names_of_all("muejam"))
    yield from access.TO_READ
    yield from access.TO_SCALE
    yield from access.TO_RESTART
    yield from access.TO_TELL_MORE
    for kind in scalers.KINDS:
        for verb in ("list", "delete"):
            yield Right(*access.KINDS[kind.kind], verb)


@pytest.mark.parametrize("autoscaling", OWNERS)
def test_the_page_has_all_that_a_deployment_takes(autoscaling: str) -> None:
    given = {(each.group, each.resource, each.verb) for each in access.of_rules(rules_of_the_page())}
    assert {(each.group, each.resource, each.verb) for each in wanted(autoscaling)} - given == set()


def test_the_page_has_no_right_that_nothing_takes() -> None:
    taken = {(each.group, each.resource, each.verb) for owner in OWNERS for each in wanted(owner)}
    given = {(each.group, each.resource, each.verb) for each in access.of_rules(rules_of_the_page())}
    # To look whether it is there, and to tell why it is not.
    assert given - taken <= {("", "namespaces", "get")}
