# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A HorizontalPodAutoscaler that is made of a policy, and tasks that use the CPU: the fleet grows by it and shrinks."""

from __future__ import annotations

import contextlib

import pytest
from celery import Celery

from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

TASKS = 12
LENGTH = 20.0
APP = """
import time

from celery import Celery

app = Celery("burning")


@app.task
def burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
"""
POLICY = {
    "limits": {"min_workers": 1, "max_workers": 3, "cooldown_up": "5s", "cooldown_down": "5s"},
    "scale_up": {"any": [{"metric": "cpu", "above": 70}]},
    "scale_down": {"all": [{"metric": "cpu", "below": 30, "for": "10s"}]},
}

pytestmark = pytest.mark.soak


def test_tasks_that_use_the_cpu_grow_the_fleet_and_the_end_of_them_shrinks_it(deployed: Deployed) -> None:
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "burning"}, "data": {"burning.py": APP}}
    deployed.cluster.apply(deployed.namespace, [code])
    mount = {"name": "worker", "volumeMounts": [{"name": "burning", "mountPath": "/opt/burning"}]}
    fleet = {
        "name": "web",
        "workers": 1,
        "policy": POLICY,
        "app": "burning",
        "environment": {"PYTHONPATH": "/opt/burning"},
        # More than it asks for, so that there is something to scale by, and less than the cores that the tests need.
        "requests": {"cpu": "100m", "memory": "64M"},
        "cpu_quota": "30%",
        "result_backend": deployed.ledger.url,
        "pod_options": {
            "spec": {"containers": [mount], "volumes": [{"name": "burning", "configMap": {"name": "burning"}}]}
        },
    }
    deployed.deploy(fleet, celery_worker_autoscaling="hpa")
    assert deployed.wanted("web") == 1
    with contextlib.closing(Celery(broker=deployed.broker.url, set_as_current=False)) as sender:
        for _ in range(TASKS):
            sender.send_task("burning.burn", (LENGTH,), queue="web")

    def hpa() -> str:
        return deployed.kubectl("describe", "hpa", "celery-worker-web-scaler")

    def done() -> int:
        return len(deployed.ledger.client().keys("celery-task-meta-*"))

    wait_until(lambda: deployed.wanted("web") == 3, 150, hpa)
    wait_until(lambda: len(deployed.consuming("web")) == 3, 60, lambda: f"three work: {deployed.workers('web')}")
    assert done() < TASKS, "the load was there all the time"
    wait_until(lambda: done() == TASKS, TASKS * LENGTH, lambda: f"{done()} tasks are done")
    wait_until(lambda: deployed.wanted("web") == 1, 150, hpa)
    wait_until(lambda: len(deployed.workers("web")) == 1, 60, lambda: f"one is left: {deployed.workers('web')}")
