# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers say about themselves in their status files.

The files are written by the workers' own, unprivileged users and read by root,
so nothing in them is believed before it is checked.
"""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass

MAX_AGE = 5.0
"""Seconds after which a status file says nothing any more; workers write it at least once a second."""

MAX_BYTES = 64 * 1024
_MAX_TEXT = 256
_MAX_COUNT = 10**9


@dataclass(frozen=True)
class Status:
    """One worker's own account of itself. `monotonic` is when it was written, in seconds of CLOCK_MONOTONIC."""

    pid: int
    state: str
    active: int
    reserved: int
    monotonic: float
    config: str = ""

    @property
    def tasks(self) -> int:
        """Tasks in hand: those that run and those received but not started."""
        return self.active + self.reserved


class StatusUnknown(Exception):
    """Why nothing is known about a worker, in words for an operator."""


def read_status(path: str) -> Status:
    """Read one status file.

    :raises StatusUnknown: when it is missing, no plain file, too large, or not
        what a worker writes.
    """
    try:
        # O_NONBLOCK: opening a FIFO that somebody put there must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StatusUnknown("it has written no status file") from None
    except OSError as error:
        raise StatusUnknown(f"its status file cannot be opened ({error.strerror})") from None
    try:
        details = os.fstat(descriptor)
        if not stat.S_ISREG(details.st_mode):
            raise StatusUnknown("its status file is no plain file")
        if details.st_size > MAX_BYTES:
            raise StatusUnknown(f"its status file is larger than {MAX_BYTES} bytes")
        content = os.read(descriptor, MAX_BYTES)
    except OSError as error:
        raise StatusUnknown(f"its status file cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    return parse_status(content)


def parse_status(content: bytes) -> Status:
    """Check the content of a status file.

    :raises StatusUnknown: when it is not what a worker writes.
    """
    try:
        values = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise StatusUnknown("its status file is not JSON") from None
    if not isinstance(values, dict) or values.get("version") != 1:
        raise StatusUnknown("its status file is of a version that is not known here")
    return Status(
        pid=_count(values, "pid"),
        state=_text(values, "state"),
        active=_count(values, "active"),
        reserved=_count(values, "reserved"),
        monotonic=_seconds(values, "monotonic"),
        config=_text(values, "config") if "config" in values else "",
    )


def tasks_in_hand(status: Status, main_pid: int, now: float) -> int:
    """How many tasks a running worker has.

    :param main_pid: the process that systemd started as the worker.
    :param now: seconds of CLOCK_MONOTONIC.
    :raises StatusUnknown: when the status is stale or another process's.
    """
    if status.pid != main_pid:
        raise StatusUnknown("its status file is of another process")
    age = now - status.monotonic
    if age > MAX_AGE:
        raise StatusUnknown(f"its status file is {age:.0f} s old")
    if age < -1.0:
        raise StatusUnknown("its status file is from the future")
    return status.tasks


def _count(values: dict[str, object], key: str) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise StatusUnknown(f"its status file has no usable {key}")
    return value


def _seconds(values: dict[str, object], key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise StatusUnknown(f"its status file has no usable {key}")
    return float(value)


def _text(values: dict[str, object], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise StatusUnknown(f"its status file has no usable {key}")
    return value
