# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the collection's playbooks and read their recap."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from deployment import variables

from muejam_bed.systemd_host import SystemdHost

PLAYBOOKS = {
    "deploy": {},
    "status": {},
    "scale": {"fleet": "web", "workers": 1},
    "drain": {"fleet": "all"},
    "pause": {"fleet": "web", "state": "absent"},
    "rolling_restart": {"fleet": "web", "only": "outdated"},
}


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the counts of the host's line in the recap."""
    return {name: int(count) for name, count in re.findall(r"(changed|failed|unreachable)=(\d+)", done.stdout)}


def play(host: SystemdHost, name: str, *flags: str, **inputs: Any) -> dict[str, int]:
    """Run one of the collection's playbooks and return the counts of its recap."""
    return recap(host.playbook(f"playbooks/{name}.yml", *flags, extra_vars={**variables(), **inputs}))
