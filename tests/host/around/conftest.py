# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts for what stands around a fleet: beat and Flower."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from muejam_bed.systemd_host import SystemdHost

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from around import Around


@pytest.fixture(scope="module")
def around(host_for: Callable[[ExitStack, str], SystemdHost]) -> Iterator[Around]:
    """The two hosts with the code of the application, and nothing deployed yet."""
    with ExitStack() as hosts:
        made = Around(host_for(hosts, "around-one"), host_for(hosts, "around-two"))
        made.bring_the_application()
        yield made
