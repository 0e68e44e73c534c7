# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom kubelet and autoscaler restart: workers that are frozen or stuck, and none that drains, however long."""

from __future__ import annotations

import sys

import pytest
from autoscaler_image import ensure_autoscaler_image

from muejam_bed.shell import run
from muejam_cluster import faults
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

WATCHDOG = 10
LONG = 45.0  # longer than watchdog and probe together, twice

pytestmark = pytest.mark.soak


def test_a_frozen_worker_is_restarted_and_a_draining_one_is_not(deployed: Deployed) -> None:
    # More time to drain than anybody would wait for a worker that is frozen.
    deployed.deploy({"name": "web", "workers": 2, "watchdog": WATCHDOG, "time_limit": 100, "drain_timeout": 600})
    load = deployed.load("web")
    load.send(1, LONG, LONG)
    wait_until(lambda: any(worker.active for worker in deployed.workers("web")), 30, "a worker has the task")
    [busy] = [worker.id for worker in deployed.workers("web") if worker.active]
    [idle] = [worker.id for worker in deployed.workers("web") if worker.id != busy]
    faults.signal_main(deployed.cluster, deployed.namespace, idle, "STOP")
    # Told by hand, so that the pod stays and its probes go on.
    faults.signal_main(deployed.cluster, deployed.namespace, busy, "TERM")

    wait_until(lambda: deployed.restarts(idle) == 1, 90, lambda: f"the frozen one is restarted: {ended(deployed)}")
    assert ended(deployed)[idle] == 137
    wait_until(lambda: deployed.restarts(busy) == 1, 90, lambda: f"the other one has drained: {ended(deployed)}")
    assert ended(deployed)[busy] == 0, "it ended by itself"
    assert [one["id"] for one in load.runs()] == load.sent
    assert load.runs()[0]["node"] == f"web@{busy}"
    wait_until(lambda: sorted(deployed.consuming("web")) == sorted([busy, idle]), 60, "both consume again")

    # The same when the pod is told to go.
    load.send(1, LONG, LONG)
    wait_until(lambda: any(worker.active for worker in deployed.workers("web")), 30, "a worker has the task")
    [busy] = [worker.id for worker in deployed.workers("web") if worker.active]
    deployed.kubectl("delete", "pod", busy, "--timeout=120s")
    assert [one["id"] for one in load.runs()] == load.sent
    assert load.runs()[1]["node"] == f"web@{busy}"


def ended(deployed: Deployed) -> dict[str, int | None]:
    """How the container of each pod ended that was started anew."""
    codes = {}
    for pod in deployed.get("pods", "--selector=app.kubernetes.io/instance=web")["items"]:
        last = (pod["status"].get("containerStatuses") or [{}])[0].get("lastState") or {}
        codes[pod["metadata"]["name"]] = (last.get("terminated") or {}).get("exitCode")
    return codes


def test_a_worker_that_idles_while_tasks_wait_is_restarted_by_the_autoscaler(deployed: Deployed) -> None:
    image = ensure_autoscaler_image()
    deployed.cluster.load_image(image)
    deployed.deploy(
        {"name": "web", "workers": 1, "policy": {"limits": {"min_workers": 1, "max_workers": 1}}},
        celery_autoscaler_image=image,
        celery_autoscaler_interval="2s",
        celery_autoscaler_mode="act",
        celery_autoscaler_stuck_after="6s",
        celery_autoscaler_restart_stuck=True,
    )
    leader = deployed.wait_for_leader()
    load = deployed.load("web")
    [stuck] = deployed.consuming("web")
    # It lives, answers and takes nothing.
    control = [sys.executable, "-m", "celery", "--broker", deployed.broker.url, "control", "cancel_consumer", "web"]
    run(control)
    load.send(3, 0.1, 0.1)
    wait_until(lambda: load.left() == 0, 90, lambda: f"another worker takes them: {deployed.log(leader)[-5:]}")
    assert stuck not in {worker.id for worker in deployed.workers("web")}
    events = {line["event"]: line for line in deployed.log(leader) if "event" in line}
    assert events["stuck_restarted"]["worker"] == f"web@{stuck}"
    assert "restart_failed" not in events
    assert 'celery_autoscaler_events_total{event="stuck_restarted"} 1.0' in deployed.metrics(leader)
