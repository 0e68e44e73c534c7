# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that may not take longer than it is given."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit, TookTooLong


def test_returns_and_raises_what_the_work_does() -> None:
    assert TimeLimit(5).run(lambda: 3) == 3
    assert TimeLimit(5).run(lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        TimeLimit(5).run(lambda: 1 // 0)


def test_leaves_work_behind_that_takes_too_long_and_undoes_it() -> None:
    go, undone = threading.Event(), threading.Event()

    def work() -> str:
        go.wait(10)
        return "late"

    begun = time.monotonic()
    with pytest.raises(TookTooLong, match=r"no complete answer within 0\.05 s"):
        TimeLimit(0.05).run(work, undo=lambda result: undone.set() if result == "late" else None)
    assert time.monotonic() - begun < 5
    go.set()
    assert undone.wait(10)


def test_no_time_at_all() -> None:
    limit = TimeLimit(0)
    with pytest.raises(TookTooLong):
        limit.left()
    with pytest.raises(TookTooLong):
        limit.run(lambda: pytest.fail("it ran"))
