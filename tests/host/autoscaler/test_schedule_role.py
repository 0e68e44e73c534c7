# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role schedule on a real host: deployed, repeated, in place of the daemon and back, and removed."""

from __future__ import annotations

import re

from autoscaled_host import Scaled

ALWAYS = {"name": "always", "min_workers": 2, "max_workers": 3}
POLICY = {
    "limits": {"min_workers": 1, "max_workers": 3},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 1000000}]},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "24h"}]},
    "schedule": {"timezone": "Europe/Berlin", "windows": [ALWAYS]},
}
TIMER = "celery-schedule-web.timer"


def changes(printed: str) -> int:
    """How many tasks changed something."""
    return sum(int(number) for number in re.findall(r" changed=(\d+) ", printed))


def traces(scaled: Scaled) -> str:
    """What a schedule leaves behind."""
    return scaled.host.run("sh", "-c", "find / -xdev -name '*celery-schedule*' 2>/dev/null", check=False).stdout


def test_from_deployment_to_removal(bare: Scaled) -> None:
    host = bare.host
    # The broker comes with the same deployment, so a rehearsal cannot read it.
    asked = {"celery_worker_autoscaling": "schedule", "celery_worker_check_broker": False}
    rehearsal = bare.deploy("--check", policy=POLICY, **asked)
    assert changes(rehearsal) > 0
    assert traces(bare) == ""

    told = bare.deploy(celery_worker_autoscaling="schedule", policy=POLICY)
    assert "by systemd: window always holds, 2 to 3 workers" in " ".join(told.split())
    assert bare.workers("web") == [1, 2], "what holds now"
    assert bare.workers("bulk") == [1], "it has no windows"
    assert bare.show(TIMER, "ActiveState") == "active"
    assert bare.show(TIMER, "UnitFileState") == "enabled"
    assert host.run("ls", "/etc/celery-autoscaler", check=False).returncode != 0, "there is no daemon"

    # A number within the bounds stays, also over a deployment.
    host.result("muejam.celery.scale", {"fleet": "web", "workers": 3})
    assert changes(bare.deploy(celery_worker_autoscaling="schedule", policy=POLICY)) == 0
    assert bare.workers("web") == [1, 2, 3]

    bare.deploy(celery_worker_autoscaling="policy", policy=POLICY)
    assert traces(bare) == "", "the daemon keeps the windows"
    assert bare.show("celery-autoscaler.service", "ActiveState") == "active"
    bare.deploy(celery_worker_autoscaling="schedule", policy=POLICY)
    assert host.run("ls", "/etc/celery-autoscaler", check=False).returncode != 0
    assert bare.show(TIMER, "ActiveState") == "active"

    refused = bare.deploy(check=False, celery_worker_autoscaling="keda", policy=POLICY)
    assert "celery_worker_autoscaling: keda is not known on a host" in refused
    assert bare.show(TIMER, "ActiveState") == "active"

    host.playbook("playbooks/drain.yml", extra_vars={"fleet": "web"})
    assert (traces(bare), bare.workers("web")) == ("", []), "it would fill up again what is drained"
    bare.deploy(celery_worker_autoscaling="schedule", policy=POLICY)
    assert bare.workers("web") == [1, 2]

    without = {**POLICY, "schedule": {"windows": []}}
    bare.deploy(celery_worker_autoscaling="schedule", policy=without)
    assert traces(bare) == ""
