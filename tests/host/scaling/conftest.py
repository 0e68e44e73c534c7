# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real fleet on a systemd host, for the tests of scaling and restarting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from scaled_fleet import Fleet


@pytest.fixture(scope="session")
def deployed(shared_host: SystemdHost) -> SystemdHost:
    """A host with a broker and the fleet."""
    shared_host.playbook(Path(__file__).parent / "fleet.yml")
    return shared_host


@pytest.fixture
def fleet_of(deployed: SystemdHost) -> Callable[[int], Fleet]:
    """Bring the fleet to a number of idle workers before a test."""

    def prepare(workers: int) -> Fleet:
        fleet = Fleet(deployed)
        # Numbers of workers that still drain after the test before would not be given to new ones.
        wait_until(lambda: fleet.scale(0)["draining"] == [], 60)
        fleet.scale(workers)
        return fleet

    return prepare
