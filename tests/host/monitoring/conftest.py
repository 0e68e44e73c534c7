# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is watched, and the receiver of its alerts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2] / "broker"))

from monitored_host import Monitored
from told import Told, listening


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """What Alertmanager has told."""
    with listening() as told:
        yield told


@pytest.fixture(scope="module")
def untouched(systemd_host: SystemdHost, told: Told) -> Monitored:
    """A host without anything of the monitoring."""
    return Monitored(systemd_host, told.port)


@pytest.fixture(scope="module")
def watched(untouched: Monitored) -> Monitored:
    """The same with a fleet, its autoscaler, Prometheus and Alertmanager."""
    untouched.deploy()
    untouched.printed = untouched.monitor("--diff", "-vvv")
    return untouched
