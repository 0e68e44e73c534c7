# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers say about themselves in their status files.

The files are written by the workers' own, unprivileged users and read by root,
so nothing in them is believed before it is checked.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import (
    MAX_TOTAL,
    Status,
    StatusUnknown,
    parse_status,
    require_fresh,
)

MAX_BYTES = 64 * 1024
_NUMBER = struct.Struct("Q")
TALLY = ".taken"
"""End of the name of the file that has the counts of messages, beside the status file."""


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
    return replace(status, taken={name: max(count, min(now, MAX_TOTAL)) for (name, count), now in pairs})


def _read(path: str) -> bytes:
    try:
        return read_plain_file(path, MAX_BYTES)
    except FileNotFoundError:
        raise StatusMissing("it has written no status file") from None
    except NotAPlainFile as reason:
        raise StatusUnknown(f"its status file is not used: {reason}") from None
    except OSError as error:
        raise StatusUnknown(f"its status file cannot be read ({error.strerror})") from None


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
