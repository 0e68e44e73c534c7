# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler saw in a cluster is decided about in the same way by whoever is shown it."""

from __future__ import annotations

import json
import sys

import pytest
from autoscaler_image import ensure_autoscaler_image

from muejam_bed.collection import collections_path
from muejam_bed.shell import run
from muejam_cluster.deployed import Deployed
from muejam_cluster.waiting import wait_until

POLICY = {
    "limits": {"min_workers": 1, "max_workers": 3, "cooldown_up": "4s", "cooldown_down": "4s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 5}, {"metric": "wait_time", "above": "6s"}]},
    "scale_down": {"all": [{"metric": "backlog", "below": 1, "for": "4s"}], "remove": {"workers": 1}},
}
LAUNCH = collections_path() / "ansible_collections/muejam/celery/plugins/module_utils/launch.py"

pytestmark = pytest.mark.soak


def test_a_run_recorded_in_the_cluster_is_decided_again_alike(deployed: Deployed) -> None:
    image = ensure_autoscaler_image()
    deployed.cluster.load_image(image)
    deployed.deploy(
        {"name": "web", "workers": 1, "policy": POLICY},
        celery_autoscaler_image=image,
        celery_autoscaler_interval="2s",
        celery_autoscaler_mode="act",
    )
    leader = deployed.wait_for_leader()
    load = deployed.load("web")
    load.send(30, 1, 1)
    wait_until(lambda: deployed.wanted("web") == 3, 60, lambda: f"3 workers: {deployed.log(leader)[-5:]}")
    wait_until(lambda: deployed.wanted("web") == 1, 90, lambda: f"1 worker: {deployed.log(leader)[-5:]}")
    assert (load.left(), load.twice()) == (0, {})

    recorded = deployed.kubectl("logs", leader)
    policy = deployed.scratch / "policy.json"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    log = deployed.scratch / "log"
    log.write_text(recorded, encoding="utf-8")
    command = [sys.executable, "-I", "-B", str(LAUNCH), "autoscaler.cli", "replay"]
    again = run([*command, "--policy", str(policy), "--observations", str(log)]).stdout
    made = [json.loads(line) for line in recorded.splitlines() if '"action"' in line]
    asked = ("at", "action", "from", "to", "reasons")
    replayed = [json.loads(line) for line in again.splitlines()]
    assert [{key: line[key] for key in asked} for line in replayed] == [
        {key: line[key] for key in asked} for line in made
    ]
    assert {"up", "down", "hold"} <= {line["action"] for line in made}
