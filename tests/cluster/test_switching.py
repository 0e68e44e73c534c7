# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sets the number of pods, on a real cluster: KEDA scales, CronJobs set bounds, switching leaves nothing."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from broker_servers import RedisServer
from place import Place, changed

from muejam_cluster.access import Cluster
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

OURS = "app.kubernetes.io/managed-by=muejam.celery,app.kubernetes.io/component=autoscaling"
KINDS = "cronjobs,scaledobjects,hpa,triggerauthentications,secrets,rolebindings,roles,serviceaccounts"
ALL_DAY = {"name": "all-day", "min_workers": 2, "max_workers": 3}
# Nobody shrinks the fleet while a test looks.
BY_QUEUE = {
    "scale_up": {"any": [{"metric": "queue_depth", "above": 10}]},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 2, "for": "10m"}]},
}
PASSWORD = "not-a-real-password-0123"
DEPLOYED_WITHIN = 90.0
LENGTH = 6.0
"""Seconds of a task that lasts over an edge."""
PEAK = 120.0
"""Seconds between the edges. CronJobs know whole minutes, and in one of these five pods do not always come up."""


@dataclass
class Switched(Place):
    """A place where one after the other sets the number of pods.

    :ivar image: with kubectl.
    """

    image: str = ""

    def switch(self, autoscaling: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        given = self.fleet
        options = {"image": self.image, "list_length": 5, **given.get("autoscaling_options", {})}
        self.fleet = {**given, "autoscaling_options": options}
        self.variables["celery_worker_autoscaling"] = autoscaling
        try:
            return self.deploy(*arguments, check=check)
        finally:
            self.fleet = given

    def ours(self) -> set[str]:
        """What there is of us that sets the number, but for the HPA that KEDA makes."""
        return {
            f"{each['kind']}/{each['metadata']['name']}"
            for each in self.get(KINDS, "--selector", OURS)["items"]
            if not each["metadata"].get("ownerReferences")
        }

    def scalers(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.get("hpa")["items"]]

    def may(self, verb: str, what: str) -> bool:
        account = f"system:serviceaccount:{self.namespace}:celery-worker-web-schedule"
        arguments = ("--namespace", self.namespace, "auth", "can-i", verb, what, f"--as={account}")
        return self.cluster.kubectl(*arguments, check=False).stdout.strip() == "yes"

    def run_job(self, cron_job: str) -> None:
        """Run a CronJob now, and wait until it has done its work."""
        within = ("--namespace", self.namespace)
        self.cluster.kubectl(*within, "create", "job", "by-hand", f"--from=cronjob/{cron_job}")
        self.cluster.kubectl(*within, "wait", "job/by-hand", "--for=condition=Complete", "--timeout=60s")
        self.cluster.kubectl(*within, "delete", "job/by-hand")


@pytest.fixture
def place(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path, kubectl_image: str) -> Switched:
    usual = {"requests": {"cpu": "50m", "memory": "64M"}, "drain_timeout": 30}
    return Switched(cluster, namespace, redis, tmp_path, usual, image=kubectl_image)


def test_an_hpa_and_cron_jobs_come_and_go(place: Switched) -> None:
    place.fleet = {"workers": 1, "policy": {"limits": {"min_workers": 1}, "schedule": {"windows": [ALL_DAY]}}}
    rehearsal = place.switch("schedule", "--check")
    assert changed(rehearsal) > 0
    assert place.ours() == set()
    told = place.switch("schedule").stdout
    assert "approximated  schedule.windows[0]: a CronJob sets the number of workers to the floor of 2" in told
    assert place.number() == 2, "the window that holds now"
    [cron_job] = [each.partition("/")[2] for each in place.ours() if each.startswith("CronJob/")]
    assert changed(place.switch("schedule")) == 0

    place.cluster.kubectl("--namespace", place.namespace, "scale", "deployment/celery-worker-web", "--replicas=1")
    place.run_job(cron_job)
    assert place.number() == 2

    told = place.switch("hpa").stdout
    assert "exact         schedule.windows[0]: CronJobs set minReplicas 2 and maxReplicas 3" in told
    assert place.scalers() == ["celery-worker-web-scaler"]
    assert place.number() == 2
    place.cluster.kubectl(
        "--namespace", place.namespace, "patch", "hpa/celery-worker-web-scaler", "--type=merge", "--patch",
        json.dumps({"spec": {"minReplicas": 1, "maxReplicas": 9}}),
    )  # fmt: skip
    place.run_job(cron_job)
    spec = place.get("hpa", "celery-worker-web-scaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 3)
    assert place.may("patch", "horizontalpodautoscalers.autoscaling/celery-worker-web-scaler")
    for verb, what in (
        ("delete", "horizontalpodautoscalers.autoscaling/celery-worker-web-scaler"),
        ("patch", "horizontalpodautoscalers.autoscaling/another"),
        ("patch", "deployments.apps/celery-worker-web"),
        ("get", "secrets"),
    ):
        assert not place.may(verb, what)
    assert changed(place.switch("hpa")) == 0

    place.fleet["workers"] = 2
    assert changed(place.switch("none")) > 0
    assert place.ours() == set()
    assert place.number() == 2


def wall(seconds: float) -> str:
    """A time of day of UTC."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%H:%M}"


def test_two_then_five_then_two_drained_and_no_task_lost(deployed: Deployed, kubectl_image: str) -> None:
    start = ((time.time() + DEPLOYED_WITHIN) // 60 + 1) * 60
    end = start + PEAK
    peak = {"name": "peak", "time": f"{wall(start)}-{wall(end)}", "min_workers": 5}
    policy = {"limits": {"min_workers": 2, "max_workers": 6}, "schedule": {"windows": [peak]}}
    fleet = {"name": "web", "workers": 1, "policy": policy, "autoscaling_options": {"image": kubectl_image}}
    told = deployed.deploy(fleet, celery_worker_autoscaling="schedule").stdout
    assert "by kubernetes: no window holds, 2 to 6 workers" in told
    assert time.time() < start, "the deployment took longer than is planned for"
    assert len(deployed.consuming("web")) == 2
    load = deployed.load("web")
    # Every worker has something to do until after the second edge.
    load.send(2 * int((start - time.time()) / LENGTH) + 5 * int(PEAK / LENGTH) + 5, LENGTH, LENGTH)

    def there() -> str:
        return f"{deployed.wanted('web')} wanted, {deployed.workers('web')}, {deployed.kubectl('get', 'jobs,cronjobs')}"

    wait_until(lambda: deployed.wanted("web") == 5, end - time.time(), there)
    assert time.time() >= start
    wait_until(lambda: len(deployed.consuming("web")) == 5, end - time.time(), there)
    wait_until(lambda: deployed.wanted("web") == 2, end + 55 - time.time(), there)
    assert time.time() >= end
    wait_until(lambda: load.left() == 0, 2 * PEAK, lambda: f"{load.left()} tasks are left, {there()}")
    wait_until(lambda: [worker.phase for worker in deployed.workers("web")] == ["consuming"] * 2, 60, there)
    assert load.twice() == {}
    stayed = {f"web@{pod}" for pod in deployed.consuming("web")}
    assert {one["node"] for one in load.runs() if one["ended"] > end} - stayed, "those that went finished what they had"


def test_what_somebody_else_made_is_refused_by_name(place: Switched) -> None:
    place.fleet = {"workers": 1, "policy": {}}
    place.switch("none")
    place.cluster.kubectl(
        "--namespace",
        place.namespace,
        "autoscale",
        "deployment/celery-worker-web",
        "--name=by-hand",
        "--min=2",
        "--max=2",
    )
    refused = place.switch("hpa", check=False)
    assert refused.returncode
    assert "the HorizontalPodAutoscaler by-hand, which muejam.celery did not make, sets it already" in refused.stdout
    assert place.ours() == set()
    wait_until(lambda: place.number() == 2, 60, "the other HPA has set its floor")
    place.switch("none")
    assert place.number() == 2, "it is left to whom it belongs"


def test_keda_scales_a_burst_and_switching_leaves_one_owner(place: Switched) -> None:
    policy = {"limits": {"min_workers": 1, "max_workers": 4, "scale_up_max": 4, "cooldown_up": 0}, **BY_QUEUE}
    place.fleet = {"workers": 1, "policy": policy, "autoscaling_options": {"polling_interval": 2}}
    told = place.switch("keda").stdout
    assert "approximated  scale_up.any[0]: a worker for each 5 messages" in told
    assert place.number() == 1
    assert place.scalers() == ["keda-hpa-celery-worker-web-scaler"]
    conditions = place.get("scaledobject", "celery-worker-web-scaler")["status"]["conditions"]
    # Two parts of KEDA write them, and one that was true may be unknown some seconds later.
    assert {each["type"]: each["status"] for each in conditions}["Ready"] != "False"
    assert changed(place.switch("keda")) == 0

    place.send(60, 1)
    wait_until(lambda: place.number() == 4, 90, lambda: f"four workers, there are {place.number()}")
    place.fleet["workers"] = place.number()
    before = place.number()
    told = place.switch("hpa").stdout
    assert place.scalers() == ["celery-worker-web-scaler"]
    assert not [each for each in place.ours() if each.startswith(("ScaledObject", "TriggerAuthentication", "Secret"))]
    assert place.number() == before

    place.switch("keda")
    assert place.scalers() == ["keda-hpa-celery-worker-web-scaler"]
    place.switch("none")
    assert place.ours() == set()
    assert place.scalers() == []
    assert place.number() == before


def test_keda_reads_a_broker_with_a_password(place: Switched) -> None:
    place.redis.client().config_set("requirepass", PASSWORD)
    place.fleet = {
        "workers": 0,
        "broker_url": place.redis.url.replace("redis://", f"redis://:{PASSWORD}@"),
        "policy": {"limits": {"min_workers": 0, "max_workers": 2}, **BY_QUEUE},
        "autoscaling_options": {"polling_interval": 2},
    }
    done = place.switch("keda", "-vvv", "--diff")
    assert PASSWORD not in done.stdout + done.stderr
    login = place.get("secret", "celery-worker-web-keda")
    assert set(login["data"]) == {"broker-password"}
    # Of one priority, in a list that the bare name does not show.
    place.send(20, 5, priority=9)
    wait_until(lambda: place.number() == 2, 90, lambda: f"two workers, there are {place.number()}")
    variables = place.get("deployment", "celery-worker-web")["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert variables == [{"secretRef": {"name": "celery-worker-web"}}]


def test_cron_jobs_set_the_ceiling_of_a_scaled_object(place: Switched) -> None:
    place.fleet = {"workers": 1, "policy": {**BY_QUEUE, "schedule": {"windows": [ALL_DAY]}}}
    place.switch("keda")
    spec = place.get("scaledobject", "celery-worker-web-scaler")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 3)
    wait_until(lambda: place.number() == 2, 60, lambda: f"the floor of 2, there are {place.number()}")
    place.cluster.kubectl(
        "--namespace", place.namespace, "patch", "scaledobject/celery-worker-web-scaler", "--type=merge", "--patch",
        json.dumps({"spec": {"minReplicaCount": 1, "maxReplicaCount": 9}}),
    )  # fmt: skip
    [cron_job] = [each.partition("/")[2] for each in place.ours() if each.startswith("CronJob/")]
    place.run_job(cron_job)
    spec = place.get("scaledobject", "celery-worker-web-scaler")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 3)
    assert place.may("patch", "scaledobjects.keda.sh/celery-worker-web-scaler")
    assert not place.may("delete", "scaledobjects.keda.sh/celery-worker-web-scaler")
