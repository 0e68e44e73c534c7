# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is refused before a worker is touched, in words that say what to change."""

from __future__ import annotations

from typing import Any

import pytest
from deployment import BROKER_URL, PASSWORD, variables

from muejam_bed.systemd_host import SystemdHost

UNIT = "celery-worker-web@1.service"


def traces(host: SystemdHost) -> tuple[str, str]:
    """What would differ if the worker or its files had been touched."""
    files = host.output("sh", "-c", "sha256sum /etc/celery-worker/*.env /etc/systemd/system/celery-worker-*@.service")
    return host.output("systemctl", "show", "--property=MainPID,InvocationID", UNIT), files


def refusal(host: SystemdHost, changed: dict[str, Any]) -> str:
    """Deploy what must be refused, and return what was said, in one line."""
    before = traces(host)
    done = host.playbook("playbooks/deploy.yml", extra_vars=changed, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, said
    assert traces(host) == before
    assert "Traceback" not in said
    assert PASSWORD not in said
    return said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit_options": {"NoSuchDirective": 1}}, ["fleet web: line", "NoSuchDirective"]),
        (
            {"environment_files": ["/etc/no-such.env"], "working_directory": "/no/such"},
            ["no file /etc/no-such.env", "no directory /no/such"],
        ),
        ({"broker_url": "redis://:not-the-password@127.0.0.1:6379/0"}, ["password"]),
        ({"broker_url": f"redis://:{PASSWORD}@127.0.0.1:6399/0"}, ["127.0.0.1:6399", "refused"]),
        ({"broker_url": f"redis://:{PASSWORD}@127.0.0.1:6379/99"}, ["99", "database"]),
        ({"app": "celery_demo.nothing"}, ["celery_demo.nothing"]),
        ({"app": "celery_broken"}, ["not_installed_anywhere"]),
        ({"pool": "gevent", "soft_time_limit": None, "time_limit": None}, ["gevent"]),
    ],
    ids=[
        "wrong directive",
        "missing file",
        "wrong password",
        "broker unreachable",
        "wrong database",
        "no such app",
        "app does not import",
        "no gevent",
    ],
)
def test_found_out_by_trying(deployed: SystemdHost, changes: dict[str, Any], words: list[str]) -> None:
    broken = "from not_installed_anywhere import thing"
    deployed.run(
        "sh",
        "-c",
        f"mkdir -p /opt/celery-demo/celery_broken; echo '{broken}' > /opt/celery-demo/celery_broken/__init__.py",
    )
    said = refusal(deployed, variables(**changes))
    for word in words:
        assert word in said


def test_everything_wrong_is_said_at_once(deployed: SystemdHost) -> None:
    changed = variables(
        pool="threadz",
        workers=-1,
        soft_time_limit=40,
        drain_timeout=20,
        visibility_timeout=10,
        memory_max="900T",
        wrokers=3,
    )
    fleet = changed["celery_worker_fleets"][0]
    changed["celery_worker_fleets"].append({**fleet, "autoscale": {"max": 1, "min": 2}, "broker_url": BROKER_URL})
    said = refusal(deployed, changed)
    for path in (
        "celery_worker_fleets[0].pool",
        "celery_worker_fleets[0].workers",
        "celery_worker_fleets[0].soft_time_limit",
        "celery_worker_fleets[0].drain_timeout",
        "celery_worker_fleets[0].visibility_timeout",
        "celery_worker_fleets[0].wrokers",
        "celery_worker_fleets[1].name",
        "celery_worker_fleets[1].autoscale",
    ):
        assert path in said


def test_more_memory_than_the_host_has(deployed: SystemdHost) -> None:
    assert "memory" in refusal(deployed, variables(memory_max="900T"))
