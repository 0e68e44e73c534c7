# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM in a process that is the first of its container, before Celery's own handlers are there.

The kernel gives the first process of a PID namespace no default actions: what it does not handle is dropped. Celery
installs its handlers when it starts the worker, with all modules imported and configured. A pod that is deleted before
would hear nothing, and wait until it is killed at the end of its grace period.

The import of this package is the earliest moment that we have. What Python and the app's own module do before it
(`celery -A`) is not covered. Between our handler and Celery's, and between Celery's and the drain's, no signal is lost:
Python calls the handler that is there when it comes to call one, and there always is one.

Nothing else of a first process is done here. It also inherits the processes whose parents have ended. Celery waits for
those of its own pool only, so what tasks start and leave behind stays as zombies until the container ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

FIRST = 1  # the id of the first process, as it sees itself


def end_at_once(signum: int, frame: Any) -> None:
    """Do what the signal does to any other process: nothing is consumed, so there is nothing to finish."""
    if os.getpid() != FIRST:
        # Forked from it, and the default action is there again.
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        return
    with contextlib.suppress(OSError):
        os.write(2, b"muejam_celery_lifecycle: told to end before the worker has started: ending at once\n")
    os._exit(128 + signum)


def install() -> None:
    """Take SIGTERM until Celery does, unless it is handled or ignored by somebody's choice."""
    if os.getpid() == FIRST and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # Not in the main thread: then this is not Celery's command, which imports in it.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, end_at_once)


install()
