# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of a real cluster has one owner at a time: all versions of its Deployment are watched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from autoscaler_image import ensure_autoscaler_image
from broker_servers import RedisServer
from place import Place, changed

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.cluster import open_cluster
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place as Where
from muejam_cluster.access import Cluster
from muejam_cluster.waiting import wait_until

# Below its floor it grows at each look, so whoever does not let go is seen at once.
POLICY = {"limits": {"min_workers": 2, "max_workers": 3}}
PASSWORD = "not-a-real-password-0123"
LOOKS = 4
"""After so many looks without a decision it would have decided."""
KINDS = "deployments,leases,configmaps,secrets,serviceaccounts,roles,rolebindings,services,poddisruptionbudgets"
SCALERS = "scaledobjects,hpa,triggerauthentications"


@dataclass(frozen=True)
class Version:
    """One version of the Deployment: who sets the number, the number, and who set it last by the scale subresource.

    :ivar revision: of all that the cluster keeps.
    """

    scaled_by: str
    number: int
    by_scale: str
    revision: int


@dataclass
class Watched(Place):
    """A place whose Deployment is watched from its beginning."""

    def versions(self) -> list[Version]:
        found = []
        for event in self._events("deployments"):
            metadata, value = event["object"]["metadata"], event["object"]
            by_scale = [one for one in metadata.get("managedFields") or () if one.get("subresource") == "scale"]
            last = max(by_scale, key=lambda one: str(one.get("time")), default={})
            noted = (metadata.get("annotations") or {}).get("muejam.celery/scaled-by", "")
            number, revision = int(value["spec"]["replicas"]), int(metadata["resourceVersion"])
            found.append(Version(noted, number, str(last.get("manager", "")), revision))
        return found

    def of_keda(self, event: str) -> list[int]:
        """The revisions in which ScaledObjects were C(ADDED) or C(DELETED)."""
        return [
            int(each["object"]["metadata"]["resourceVersion"])
            for each in self._events("scaledobjects")
            if each["type"] == event
        ]

    def _events(self, kind: str) -> Iterator[dict[str, Any]]:
        read, text = json.JSONDecoder(), (self.scratch / kind).read_text(encoding="utf-8")
        while text.strip():
            try:
                value, end = read.raw_decode(text.lstrip())
            except ValueError:
                break  # the last one is on its way
            text = text.lstrip()[end:]
            yield value

    def of_the_autoscaler(self) -> set[str]:
        """What there is in the namespace that the autoscaler of this collection needs or leaves."""
        found = [(each["kind"], each["metadata"]["name"]) for each in self.get(KINDS)["items"]]
        return {f"{kind}/{name}" for kind, name in found if "celery-autoscaler" in name}

    def scalers(self) -> set[str]:
        """What else there is that sets the number, and what that reads."""
        found = [(each["kind"], each["metadata"]["name"]) for each in self.get(f"{SCALERS},secrets")["items"]]
        return {f"{kind}/{name}" for kind, name in found if kind != "Secret" or name.endswith("-keda")}

    def numbers(self, scaled_by: str, since: int) -> list[int]:
        """The numbers that it had one after the other while it was so, from a version on."""
        found = [version.number for version in self.versions()[since:] if version.scaled_by == scaled_by]
        return [number for place, number in enumerate(found) if not place or number != found[place - 1]]

    def sized(self) -> frozenset[str]:
        return open_cluster(Where(str(self.cluster.kubeconfig), None, self.namespace)).sized()

    def lines(self) -> list[dict[str, Any]]:
        """What all pods of the autoscaler said."""
        command = ["--namespace", self.namespace, "logs", "--selector", "app.kubernetes.io/name=celery-autoscaler"]
        said = self.cluster.kubectl(*command, "--tail=-1", check=False).stdout.splitlines()
        return [json.loads(line) for line in said if line.startswith("{")]

    def looks_since_it_let_go(self) -> int:
        """How often it has looked at the fleet since, without deciding anything."""
        lines = sorted(self.lines(), key=lambda line: float(line["at"]))
        let_go = max((float(line["at"]) for line in lines if line.get("event") == "let_go"), default=None)
        if let_go is None:
            return 0
        after = [line for line in lines if line["at"] > let_go and line.get("fleet") == "web"]
        assert not [line for line in after if "action" in line or line.get("event") == "scaled"], after
        return sum("metrics" in line for line in after)


@pytest.fixture
def place(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path) -> Iterator[Watched]:
    image = ensure_autoscaler_image()
    cluster.load_image(image)
    made = Watched(cluster, namespace, redis, tmp_path, {"drain_timeout": 30, "workers": 1, "policy": POLICY})
    made.variables = {"celery_autoscaler_image": image, "celery_autoscaler_interval": "2s"}
    with ExitStack() as stack:
        for kind, of_which in (
            ("deployments", ["--show-managed-fields", "--selector=app.kubernetes.io/name=celery-worker"]),
            ("scaledobjects", []),
        ):
            out = stack.enter_context((tmp_path / kind).open("wb"))
            process = stack.enter_context(subprocess.Popen(_watch(cluster, namespace, kind, of_which), stdout=out))
            stack.callback(process.kill)
        yield made


def _watch(cluster: Cluster, namespace: str, kind: str, of_which: Sequence[str]) -> list[str]:
    place = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    return [str(cluster.program), *place, "get", kind, "--watch", "--output-watch-events", "--output=json", *of_which]


def test_a_fleet_goes_from_hand_to_hand_and_never_has_two_owners(place: Watched) -> None:
    place.deploy()
    wait_until(lambda: place.number() == 2, 60, "the autoscaler has set its floor")
    assert place.sized() == {"web"}
    assert changed(place.deploy()) == 0

    # By hand, a number holds until its next look, and a warning says so. Where that comes before the last one has
    # drained, the playbook fails.
    told = place.play("muejam.celery.scale", "-e", "fleet=web", "-e", "workers=1", check=False)
    assert "The autoscaler sizes fleet web in namespace" in told.stdout + told.stderr
    wait_until(lambda: place.number() == 2, 60, "it has set its floor again")

    drained_from = len(place.versions())
    place.play("muejam.celery.drain", "-e", "fleet=web")
    wait_until(lambda: place.looks_since_it_let_go() >= LOOKS, 60, "it looks and does nothing")
    assert place.number() == 0
    assert place.numbers("none", drained_from) == [2, 0]
    assert place.sized() == frozenset()
    assert changed(place.play("muejam.celery.drain", "-e", "fleet=web")) == 0

    place.deploy()
    wait_until(lambda: place.number() == 2, 60, "it has the fleet back")

    switched_from = len(place.versions())
    place.variables["celery_worker_autoscaling"] = "none"
    assert changed(place.deploy()) > 0
    assert place.number() == 1
    assert place.numbers("none", switched_from) == [2, 1]
    assert changed(place.deploy()) == 0

    place.variables["celery_worker_autoscaling"] = "policy"
    place.deploy()
    wait_until(lambda: place.number() == 2, 60, "it has the fleet back")

    removed_from = len(place.versions())
    place.fleet = {"state": "absent"}
    place.deploy()
    assert place.numbers("none", removed_from) == [2, 0]
    assert place.cluster.kubectl("--namespace", place.namespace, "get", "deployments", "--output=name").stdout == ""

    # Whoever set the number by the scale subresource was the autoscaler, or the playbooks by hand.
    assert {version.by_scale for version in place.versions()} <= {"", "muejam.celery"}


def with_password(redis: RedisServer) -> str:
    """Have it ask for one, so that KEDA needs a login, and return its URL."""
    redis.client().config_set("requirepass", PASSWORD)
    return redis.url.replace("redis://", f"redis://:{PASSWORD}@")


def test_keda_gets_a_fleet_and_gives_it_back_and_each_leaves_nothing(place: Watched) -> None:
    place.fleet = {"broker_url": with_password(place.redis)}
    place.deploy()
    wait_until(lambda: place.number() == 2, 60, "the autoscaler has set its floor")
    wait_until(lambda: place.sized() == {"web"}, 60, "it says so in its Lease")
    there = place.of_the_autoscaler()
    assert {each.partition("/")[0] for each in there} >= {"Deployment", "Lease", "ConfigMap", "Secret", "RoleBinding"}

    switched_from = len(place.versions())
    place.fleet["policy"] = {"limits": {"min_workers": 3, "max_workers": 3}}
    place.variables["celery_worker_autoscaling"] = "keda"
    place.deploy()
    assert place.of_the_autoscaler() == set()
    assert place.scalers() == {
        "ScaledObject/celery-worker-web-scaler",
        "HorizontalPodAutoscaler/keda-hpa-celery-worker-web-scaler",
        "TriggerAuthentication/celery-worker-web-scaler-login",
        "Secret/celery-worker-web-keda",
    }
    wait_until(lambda: place.number() == 3, 60, "KEDA has set its floor")
    [taken, *_more] = [each.revision for each in place.versions()[switched_from:] if each.scaled_by == "keda"]
    [added] = place.of_keda("ADDED")
    assert taken < added, "KEDA came before the autoscaler was to let go"
    assert place.numbers("keda", switched_from) == [2, 3]
    assert place.versions()[-1].by_scale != "muejam.celery"

    given_back_from = len(place.versions())
    place.fleet["policy"] = POLICY
    place.variables["celery_worker_autoscaling"] = "policy"
    place.deploy()
    assert place.scalers() == set()
    wait_until(lambda: place.sized() == {"web"}, 60, "it has the fleet back")
    assert {each.partition("/")[0] for each in place.of_the_autoscaler()} == {each.partition("/")[0] for each in there}
    [back, *_more] = [each.revision for each in place.versions()[given_back_from:] if each.scaled_by == "policy"]
    [deleted] = place.of_keda("DELETED")
    assert deleted < back, "the autoscaler was given the fleet before KEDA had gone"
    assert place.numbers("policy", given_back_from) == [3]
