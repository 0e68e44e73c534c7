# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Status files are written by somebody else: whatever is in them, nothing but a reason may come of it."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import (
    MAX_BYTES,
    read_status,
    tasks_in_hand,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import (
    Status,
    StatusUnknown,
    parse_status,
)

GOOD: dict[str, Any] = {
    "version": 1,
    "node": "web-1@host",
    "pid": 123,
    "state": "consuming",
    "active": 2,
    "reserved": 1,
    "processed": 100,
    "pool": "prefork",
    "concurrency": 4,
    "config": "c0ffee",
    "monotonic": 1000.5,
    "at": 1700000000.0,
}


def content(**changes: Any) -> bytes:
    """A good status file, changed."""
    return json.dumps({**GOOD, **changes}).encode()


def test_good_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content())
    status = read_status(str(path))
    assert status == Status(123, "consuming", 2, 1, 1000.5, "c0ffee", started=100, pool="prefork", concurrency=4), (
        "an older lifecycle module tells no more"
    )
    assert tasks_in_hand(status, main_pid=123, now=1001.0) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "version"),
        ({"pid": "123"}, "pid"),
        ({"active": -1}, "active"),
        ({"active": True}, "active"),
        ({"active": 1.5}, "active"),
        ({"reserved": None}, "reserved"),
        ({"reserved": 10**12}, "reserved"),
        ({"monotonic": "now"}, "monotonic"),
        ({"monotonic": float("nan")}, "monotonic"),
        ({"monotonic": float("inf")}, "monotonic"),
        ({"state": "x" * 1000}, "state"),
        ({"config": ["c0ffee"]}, "config"),
        ({"written": "now"}, "written"),
        ({"finished": -1}, "finished"),
        ({"processed": "many"}, "processed"),
        ({"taken": 3}, "taken"),
        ({"taken": {"celery": -1}}, "taken"),
        ({"taken": {"celery": None}}, "taken"),
        ({"taken": {str(number): 1 for number in range(1001)}}, "taken"),
        ({"concurrency": "4"}, "concurrency"),
    ],
)
def test_unusable_values(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(StatusUnknown, match=reason):
        parse_status(content(**changes))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 60000, b'"consuming"'])
def test_no_status_at_all(text: bytes) -> None:
    with pytest.raises(StatusUnknown):
        parse_status(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_status_or_a_reason(text: bytes) -> None:
    with contextlib.suppress(StatusUnknown):
        parse_status(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1", "consuming"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted([*GOOD, "written", "finished", "taken"])), VALUES))
def test_any_values_are_a_status_or_a_reason(changes: dict[str, Any]) -> None:
    try:
        status = parse_status(content(**changes))
    except StatusUnknown:
        return
    assert status.tasks >= 0


def test_counts_of_a_worker() -> None:
    status = parse_status(content(written=1000.9, finished=98, taken={"celery": 103, "a\x06b": 0}, concurrency=None))
    assert (status.written, status.started, status.finished) == (1000.9, 100, 98)
    assert status.taken == {"celery": 103, "a\x06b": 0}
    assert status.concurrency is None


def tally(*numbers: int) -> bytes:
    return struct.pack(f"{len(numbers)}Q", *numbers)


@pytest.mark.parametrize(
    ("beside", "taken"),
    [
        (tally(123, 110, 5), {"celery": 110, "high": 5}),
        (tally(123, 110, 5, 7), {"celery": 110, "high": 5}),  # a queue that the status file does not list yet
        (tally(123, 90, 5), {"celery": 103, "high": 5}),  # older than the status file
        (tally(124, 110, 5), {"celery": 103, "high": 0}),  # another process's
        (tally(123, 110), {"celery": 103, "high": 0}),
        (tally(123, 110, 5)[:-3], {"celery": 103, "high": 0}),
        (b"", {"celery": 103, "high": 0}),
        (None, {"celery": 103, "high": 0}),
    ],
)
def test_counts_of_this_instant(tmp_path: Path, beside: bytes | None, taken: dict[str, int]) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content(taken={"celery": 103, "high": 0}))
    if beside is not None:
        (tmp_path / "status.json.taken").write_bytes(beside)
    assert read_status(str(path)).taken == taken


def test_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content())
    link = tmp_path / "status.json"
    link.symlink_to(secret)
    with pytest.raises(StatusUnknown, match="it is a link"):
        read_status(str(link))


def test_pipe_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "status.json"
    os.mkfifo(pipe)
    with pytest.raises(StatusUnknown, match="no plain file"):
        read_status(str(pipe))


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StatusUnknown, match="no plain file"):
        read_status(str(tmp_path))


def test_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content() + b" " * MAX_BYTES)
    with pytest.raises(StatusUnknown, match="larger"):
        read_status(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StatusUnknown, match="no status file"):
        read_status(str(tmp_path / "status.json"))


@pytest.mark.parametrize(
    ("pid", "now", "reason"),
    [(124, 1001.0, "another process"), (123, 1006.0, "6 s old"), (123, 900.0, "future")],
)
def test_stale_status_is_unknown(pid: int, now: float, reason: str) -> None:
    with pytest.raises(StatusUnknown, match=reason):
        tasks_in_hand(parse_status(content()), pid, now)


def test_status_is_good_for_five_seconds() -> None:
    assert tasks_in_hand(parse_status(content()), 123, 1005.5) == 3
