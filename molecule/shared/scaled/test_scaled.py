# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet after it was scaled out and in again: what runs is what will run after a reboot, and it works."""

from __future__ import annotations

import os
from collections.abc import Callable

from testinfra.host import Host

from probed import Fleet

SCALED = os.environ["PROBE_SCALED_FLEET"]
WORKERS = 3


def test_as_many_run_as_were_asked_for(fleet: Callable[[str], Fleet]) -> None:
    assert len(fleet(SCALED).units()) == WORKERS
    assert fleet(SCALED).enabled() == fleet(SCALED).units()


def test_every_worker_left_takes_tasks(fleet: Callable[[str], Fleet]) -> None:
    answers = fleet(SCALED).look(SCALED, count=24, seconds=1.0)
    assert len({one["node"] for one in answers}) == WORKERS


def test_nothing_failed_on_the_way(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
