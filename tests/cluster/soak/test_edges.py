# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edges of a schedule in a cluster that cannot be carried out in time: they show, and are made up for."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from muejam_cluster import faults
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

DEPLOYED_WITHIN = 60.0
OUTAGE = 30.0

pytestmark = pytest.mark.soak


def before_an_edge(deployed: Deployed, image: str) -> float:
    """Deploy a fleet of one worker, and return the instant from which on it is to have three: within two minutes."""
    edge = ((time.time() + DEPLOYED_WITHIN) // 60 + 1) * 60
    begins, ends = (f"{datetime.fromtimestamp(at, timezone.utc):%H:%M}" for at in (edge, edge + 3600))
    policy = {
        "limits": {"min_workers": 1, "max_workers": 3},
        "schedule": {"windows": [{"name": "peak", "time": f"{begins}-{ends}", "min_workers": 3}]},
    }
    fleet = {"name": "web", "workers": 1, "policy": policy, "autoscaling_options": {"image": image}}
    deployed.deploy(fleet, celery_worker_autoscaling="schedule")
    assert time.time() < edge - OUTAGE / 2, "the deployment took longer than is planned for"
    assert deployed.wanted("web") == 1
    return edge


def test_an_edge_while_the_api_server_is_gone_is_made_up_for(deployed: Deployed, kubectl_image: str) -> None:
    edge = before_an_edge(deployed, kubectl_image)
    wait_until(lambda: time.time() > edge - OUTAGE / 2, 120, "the edge comes near")
    with faults.stopped("kube-apiserver"):
        wait_until(lambda: time.time() > edge + OUTAGE / 2, 2 * OUTAGE, "the edge is over")
    wait_until(
        lambda: deployed.cluster.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, 60, "it is back"
    )
    wait_until(lambda: deployed.wanted("web") == 3, 180, lambda: deployed.kubectl("get", "jobs,cronjobs,pods"))
    wait_until(lambda: len(deployed.consuming("web")) == 3, 60, lambda: deployed.kubectl("get", "pods"))


def test_an_edge_that_fails_shows_and_is_tried_again(deployed: Deployed, kubectl_image: str) -> None:
    edge = before_an_edge(deployed, kubectl_image)
    ours = "--selector=app.kubernetes.io/managed-by=muejam.celery,app.kubernetes.io/component=autoscaling"
    [binding] = deployed.get("rolebindings", ours)["items"]
    # What sets the number may not, for a while.
    deployed.kubectl("delete", "rolebinding", binding["metadata"]["name"])

    def tried() -> int:
        pods = deployed.get("pods", "--selector=batch.kubernetes.io/job-name")["items"]
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", []))

    wait_until(lambda: tried() >= 2, edge + 90 - time.time(), lambda: deployed.kubectl("get", "jobs,cronjobs,pods"))
    assert deployed.get("jobs")["items"][0]["status"].get("succeeded", 0) == 0
    assert deployed.wanted("web") == 1
    kept = {key: binding["metadata"][key] for key in ("name", "namespace", "labels")}
    deployed.cluster.apply(deployed.namespace, [{**binding, "metadata": kept}])
    wait_until(lambda: deployed.wanted("web") == 3, 240, lambda: deployed.kubectl("get", "jobs,cronjobs,pods"))
