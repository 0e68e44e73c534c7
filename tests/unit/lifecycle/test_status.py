# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a worker, and to whom."""

from __future__ import annotations

import pytest
from celery.concurrency import solo, thread

from muejam_celery_lifecycle.notify import watchdog_seconds
from muejam_celery_lifecycle.status import pool_name


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float) -> None:
    assert watchdog_seconds(environ, 7) == seconds


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        ("prefork", "prefork"),
        ("celery.concurrency.thread:TaskPool", "threads"),
        ("celery.concurrency.solo:TaskPool", "solo"),
    ],
)
def test_pool_name(pool: str, name: str) -> None:
    assert pool_name(pool) == name


def test_pool_name_of_classes_and_pools() -> None:
    assert pool_name(thread.TaskPool) == "threads"
    assert pool_name(solo.TaskPool(limit=1)) == "solo"
