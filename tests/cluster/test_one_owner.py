# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of a real cluster has one owner at a time: all versions of its Deployment are watched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
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
LOOKS = 4
"""After so many looks without a decision it would have decided."""


@dataclass(frozen=True)
class Version:
    """One version of the Deployment: who sets the number, the number, and who set it last by the scale subresource."""

    scaled_by: str
    number: int
    by_scale: str


@dataclass
class Watched(Place):
    """A place whose Deployment is watched from its beginning."""

    def versions(self) -> list[Version]:
        found, read = [], json.JSONDecoder()
        text = (self.scratch / "versions").read_text(encoding="utf-8")
        while text.strip():
            try:
                value, end = read.raw_decode(text.lstrip())
            except ValueError:
                break  # the last one is on its way
            text = text.lstrip()[end:]
            metadata = value["metadata"]
            by_scale = [one for one in metadata.get("managedFields") or () if one.get("subresource") == "scale"]
            last = max(by_scale, key=lambda one: str(one.get("time")), default={})
            noted = (metadata.get("annotations") or {}).get("muejam.celery/scaled-by", "")
            found.append(Version(noted, int(value["spec"]["replicas"]), str(last.get("manager", ""))))
        return found

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
    command = [str(cluster.program), "--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    command += [
        "get",
        "deployments",
        "--watch",
        "--output=json",
        "--show-managed-fields",
        "--selector=app.kubernetes.io/name=celery-worker",
    ]
    with (tmp_path / "versions").open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        try:
            yield made
        finally:
            process.kill()


def test_a_fleet_goes_from_hand_to_hand_and_never_has_two_owners(place: Watched) -> None:
    place.deploy()
    wait_until(lambda: place.number() == 2, 60, "the autoscaler has set its floor")
    assert place.sized() == {"web"}
    assert changed(place.deploy()) == 0

    # By hand, a number holds until its next look, and a warning says so. Where that comes before the last one has
    # drained, the playbook fails.
    told = place.play("muejam.celery.scale", "-e", "fleet=web", "-e", "workers=1", check=False)
    assert "celery-autoscaler sizes fleet web in namespace" in told.stdout + told.stderr
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
