# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one owner of the number of pods to another: never two, none left behind, nothing changed where it is refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.handing_over import Outcome, hand_over
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    SCALED_BY,
    labels,
    object_name,
    scaler_labels,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Attempt, refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.scalers import KINDS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.secret_values import secrets_of

PATH = re.compile(r"(?P<root>.*/namespaces/shop/(?P<resource>\w+))(?:/(?P<name>.+))?")
NO_API = b"404 page not found\n"


class Cluster:
    """An API server in memory: KEDA makes an HPA of each ScaledObject, which goes some time after it."""

    server = "https://cluster.example"
    namespace = "shop"

    def __init__(self, keda: bool = True, metrics: bool = True) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.absent = [] if keda else ["scaledobjects", "triggerauthentications"]
        self.forbidden: list[str] = []
        self.denied: list[str] = []
        self.binds_any = True
        self.metrics = metrics
        self.ready = "True"
        self.lingers = 2  # seconds
        self.now = 0.0
        self.most_owners = 0
        self.noted = {"web": "none", "mail": "none"}
        self.breaks: str | None = None
        self.refuses: str | None = None
        self._made = 0

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for key, value in list(self.objects.items()):
            if value.get("ends", float("inf")) <= self.now:
                del self.objects[key]

    def put(self, value: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
        resource = next(kind.resource for kind in KINDS if kind.kind == value["kind"])
        self._made += 1
        found = copy.deepcopy(dict(value))
        found["metadata"] = {"uid": f"uid-{self._made}", **found["metadata"], **metadata}
        self.objects[resource, found["metadata"]["name"]] = found
        return found

    def _owners(self) -> int:
        return sum(
            not value["metadata"].get("ownerReferences")
            for (resource, _name), value in self.objects.items()
            if resource in ("scaledobjects", "horizontalpodautoscalers", "cronjobs")
        ) + (self.noted["web"] in ("", "policy"))

    def _taken(self, method: str, path: str) -> tuple[str, str]:
        found = PATH.fullmatch(path)
        assert found, path
        attempt = Attempt(method, path, self.server)
        if found["resource"] in self.absent:
            raise refused(attempt, 404, "Not Found", NO_API, "a test")
        if found["resource"] in self.forbidden:
            body = b'{"kind": "Status", "reason": "Forbidden", "message": "User \\"me\\" cannot list resource"}'
            raise refused(attempt, 403, "Forbidden", body, "a test")
        return found["resource"], found["name"] or ""

    def list(self, path: str, label_selector: str = "", **query: str) -> list[dict[str, Any]]:
        resource, _name = self._taken("GET", path)
        if resource == "deployments":
            return [
                {"metadata": {"name": object_name(fleet), "labels": labels(fleet), "annotations": {SCALED_BY: by}}}
                for fleet, by in self.noted.items()
            ]
        wanted = dict(each.split("=") for each in label_selector.split(",") if each)
        return [
            copy.deepcopy(value)
            for (kind, _), value in self.objects.items()
            if kind == resource and wanted.items() <= (value["metadata"].get("labels") or {}).items()
        ]

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path == "/apis/metrics.k8s.io/v1beta1":
            if not self.metrics:
                raise refused(Attempt("GET", path, self.server), 404, "Not Found", NO_API, "a test")
            return {}
        value = copy.deepcopy(self.objects[self._taken("GET", path)])
        value["status"] = {"conditions": [{"type": "Ready", "status": self.ready, "message": "no such Secret"}]}
        return value

    def patch(self, path: str, body: Any, kind: str = "merge", **query: str) -> dict[str, Any]:
        resource, name = self._taken("PATCH", path)
        if resource == "deployments":
            fleet = name.removeprefix("celery-worker-")
            self.noted[fleet] = body["metadata"]["annotations"][SCALED_BY] or ""
            self.calls.append(f"note {fleet} {self.noted[fleet]}")
            self.most_owners = max(self.most_owners, self._owners())
            return {}
        if kind == "merge":
            self.calls.append(f"merge {resource} {name} {body}")
            return {}
        assert query["fieldManager"] == "muejam.celery"
        assert query["force"] == "true"
        if resource == "rolebindings" and not self.binds_any:
            role = body["roleRef"]["name"]
            if ("roles", role) not in self.objects:
                said = {"kind": "Status", "reason": "NotFound", "message": f'roles "{role}" not found'}
                attempt = Attempt("PATCH", path, self.server)
                raise refused(attempt, 404, "Not Found", json.dumps(said).encode(), "a test")
        if query.get("dryRun"):
            # KEDA's own check of what is about to be made.
            if resource == "scaledobjects" and any(key[0] == "horizontalpodautoscalers" for key in self.objects):
                others = [
                    name
                    for (kind, name), each in self.objects.items()
                    if kind == "horizontalpodautoscalers" and not each["metadata"].get("ownerReferences")
                ]
                annotations = body["metadata"].get("annotations") or {}
                taken = annotations.get("scaledobject.keda.sh/transfer-hpa-ownership") == "true" and [
                    body["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"]
                ]
                assert not others or others == taken, "KEDA refuses a second owner"
            if resource == self.refuses:
                raise refused(Attempt("PATCH", path, self.server), 422, "", b"", "a test")
            return copy.deepcopy(dict(body))
        if resource == self.breaks:
            raise refused(Attempt("PATCH", path, self.server), 500, "", b"", "a test")
        self.calls.append(f"apply {resource} {name}")
        made = self.put(body)
        if resource == "scaledobjects":
            owner = {"kind": "ScaledObject", "name": name, "uid": made["metadata"]["uid"]}
            hpa = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": f"keda-hpa-{name}"}, "spec": body["spec"]}
            self.put(hpa, ownerReferences=[owner], labels=body["metadata"]["labels"])
        self.most_owners = max(self.most_owners, self._owners())
        return made

    def post(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        assert body["kind"] == "SelfSubjectAccessReview"
        asked = body["spec"]["resourceAttributes"]
        return {"status": {"allowed": f"{asked['verb']} {asked['resource']}" not in self.denied}}

    def delete(self, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        resource, name = self._taken("DELETE", path)
        self.calls.append(f"delete {resource} {name}")
        if resource == "scaledobjects":
            self.objects["scaledobjects", name]["ends"] = self.now + self.lingers
            self.objects["horizontalpodautoscalers", f"keda-hpa-{name}"]["ends"] = self.now + self.lingers + 1
        else:
            del self.objects[resource, name]
        return {}


def made(kind: str, name: str, fleet: str = "web", **content: Any) -> dict[str, Any]:
    version = next(each.version for each in KINDS if each.kind == kind)
    metadata = {"name": name, "namespace": "shop", "labels": scaler_labels(fleet)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def scaled_object(fleet: str = "web", triggers: Sequence[str] = ("redis",), **spec: Any) -> dict[str, Any]:
    target = {"name": f"celery-worker-{fleet}"}
    whole = {"scaleTargetRef": target, "triggers": [{"type": each} for each in triggers], **spec}
    return made("ScaledObject", f"celery-worker-{fleet}-scaler", fleet, spec=whole)


def hpa(fleet: str = "web", floor: int = 2) -> dict[str, Any]:
    target = {"kind": "Deployment", "name": f"celery-worker-{fleet}"}
    spec = {"scaleTargetRef": target, "minReplicas": floor}
    return made("HorizontalPodAutoscaler", f"celery-worker-{fleet}-scaler", fleet, spec=spec)


SECRET = made("Secret", "celery-worker-web-keda", data={"broker-password": "bm90LXJlYWw="})
LOGIN = made("TriggerAuthentication", "celery-worker-web-scaler-login", spec={})
JOB = made("CronJob", "celery-worker-web-0800-12345", spec={})
KEDA = [SECRET, LOGIN, scaled_object()]


def hand(cluster: Cluster, owner: str, wanted: Sequence[Any], check: bool = False, fleet: str = "web") -> Outcome:
    return hand_over(cluster, {fleet: owner}, wanted, check=check, ready_within=5.0, clock=cluster.clock)


def test_nothing_is_done_twice() -> None:
    cluster = Cluster()
    assert hand(cluster, "keda", KEDA).applied == [
        "Secret celery-worker-web-keda",
        "TriggerAuthentication celery-worker-web-scaler-login",
        "ScaledObject celery-worker-web-scaler",
    ]
    cluster.calls = []
    assert not hand(cluster, "keda", KEDA).changed
    assert cluster.calls == []


def test_each_switch_removes_the_old_owner_first_and_leaves_nothing() -> None:
    cluster = Cluster()
    for owner, wanted, there in (
        ("keda", KEDA, 4),  # with the HPA that KEDA makes
        ("hpa", [hpa()], 1),
        ("keda", KEDA, 4),
        ("schedule", [JOB], 1),
        ("hpa", [hpa()], 1),
        ("policy", [], 0),
        ("schedule", [JOB], 1),
        ("policy", [], 0),
        ("keda", KEDA, 4),
        ("policy", [], 0),
    ):
        outcome = hand(cluster, owner, wanted)
        assert outcome.changed
        assert len(cluster.objects) == there
        assert not hand(cluster, owner, wanted).changed
    assert cluster.most_owners == 1


def test_the_autoscaler_lets_go_first_and_comes_last() -> None:
    cluster = Cluster()
    cluster.noted["web"] = "policy"
    assert hand(cluster, "hpa", [hpa()], check=True).noted == {"web": "hpa"}
    assert cluster.calls == []
    assert hand(cluster, "hpa", [hpa()]).noted == {"web": "hpa"}
    hand(cluster, "policy", [])
    name = "horizontalpodautoscalers celery-worker-web-scaler"
    assert cluster.calls == ["note web hpa", f"apply {name}", f"delete {name}", "note web policy"]
    # A fleet that nobody is noted for may be the daemon's as well.
    cluster.noted["web"] = ""
    assert hand(cluster, "none", []).noted == {"web": "none"}


@pytest.mark.parametrize("noted", ["policy", ""])
def test_a_switch_that_breaks_off_before_anybody_has_begun_gives_the_fleet_back(noted: str) -> None:
    cluster = Cluster()
    cluster.noted["web"], cluster.breaks = noted, "triggerauthentications"
    with pytest.raises(OperationError):
        hand(cluster, "keda", KEDA)
    assert cluster.noted["web"] == noted
    cluster.breaks = None
    hand(cluster, "keda", KEDA)
    assert cluster.noted["web"] == "keda"


def test_a_switch_that_breaks_off_later_gives_nothing_back() -> None:
    cluster = Cluster()
    cluster.noted["web"], cluster.ready = "policy", "False"
    with pytest.raises(OperationError, match="it is not ready"):
        hand(cluster, "keda", KEDA)
    assert cluster.noted["web"] == "keda"


def test_a_fleet_that_is_not_there_yet_is_not_noted() -> None:
    assert hand(Cluster(), "keda", [], check=True, fleet="new").noted == {}


def test_who_acts_goes_before_what_it_needs() -> None:
    cluster = Cluster()
    hand(cluster, "keda", [*KEDA, JOB])
    cluster.calls, before = [], cluster.now
    hand(cluster, "hpa", [hpa()])
    assert cluster.calls == [
        "note web hpa",
        "delete cronjobs celery-worker-web-0800-12345",
        "delete scaledobjects celery-worker-web-scaler",
        "delete triggerauthentications celery-worker-web-scaler-login",
        "delete secrets celery-worker-web-keda",
        "apply horizontalpodautoscalers celery-worker-web-scaler",
    ]
    assert cluster.now - before == 3.0, "it waited for the HPA that KEDA had made"


def test_a_check_changes_nothing_and_says_what_would_be() -> None:
    cluster = Cluster()
    hand(cluster, "hpa", [hpa()])
    cluster.calls = []
    outcome = hand(cluster, "keda", KEDA, check=True)
    assert outcome.removed == ["HorizontalPodAutoscaler celery-worker-web-scaler"]
    assert len(outcome.applied) == 3
    assert cluster.calls == []
    shown = {title: after for title, _before, after in outcome.differences}
    assert shown["Secret celery-worker-web-keda"] == {
        "metadata": SECRET["metadata"],
        "data": {"broker-password": "(secret)"},
    }


def test_bounds_that_somebody_changed_are_set_again() -> None:
    cluster = Cluster()
    hand(cluster, "hpa", [hpa(floor=2)])
    assert hand(cluster, "hpa", [hpa(floor=5)]).applied == ["HorizontalPodAutoscaler celery-worker-web-scaler"]


def test_other_fleets_are_left_alone() -> None:
    cluster = Cluster()
    hand(cluster, "keda", [scaled_object("mail")], fleet="mail")
    assert not hand(cluster, "none", []).changed
    assert ("scaledobjects", "celery-worker-mail-scaler") in cluster.objects


@pytest.mark.parametrize(
    ("first", "owner", "wanted", "refuses"),
    [
        ([hpa()], "keda", KEDA, "scaledobjects"),
        (KEDA, "hpa", [hpa()], "horizontalpodautoscalers"),
    ],
)
def test_a_new_owner_that_is_refused_is_known_while_the_old_one_is_there(
    first: list[Any], owner: str, wanted: list[Any], refuses: str
) -> None:
    cluster = Cluster()
    hand(cluster, "keda" if owner == "hpa" else "hpa", first)
    cluster.calls, cluster.refuses = [], refuses
    with pytest.raises(OperationError):
        hand(cluster, owner, wanted)
    assert cluster.calls == []


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
@pytest.mark.parametrize("owner", ["keda", "hpa", "schedule", "policy"])
def test_what_somebody_else_made_is_named_and_left(kind: str, owner: str) -> None:
    cluster = Cluster()
    theirs = {**(hpa() if kind == "HorizontalPodAutoscaler" else scaled_object())}
    theirs["metadata"] = {"name": "theirs", "labels": {"team": "shop"}}
    cluster.put(theirs)
    with pytest.raises(OperationError, match=f"the {kind} theirs, which muejam.celery did not make, sets it already"):
        hand(cluster, owner, {"keda": KEDA, "hpa": [hpa()]}.get(owner, []))
    assert cluster.calls == []
    outcome = hand(cluster, "none", [])
    assert outcome.others == {"web": f"{kind} theirs"}
    assert not outcome.changed


def test_a_name_that_is_ours_on_an_object_that_is_not_is_refused() -> None:
    cluster = Cluster()
    cluster.put({**hpa(), "metadata": {"name": "celery-worker-web-scaler"}})
    with pytest.raises(OperationError, match="did not make"):
        hand(cluster, "hpa", [hpa()])


def test_a_cluster_without_keda_is_told_before_anything_is_changed() -> None:
    cluster = Cluster(keda=False)
    hand(cluster, "hpa", [hpa()])
    cluster.calls = []
    with pytest.raises(OperationError, match=r"KEDA is not installed in this cluster.*Nothing was changed") as error:
        hand(cluster, "keda", KEDA)
    assert "celery_worker_autoscaling: policy" in str(error.value)
    assert cluster.calls == []
    assert hand(cluster, "none", []).removed == ["HorizontalPodAutoscaler celery-worker-web-scaler"]


@pytest.mark.parametrize("wanted", [hpa(), scaled_object(triggers=["redis", "cpu"])])
def test_a_cluster_without_metrics_is_told_before_anything_is_changed(wanted: dict[str, Any]) -> None:
    cluster = Cluster(metrics=False)
    with pytest.raises(OperationError, match="Install metrics-server"):
        hand(cluster, "any", [wanted])
    assert cluster.calls == []
    hand(cluster, "keda", KEDA)


def test_who_may_not_see_secrets_may_do_without_keda() -> None:
    cluster = Cluster()
    cluster.forbidden = ["secrets", "scaledobjects", "triggerauthentications", "cronjobs"]
    outcome = hand(cluster, "hpa", [hpa()])
    assert outcome.changed
    [warning] = outcome.warnings
    assert "CronJobs of an earlier deployment" in warning
    assert "Add the rule" in warning
    assert "cronjobs" in warning
    cluster.forbidden.remove("cronjobs")
    assert hand(cluster, "hpa", [hpa()]).warnings == []
    with pytest.raises(OperationError, match="Add the rule"):
        hand(cluster, "keda", KEDA)
    cluster.forbidden = ["horizontalpodautoscalers"]
    with pytest.raises(OperationError, match="Add the rule"):
        hand(cluster, "policy", [])


def test_a_scaled_object_that_may_not_be_seen_is_known_by_its_hpa() -> None:
    cluster = Cluster()
    hand(cluster, "keda", KEDA)
    cluster.forbidden = ["scaledobjects"]
    with pytest.raises(OperationError, match="HorizontalPodAutoscaler keda-hpa-celery-worker-web-scaler, which"):
        hand(cluster, "hpa", [hpa()])


def test_an_owner_that_does_not_go_is_told() -> None:
    cluster = Cluster()
    hand(cluster, "keda", KEDA)
    cluster.lingers = 10**6
    with pytest.raises(OperationError, match=r"still there after 60s\. See whether KEDA's operator runs"):
        hand(cluster, "hpa", [hpa()])
    assert "apply horizontalpodautoscalers celery-worker-web-scaler" not in cluster.calls


def test_the_number_of_before_keda_is_not_brought_back() -> None:
    cluster = Cluster()
    hand(cluster, "keda", KEDA)
    key = ("scaledobjects", "celery-worker-web-scaler")
    cluster.objects[key]["spec"]["advanced"] = {"restoreToOriginalReplicaCount": True}
    cluster.calls = []
    hand(cluster, "none", [])
    assert "'restoreToOriginalReplicaCount': False" in cluster.calls[1]


def test_keda_that_does_not_begin_is_told_with_its_reason() -> None:
    cluster = Cluster()
    cluster.ready = "False"
    with pytest.raises(OperationError, match="it is not ready after 5s: no such Secret"):
        hand(cluster, "keda", KEDA)


def test_keda_that_has_made_its_hpa_has_begun_whatever_else_it_says() -> None:
    cluster = Cluster()
    cluster.ready = "Unknown"
    hand(cluster, "keda", KEDA)
    del cluster.objects["horizontalpodautoscalers", "keda-hpa-celery-worker-web-scaler"]
    with pytest.raises(OperationError, match="it is not ready after 5s"):
        hand(cluster, "keda", KEDA)


def test_secrets_are_known_in_both_spellings() -> None:
    assert set(secrets_of(KEDA)) == {"bm90LXJlYWw=", "not-real"}


def test_a_right_that_no_dry_run_asks_for_is_missed_before_the_old_owner_goes() -> None:
    cluster = Cluster()
    hand(cluster, "keda", [SECRET, LOGIN, scaled_object(advanced={"restoreToOriginalReplicaCount": True})])
    cluster.calls = []
    cluster.denied = ["delete scaledobjects", "patch scaledobjects", "patch deployments", "delete secrets"]
    for check in (True, False):
        with pytest.raises(OperationError) as caught:
            hand(cluster, "hpa", [hpa()], check=check)
        step = caught.value.next_step
        assert '- {apiGroups: ["keda.sh"], resources: ["scaledobjects"], verbs: ["delete", "patch"]}' in step
        assert '- {apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch"]}' in step
        assert '- {apiGroups: [""], resources: ["secrets"], verbs: ["delete"]}' in step
    assert cluster.calls == []
    cluster.denied = []
    assert hand(cluster, "hpa", [hpa()]).changed


def test_who_may_not_bind_any_role_makes_the_role_of_a_schedule_first() -> None:
    """The API server looks into the Role, which a dry run has not made."""
    cluster = Cluster()
    cluster.binds_any = False
    name = "celery-worker-web-schedule"
    role = made("Role", name, rules=[])
    binding = made("RoleBinding", name, roleRef={"kind": "Role", "name": name})
    wanted = [role, binding, JOB]
    assert f"RoleBinding {name}" in hand(cluster, "schedule", wanted, check=True).applied
    cluster.denied = ["create rolebindings"]
    with pytest.raises(OperationError, match="may not create rolebindings"):
        hand(cluster, "schedule", wanted, check=True)
    cluster.denied = []
    hand(cluster, "schedule", wanted)
    assert not hand(cluster, "schedule", wanted).changed
