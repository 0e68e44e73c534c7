# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not read again must not have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import FleetState
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.unit_watch import (
    ASK_AGAIN_AFTER,
    Signs,
    UnitWatch,
    invocations_of,
)

RUNS = Signs({"a@1.service": ("active", "running", "")}, (), {"a@1.service": "f00"})
CHANGES = [
    Signs({"a@1.service": ("active", "running", "stop")}, (), {"a@1.service": "f00"}),
    Signs({"a@1.service": ("deactivating", "stop-sigterm", "stop")}, (), {"a@1.service": "f00"}),
    Signs({"a@1.service": ("active", "running", "")}, (), {"a@1.service": "ba2"}),
    Signs({"a@1.service": ("active", "running", "")}, (("/etc/a@1.service", "/dev/null"),), {"a@1.service": "f00"}),
    None,
]


class Reader:
    """Counts how often everything is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.watch = UnitWatch()

    def read(self, now: float, signs: Signs | None) -> int:
        self.watch.read(now, lambda: signs, self.everything)
        return self.reads

    def everything(self) -> FleetState:
        self.reads += 1
        return FleetState("a", True)


def test_everything_is_read_once_while_nothing_changes() -> None:
    reader = Reader()
    # With the second look it is known what to compare the third with.
    assert [reader.read(now, RUNS) for now in (0.0, 5.0, 10.0, 59.0)] == [1, 2, 2, 2]


def test_the_first_time_nobody_looks_for_changes() -> None:
    reader = Reader()
    reader.watch.read(0.0, lambda: pytest.fail("there is nothing to compare with"), reader.everything)
    assert reader.reads == 1


def test_everything_is_read_again_after_a_while() -> None:
    reader = Reader()
    times = (0.0, 5.0, 5.0 + ASK_AGAIN_AFTER, 10.0 + ASK_AGAIN_AFTER)
    assert [reader.read(now, RUNS) for now in times] == [1, 2, 3, 3]


@pytest.mark.parametrize("changed", CHANGES)
def test_any_change_is_read(changed: Signs | None) -> None:
    reader = Reader()
    signs = (RUNS, RUNS, RUNS, changed, RUNS)
    assert [reader.read(5.0 * number, each) for number, each in enumerate(signs)] == [1, 2, 2, 3, 4]


def test_a_failed_reading_is_not_followed_by_an_old_answer() -> None:
    reader = Reader()
    reader.read(0.0, RUNS)

    def refuse() -> FleetState:
        raise OperationError("read", "no", "Try again.")

    with pytest.raises(OperationError):
        reader.watch.read(5.0, lambda: CHANGES[0], refuse)
    assert reader.read(10.0, RUNS) == 2


def test_invocations(tmp_path: Path) -> None:
    (tmp_path / "invocation:a@1.service").symlink_to("f00")
    running, stopped = {"a@1.service": ("active", "running", "")}, {"a@2.service": ("inactive", "dead", "")}
    assert invocations_of({**running, **stopped}, tmp_path) == {"a@1.service": "f00"}
    assert invocations_of({"a@2.service": ("active", "running", "")}, tmp_path) is None
