# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One at a time: nobody else scales or restarts a fleet of this host meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import LOCK_WAIT
from ansible_collections.muejam.celery.plugins.module_utils.who_else_writes import who_else_writes

LOCK_DIRECTORY = "/run/celery-worker-locks"
"""Root's alone. In C(/run/lock) every user could put something in a lock's place, and nothing would scale any more."""

_POLL = 0.1


@contextlib.contextmanager
def fleet_lock(fleet: str, wait: float = LOCK_WAIT, directory: str = LOCK_DIRECTORY) -> Iterator[None]:
    """Hold the fleet's lock; it ends with the process, however that ends.

    :param wait: seconds to wait for another holder.
    :raises OperationError: when another one holds it for longer, or it cannot be made.
    """
    path = f"{directory}/celery-worker-{fleet}.lock"
    tried = f"lock fleet {fleet} ({path})"
    descriptor = _opened(path, directory, tried)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise OperationError(
                        tried,
                        f"another scaling or restart of this fleet is running{_holder(descriptor)}",
                        "Nothing was changed. Wait until it is done and try again.",
                        busy=True,
                    ) from None
            time.sleep(_POLL)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _opened(path: str, directory: str, tried: str) -> int:
    try:
        Path(directory).mkdir(mode=0o700, exist_ok=True)
        others = who_else_writes(directory)
    except OSError as error:
        raise OperationError(tried, error, f"Run this as root, and see what {directory} is.") from None
    if others:
        raise OperationError(
            tried,
            f"others than root and this user may write to {others}, and could keep the fleet from being scaled",
            f"Nothing was changed. Let nobody else write to {others}.",
        )
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise OperationError(tried, error, f"See what {path} is, and remove it when it is not a lock.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OperationError(tried, "it is no plain file", f"Remove {path} and try again.")
    return descriptor


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).strip()
    return f" (process {text.decode()})" if text.isdigit() else ""
