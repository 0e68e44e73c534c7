# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ansible reaches a host: by ssh, as it reaches those of users, over a connection that stays between its runs.

By way of the engine each task costs several of its clients and a process that is put into the container, which is more
of a core than most tasks need themselves. The demo and the benchmarks go that way.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from . import container
from .ssh_key import private_key

# Nothing of the user's own decides: an agent offers its keys first, and a host hears only six.
# A host that is frozen is given up after half a minute; a busy machine is not taken for one.
_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=6",
)
_STAYING = "-o ControlMaster=auto -o ControlPersist=60s"


def _control_path(identity: str) -> Path:
    # A host may get the address of one that is gone, whose connection does not know yet. Sockets want short paths.
    directory = Path(tempfile.gettempdir(), f"muejam-ssh-{os.geteuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / identity[:12]


def variables(name: str) -> dict[str, Any]:
    """Return the variables by which Ansible reaches a host that is up."""
    return {
        "ansible_connection": "ssh",
        "ansible_host": container.address(name),
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(private_key()),
        "ansible_ssh_args": _STAYING,
        "ansible_ssh_common_args": " ".join(f"-o {option}" for option in _OPTIONS),
        "ansible_control_path": str(_control_path(container.identity(name))),
        "ansible_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def by_the_engine() -> dict[str, Any]:
    """Return the variables by which Ansible reaches a host by way of the engine."""
    return {
        "ansible_connection": "community.docker.docker",
        "ansible_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def inventory(name: str, given: dict[str, Any] | None = None) -> str:
    """Return an inventory, as JSON, in which a host is both the broker and a place for workers.

    It is reached by ssh where no other variables are given.
    """
    groups: dict[str, Any] = {group: {"hosts": {name: {}}} for group in ("celery_broker", "celery_workers")}
    return json.dumps({"all": {"hosts": {name: given or variables(name)}, "children": groups}}, indent=2)
