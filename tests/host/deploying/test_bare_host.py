# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearsals on a host that has nothing yet."""

from __future__ import annotations

import pytest
from playing import PLAYBOOKS, play

from muejam_bed.systemd_host import SystemdHost


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_rehearsal_on_a_bare_host(bare: SystemdHost, name: str) -> None:
    inputs = {**PLAYBOOKS[name], "celery_autoscaler_mode": "observe"}
    assert play(bare, name, "--check", "--diff", **inputs)["failed"] == 0
    for path in ("/etc/celery-worker", "/etc/celery-autoscaler"):
        assert bare.run("test", "-e", path, check=False).returncode != 0


def test_the_checks_alone_blame_nobody_on_a_bare_host(bare: SystemdHost) -> None:
    assert play(bare, "deploy", "--tags", "worker_preflight")["failed"] == 0
    assert bare.run("test", "-e", "/etc/celery-worker", check=False).returncode != 0
