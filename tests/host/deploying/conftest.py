# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is bare first and deployed to later."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muejam_bed.shell import CHECKOUT

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from deployment import variables

if TYPE_CHECKING:
    from conftest import SystemdHost


@pytest.fixture(scope="package")
def bare(host_for: Callable[[ExitStack, str], SystemdHost]) -> Iterator[SystemdHost]:
    """A host on which nothing was deployed yet but the code of an application."""
    bring = {
        "hosts": "celery_workers",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "src": str(CHECKOUT / "demo" / "app" / "celery_demo"),
                    "dest": "/opt/celery-demo/",
                    "owner": "root",
                    "group": "root",
                    "mode": "0644",
                    "directory_mode": "0755",
                }
            }
        ],
    }
    with ExitStack() as hosts:
        host = host_for(hosts, "deploying")
        host.playbook([bring])
        yield host


@pytest.fixture(scope="package")
def deployed(bare: SystemdHost) -> SystemdHost:
    """The same host with a broker and a fleet of one worker."""
    bare.playbook("playbooks/deploy.yml", extra_vars=variables())
    return bare
