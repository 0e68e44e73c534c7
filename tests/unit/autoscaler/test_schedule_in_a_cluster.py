# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedule of a fleet in a cluster: CronJobs for whatever sets the number of its pods, and nobody is fought."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import in_cluster
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import Patience
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import scaler_labels
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Attempt, refused

POLICY = parse_policy(
    {
        "schedule": {
            "windows": [
                {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
                {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
            ]
        }
    }
)
AT_NIGHT = datetime(2026, 6, 1, 3, tzinfo=timezone.utc).timestamp()
AT_NOON = AT_NIGHT + 9 * 3600
HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"


class Api:
    """An API server in memory, with the Deployment of the fleet web."""

    server, namespace = "https://cluster.example", "shop"

    def __init__(self) -> None:
        labels = dict(each.split("=") for each in f"{names.OURS},{names.FLEET_LABEL}=web".split(","))
        deployment = {"metadata": {"name": "celery-worker-web", "labels": labels}}
        self.objects: dict[str, dict[str, Any]] = {names.deployments("shop", "web"): deployment}
        self.calls: list[str] = []

    def list(self, path: str, label_selector: str = "", **query: str) -> list[dict[str, Any]]:
        labels = dict(each.split("=") for each in label_selector.split(",") if each)
        found = [value for name, value in self.objects.items() if name.rpartition("/")[0] == path]
        return [copy.deepcopy(each) for each in found if labels.items() <= each["metadata"].get("labels", {}).items()]

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path not in self.objects:
            body = b'{"kind": "Status", "reason": "NotFound", "message": "not found"}'
            raise refused(Attempt("GET", path, self.server), 404, "Not Found", body, "a test")
        return copy.deepcopy(self.objects[path])

    def patch(self, path: str, body: Any, kind: str = "merge", **query: str) -> dict[str, Any]:
        if query.get("dryRun"):
            return copy.deepcopy(dict(body))
        self.calls.append(f"{kind} {path.rpartition('/')[2]}")
        if kind == "merge":
            for part, values in body.items():
                self.objects[path].setdefault(part, {}).update(values)
        else:
            self.objects[path] = copy.deepcopy(dict(body))
        return self.objects[path]

    def post(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        assert body["kind"] == "SelfSubjectAccessReview"
        return {"status": {"allowed": True}}

    def delete(self, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        self.calls.append(f"delete {path.rpartition('/')[2]}")
        return self.objects.pop(path)

    def jobs(self) -> dict[str, list[str]]:
        """What each CronJob runs, by its schedule."""
        return {
            each["spec"]["schedule"]: each["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0][
                "command"
            ]
            for path, each in self.objects.items()
            if "/cronjobs/" in path
        }


def hpa(name: str, **metadata: Any) -> dict[str, Any]:
    target = {"kind": "Deployment", "name": "celery-worker-web"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9}
    return {"metadata": {"name": name, "uid": "1", **metadata}, "spec": spec}


def keep(api: Api, platform: FakePlatform, at: float = AT_NOON, check: bool = False) -> in_cluster.Kept:
    return in_cluster.keep(api, platform, "web", POLICY, "kubectl:1", at, Patience(), check)


def workers(platform: FakePlatform) -> int:
    return len(platform.manager.read_fleet("web").current)


def test_cron_jobs_set_the_number_and_what_holds_is_set_at_once() -> None:
    api, platform = Api(), FakePlatform(1, 2)
    foretold = keep(api, platform, check=True)
    assert (foretold.changed, api.calls, workers(platform)) == (True, [], 2)
    assert foretold.scaled is not None
    assert (foretold.scaled.before, foretold.scaled.after) == (2, 5)
    kept = keep(api, platform)
    assert (kept.owner, workers(platform)) == ("Deployment celery-worker-web", 5)
    assert api.jobs() == {
        "0 8 * * *": ["kubectl", "scale", "deployment/celery-worker-web", "--replicas=5"],
        "0 18 * * *": ["kubectl", "scale", "deployment/celery-worker-web", "--replicas=2"],
    }
    assert not keep(api, platform).changed
    platform.manager.add(6, 7)
    assert not keep(api, platform).changed, "a number within the bounds stays"


def test_late_jobs_act_until_the_next_edge_and_not_after_it() -> None:
    api = Api()
    keep(api, FakePlatform(1, 2))
    specs = {each["spec"]["schedule"]: each["spec"] for path, each in api.objects.items() if "/cronjobs/" in path}
    # A job that begins as late as it may, and is tried for as long as it may, is over before the next edge.
    assert specs["0 8 * * *"]["startingDeadlineSeconds"] == 9 * 3600 - 4
    assert specs["0 18 * * *"]["startingDeadlineSeconds"] == 13 * 3600 - 4
    assert {each["jobTemplate"]["spec"]["activeDeadlineSeconds"] for each in specs.values()} == {3600}


def test_a_removed_schedule_leaves_nothing_and_the_number() -> None:
    api, platform = Api(), FakePlatform(1, 2)
    before = set(api.objects)
    keep(api, platform)
    assert in_cluster.remove(api, "web", check=True).changed
    assert in_cluster.remove(api, "web", check=False).changed
    assert set(api.objects) == before
    assert workers(platform) == 5
    assert not in_cluster.remove(api, "web", check=False).changed


def test_the_scaler_of_somebody_else_gets_floor_and_ceiling() -> None:
    api, platform = Api(), FakePlatform(1, 2)
    api.objects[f"{HPAS}/by-hand"] = hpa("by-hand")
    assert keep(api, platform, check=True).bounds is not None
    kept = keep(api, platform)
    assert kept.owner == "HorizontalPodAutoscaler by-hand"
    spec = api.objects[f"{HPAS}/by-hand"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], workers(platform)) == (5, 20, 2)
    assert api.jobs()["0 18 * * *"][1:] == [
        "patch", "hpa/by-hand", "--type=merge", '--patch={"spec": {"minReplicas": 2, "maxReplicas": 10}}',
    ]  # fmt: skip
    assert not keep(api, platform).changed
    assert keep(api, platform, AT_NIGHT).bounds == (
        {"minReplicas": 5, "maxReplicas": 20},
        {"minReplicas": 2, "maxReplicas": 10},
    )
    in_cluster.remove(api, "web", check=False)
    assert f"{HPAS}/by-hand" in api.objects


def test_our_own_scaler_has_the_schedule_already() -> None:
    api, platform = Api(), FakePlatform(1, 2)
    api.objects[f"{HPAS}/celery-worker-web-scaler"] = hpa("celery-worker-web-scaler", labels=scaler_labels("web"))
    with pytest.raises(OperationError, match="made of the fleet's policy, sets its number"):
        keep(api, platform)
    assert api.calls == []
    kept = in_cluster.remove(api, "web", check=False)
    assert (kept.owner, kept.changed) == ("HorizontalPodAutoscaler celery-worker-web-scaler", False)


def test_an_unknown_fleet_is_told_before_anything_is_made() -> None:
    api = Api()
    api.objects.clear()
    with pytest.raises(OperationError, match="there is no Deployment celery-worker-web"):
        keep(api, FakePlatform(1, 2))
    assert api.calls == []


def test_a_rehearsal_takes_a_fleet_that_is_yet_to_come_for_one_of_no_workers() -> None:
    api = Api()
    api.objects.clear()
    foretold = keep(api, FakePlatform(), check=True)
    assert foretold.changed
    assert len(foretold.objects.applied) == 5, "three for the rights, and a CronJob for each edge"
    assert foretold.scaled is not None
    assert (foretold.scaled.before, foretold.scaled.after) == (0, 5)
    [warning] = foretold.warnings
    assert "has no fleet web yet; check mode takes it for one of 0 workers" in warning
    assert api.calls == []
