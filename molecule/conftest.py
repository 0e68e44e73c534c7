# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenarios' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from probed import Fleet


@pytest.fixture
def fleet(host: Host) -> Callable[[str], Fleet]:
    """Give a fleet of the host by its name."""
    return lambda name: Fleet(host, name)


@pytest.fixture(autouse=True)
def _journal_of_failure(request: pytest.FixtureRequest, host: Host) -> Iterator[None]:
    """Print what the workers logged when a test of them fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(host.run("journalctl --no-pager -n 100 -u 'celery-worker-*'").stdout)
