# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second run of every playbook changes nothing, and a rehearsal agrees."""

from __future__ import annotations

import pytest
from deployment import variables
from playing import PLAYBOOKS, play

from muejam_bed.systemd_host import SystemdHost


@pytest.mark.parametrize("name", [name for name in PLAYBOOKS if name != "drain"])
@pytest.mark.parametrize("flags", [[], ["--check", "--diff"]], ids=["run", "rehearsal"])
def test_a_second_run_changes_nothing(deployed: SystemdHost, name: str, flags: list[str]) -> None:
    assert play(deployed, name, *flags, **PLAYBOOKS[name]) == {"changed": 0, "unreachable": 0, "failed": 0}


def test_a_rehearsal_goes_on_where_the_broker_is_not_started_yet(deployed: SystemdHost) -> None:
    deployed.output("systemctl", "stop", "redis-server.service")
    try:
        done = deployed.playbook("playbooks/deploy.yml", "--check", extra_vars=variables())
        assert "The broker of fleet web cannot be used at present" in done.stdout
    finally:
        deployed.output("systemctl", "start", "redis-server.service")


def test_draining_twice(deployed: SystemdHost) -> None:
    try:
        assert play(deployed, "drain", "--check", fleet="web")["changed"] == 1
        assert play(deployed, "drain", fleet="web")["changed"] == 1
        assert play(deployed, "drain", fleet="all")["changed"] == 0
    finally:
        assert play(deployed, "scale", fleet="web", workers=1)["changed"] == 1


def test_what_a_file_of_variables_says_reaches_the_workers(deployed: SystemdHost) -> None:
    pid = deployed.output("systemctl", "show", "--property=MainPID", "--value", "celery-worker-web@1.service").strip()
    environment = deployed.output("sh", "-c", f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines()
    assert "DEMO_GREETING=from a file" in environment
