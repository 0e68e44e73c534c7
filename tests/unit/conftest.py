# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples take as long as the machine needs: how busy it is says nothing about the rules.

Each run draws others, so that few of them find as much in the course of many runs; "make soak" draws many at once.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ansible_collections.muejam.celery.plugins.module_utils.simulation.command_line import main

settings.register_profile("few", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("many", parent=settings.get_profile("few"), max_examples=1000)
settings.load_profile("few")


@pytest.fixture
def autoscaler(capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call celery-autoscaler with its arguments in this process."""

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse does
            status = int(ended.code or 0)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return call
