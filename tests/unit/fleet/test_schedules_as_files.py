# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has objects written as files needs no cluster, also where schedules are to go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAY = [{"hosts": "cluster", "gather_facts": False, "roles": ["muejam.celery.schedule"]}]


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("renders", [True, False])
def test_no_cluster_is_reached(tmp_path: Path, state: str, renders: bool) -> None:
    window = {"name": "peak", "time": "08:00-18:00", "min_workers": 3}
    fleet = {
        "name": "web",
        "app": "shop",
        "image": "shop:1",
        "queues": ["celery"],
        "broker_url": "redis://192.0.2.1/0",
        "policy": {"schedule": {"windows": [window]}},
        "autoscaling_options": {"image": "kubectl:1"},
    }
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "celery_worker_platform": "kubernetes",
        "celery_worker_kubeconfig": str(tmp_path / "nowhere"),
        "celery_worker_namespace": "shop",
        "celery_worker_autoscaling": "schedule",
        "celery_worker_fleets": [fleet],
        "celery_worker_render_to": str(tmp_path / "out") if renders else "",
        "celery_schedule_state": state,
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"celery_workers": {"hosts": {"cluster": host}}}))
    (tmp_path / "play.json").write_text(json.dumps(PLAY))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(tmp_path / "inventory.json"),
            str(tmp_path / "play.json"),
        ],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Without files it is the cluster that is asked, and this one is not there.
    assert (done.returncode == 0) is renders, done.stdout + done.stderr
    assert ("nowhere" in done.stdout) is not renders
    assert renders is False or "changed=0" in done.stdout
