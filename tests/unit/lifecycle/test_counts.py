# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many messages a worker took, by queue."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from muejam_celery_lifecycle.counts import MAX_QUEUES, Tally


def tallied(path: Path) -> list[int]:
    content = path.read_bytes()
    return list(struct.unpack(f"{len(content) // 8}Q", content))


def test_tally_is_written_with_each_message(tmp_path: Path) -> None:
    tally = Tally(str(tmp_path / "status.json"), 42)
    path = tmp_path / "status.json.taken"
    assert tallied(path) == [42]
    tally.begin("celery")
    tally.begin("high")
    tally.begin("celery")
    assert tallied(path) == [42, 0, 0]
    tally.add("high")
    tally.add("high")
    tally.add("celery")
    tally.begin("high")
    assert tallied(path) == [42, 1, 2]
    assert tally.for_status() == {"taken": {"celery": 1, "high": 2}}
    assert path.stat().st_mode & 0o777 == 0o644


def test_tally_of_too_many_queues_tells_nothing_and_stays_small(tmp_path: Path) -> None:
    tally = Tally(str(tmp_path / "status.json"), 42)
    for number in range(MAX_QUEUES + 5):
        tally.begin(f"queue-{number}")
        tally.add(f"queue-{number}")
    assert tally.for_status() == {}
    assert len(tallied(tmp_path / "status.json.taken")) == MAX_QUEUES + 1


def test_tally_of_a_queue_with_an_endless_name_tells_nothing() -> None:
    tally = Tally(None, 42)
    tally.begin("q" * 300)
    assert tally.for_status() == {}


@pytest.mark.parametrize("path", ["/nonexistent/status.json", None])
def test_tally_without_a_file_counts_all_the_same(path: str | None) -> None:
    tally = Tally(path, 42)
    tally.begin("celery")
    tally.add("celery")
    assert tally.for_status() == {"taken": {"celery": 1}}
    assert (tally.fault is None) == (path is None)


def test_tally_that_cannot_be_written_is_emptied(tmp_path: Path) -> None:
    tally = Tally(str(tmp_path / "status.json"), 42)
    tally.begin("celery")
    os.close(tally.descriptor)
    tally.descriptor = os.open(tmp_path / "status.json.taken", os.O_RDONLY)  # in place of a disk that went bad
    tally.add("celery")
    assert tally.descriptor is None
    assert isinstance(tally.fault, OSError)
    assert tally.for_status() == {"taken": {"celery": 1}}
