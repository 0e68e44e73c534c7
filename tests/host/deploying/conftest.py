# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is bare, and one that is deployed to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from muejam_bed import demo_app
from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from deployment import variables


@pytest.fixture(scope="module")
def bare(bare_host: SystemdHost) -> SystemdHost:
    """A host that has nothing yet but the code of an application."""
    demo_app.bring(bare_host.name)
    return bare_host


@pytest.fixture(scope="package")
def deployed(host_for: Callable[[ExitStack, str], SystemdHost]) -> Iterator[SystemdHost]:
    """A host with a broker and a fleet of one worker."""
    with ExitStack() as hosts:
        host = host_for(hosts, "deploying")
        demo_app.bring(host.name)
        host.playbook("playbooks/deploy.yml", extra_vars=variables())
        yield host
