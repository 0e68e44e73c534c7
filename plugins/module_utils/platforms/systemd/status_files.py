# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers say about themselves in their status files.

The files are written by the workers' own, unprivileged users and read by root,
so nothing in them is believed before it is checked.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import TasksUnknown

MAX_AGE = 5.0
"""Seconds after which a status file says nothing any more; workers write it at least once a second."""

MAX_BYTES = 64 * 1024
_MAX_TEXT = 256
_MAX_COUNT = 10**9
_MAX_SECONDS = 1e12
_MAX_TOTAL = 10**15
_MAX_QUEUES = 1000
_NUMBER = struct.Struct("Q")
TALLY = ".taken"
"""End of the name of the file that has the counts of messages, beside the status file."""


@dataclass(frozen=True)
class Status:
    """One worker's own account of itself.

    `monotonic` is when it was last proven alive, `written` when its counts were taken, both in seconds of
    CLOCK_MONOTONIC. `started` and `finished` count tasks, `taken` messages by queue, since its process started;
    `scheduled` are tasks that it has received and that wait for their time. They are `None` where the worker does not
    tell, as those with an older lifecycle module do not.
    """

    pid: int
    state: str
    active: int
    reserved: int
    monotonic: float
    config: str = ""
    written: float | None = None
    started: int | None = None
    finished: int | None = None
    taken: Mapping[str, int] | None = None
    pool: str | None = None
    concurrency: int | None = None
    scheduled: int | None = None

    @property
    def tasks(self) -> int:
        """Tasks in hand: those that run and those received but not started."""
        return self.active + self.reserved


class StatusUnknown(TasksUnknown):
    """Why nothing is known about a worker, in words for an operator."""


class StatusMissing(StatusUnknown):
    """The worker keeps no status file, or has not begun to."""


def read_status(path: str) -> Status:
    """Read one status file, with the counts of messages of this instant where the worker keeps them.

    :raises StatusUnknown: when it is missing, no plain file, too large, or not
        what a worker writes.
    """
    status = parse_status(_read(path))
    if not status.taken:
        return status
    try:
        return with_tally(status, _read(path + TALLY))
    except StatusUnknown:
        return status


def with_tally(status: Status, content: bytes) -> Status:
    """Bring `taken` up to date by the file that a worker writes with each message.

    :param content: native unsigned 64-bit integers: the worker's process id,
        then the counts in the order of `taken`. What is not that is passed over.
    """
    numbers = [number for (number,) in _NUMBER.iter_unpack(content[: len(content) // _NUMBER.size * _NUMBER.size])]
    taken = status.taken or {}
    if len(numbers) <= len(taken) or numbers[0] != status.pid:
        return status
    pairs = zip(taken.items(), numbers[1:])
    return replace(status, taken={name: max(count, min(now, _MAX_TOTAL)) for (name, count), now in pairs})


def _read(path: str) -> bytes:
    try:
        return read_plain_file(path, MAX_BYTES)
    except FileNotFoundError:
        raise StatusMissing("it has written no status file") from None
    except NotAPlainFile as reason:
        raise StatusUnknown(f"its status file is not used: {reason}") from None
    except OSError as error:
        raise StatusUnknown(f"its status file cannot be read ({error.strerror})") from None


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
        written=_seconds(values, "written") if "written" in values else None,
        started=_count(values, "processed", _MAX_TOTAL) if "processed" in values else None,
        finished=_count(values, "finished", _MAX_TOTAL) if "finished" in values else None,
        taken=_counts(values, "taken") if "taken" in values else None,
        pool=_text(values, "pool") if "pool" in values else None,
        # Some pools do not know how many tasks they run at once.
        concurrency=_count(values, "concurrency") if values.get("concurrency") is not None else None,
        scheduled=_count(values, "scheduled") if values.get("scheduled") is not None else None,
    )


def tasks_in_hand(status: Status, main_pid: int, now: float) -> int:
    """How many tasks a running worker has.

    :param main_pid: the process that systemd started as the worker.
    :param now: seconds of CLOCK_MONOTONIC.
    :raises StatusUnknown: when the status is stale or another process's.
    """
    require_own(status, main_pid)
    require_fresh(status.monotonic, now)
    return status.tasks


def require_own(status: Status, main_pid: int) -> None:
    """Let pass what the process `main_pid` wrote.

    :raises StatusUnknown: when it is another process's.
    """
    if status.pid != main_pid:
        raise StatusUnknown("its status file is of another process")


def require_fresh(written: float, now: float) -> None:
    """Let pass what is of now.

    :param written: seconds of CLOCK_MONOTONIC, as is `now`.
    :raises StatusUnknown: when it is too old to say anything.
    """
    age = now - written
    if age > MAX_AGE:
        raise StatusUnknown(f"its status file is {age:.0f} s old")
    if age < -1.0:
        raise StatusUnknown("its status file is from the future")


def _count(values: dict[str, object], key: str, most: int = _MAX_COUNT) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise StatusUnknown(f"its status file has no usable {key}")
    return value


def _counts(values: dict[str, object], key: str) -> Mapping[str, int]:
    value = values.get(key)
    if not isinstance(value, dict) or len(value) > _MAX_QUEUES:
        raise StatusUnknown(f"its status file has no usable {key}")
    try:
        return {name: _count(value, name, _MAX_TOTAL) for name in value}
    except StatusUnknown:
        raise StatusUnknown(f"its status file has no usable {key}") from None


def _seconds(values: dict[str, object], key: str) -> float:
    value = values.get(key)
    # Not by math.isfinite: a whole number of JSON can be too large for it.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _MAX_SECONDS:
        raise StatusUnknown(f"its status file has no usable {key}")
    return float(value)


def _text(values: dict[str, object], key: str) -> str:
    value = values.get(key)
    # What is not printable could be an order to the terminal of whoever reads it.
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise StatusUnknown(f"its status file has no usable {key}")
    return value
