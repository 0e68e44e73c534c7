# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which an autoscaler is deployed, asked, and removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muejam_bed import demo_app
from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from autoscaled_host import Scaled


@pytest.fixture(scope="module")
def bare(systemd_host: SystemdHost) -> Scaled:
    """A host on which nothing was deployed yet but the code of an application."""
    demo_app.bring(systemd_host.name)
    return Scaled(systemd_host)


@pytest.fixture(scope="module")
def deployed(bare: Scaled) -> Scaled:
    """The same host with a broker, the fleets and the autoscaler."""
    bare.deploy()
    return bare


@pytest.fixture
def scaled(deployed: Scaled) -> Iterator[Scaled]:
    """The same for one test, which ends with one worker in each fleet."""
    yield deployed
    deployed.host.result("muejam.celery.scale", {"fleet": "web", "workers": 1})
