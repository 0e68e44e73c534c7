# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The native thread that writes the status file and notifies systemd."""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from .counts import TALLY, open_for_all
from .native import native
from .notify import INTERVAL, Notifier
from .status import Status

STALE_AFTER = 5.0  # seconds without a pulse after which the event loop counts as stuck; more with a long watchdog


class Reporter:
    """Reports what the status says.

    It takes no lock, does not log and uses nothing that is patched or must not be held while the pool forks.
    """

    def __init__(self, status: Status, is_blocked: Callable[[], bool], environ: Mapping[str, str]) -> None:
        self.status = status
        self.is_blocked = is_blocked
        self.path = environ.get("CELERY_LIFECYCLE_STATUS_FILE") or None
        self.notifier = Notifier(environ, status.pid)
        # Probes alone need it too: it notes once a second what only holds meanwhile, such as a task of the solo pool.
        self.is_asked = bool(environ.get("CELERY_LIFECYCLE_HTTP"))
        watchdog = self.notifier.watchdog
        self.stale_after = max(STALE_AFTER, watchdog / 2)
        self.fault: Exception | None = None
        self.finished = False
        self.waiter, self.waker = _socket.socketpair()
        self.waker.setblocking(False)
        self.waiter.settimeout(max(min(INTERVAL, watchdog / 3), 0.05) if watchdog else INTERVAL)

    def start(self) -> None:
        if self.path or self.notifier.is_on or self.is_asked:
            native("_thread", "start_new_thread")(self.run, ())

    def wake(self) -> None:
        """Report now instead of at the next turn. Safe in a signal handler."""
        with contextlib.suppress(OSError):
            self.waker.send(b".")

    def run(self) -> None:
        while not self.finished:
            try:
                self.turn(time.monotonic())
            except Exception as error:
                self.fault = self.fault or error
            with contextlib.suppress(OSError):
                self.waiter.recv(64)

    def turn(self, now: float) -> None:
        """Report once; `now` is in seconds of the monotonic clock."""
        status = self.status
        proven_at = status.proven_at(now)
        snapshot = status.snapshot(self.is_blocked())
        self.write(snapshot, proven_at)
        states = [line for line, holds in (("READY=1", status.ready), ("STOPPING=1", status.stopping)) if holds]
        self.notifier.tell(states, status.describe(snapshot), now - proven_at < self.stale_after, now)
        if status.is_overdue(now):
            self.end()

    def end(self) -> None:
        """End the process, whose tasks are all done, in the middle of the step that hangs."""
        self.finish()
        text = b"muejam_celery_lifecycle: drained, but the last steps of the shutdown hang: ending without them\n"
        with contextlib.suppress(OSError):
            os.write(2, text)
        os._exit(0)

    def write(self, snapshot: dict[str, Any], proven_at: float) -> None:
        if self.path is None:
            return
        document = self.status.document(snapshot, proven_at)
        temporary = self.path + ".tmp"
        try:
            descriptor = open_for_all(temporary)
            try:
                os.write(descriptor, json.dumps(document).encode())
            finally:
                os.close(descriptor)
            if not self.finished:
                Path(temporary).replace(self.path)
        except OSError as error:
            self.fault = self.fault or error

    def finish(self) -> None:
        """Stop reporting, and take the file away: a worker that is gone has no state."""
        self.finished = True
        self.wake()
        if self.path:
            for path in (self.path, self.path + ".tmp", self.path + TALLY):
                with contextlib.suppress(OSError):
                    Path(path).unlink()
