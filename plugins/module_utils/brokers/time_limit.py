# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep work that talks to the network within a time, whatever the network does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class TookTooLong(Exception):
    """The time that the caller allowed is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"no complete answer within {seconds:g} s")


class TimeLimit:
    """A number of seconds from now, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raise TookTooLong when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TookTooLong(self.seconds)
        return left

    def run(self, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run C(work) and return what it returns, or raise TookTooLong at the end of the time.

        Socket timeouts bound a single read, not the resolution of a name or an
        answer that trickles in, so the work runs in a thread that is left behind
        when the time is over. C(undo) is then called with what it returns after all.
        """
        outcome: Future[T] = Future()
        thread = threading.Thread(target=_settle, args=(outcome, work), name="broker-reading", daemon=True)
        left = self.left()
        thread.start()
        if not futures.wait([outcome], left).done:
            if undo is not None:
                outcome.add_done_callback(partial(_undo, undo))
            raise TookTooLong(self.seconds)
        try:
            return outcome.result()
        finally:
            # The traceback of an error refers to this frame, and the frame would refer to the error.
            del outcome


def _settle(outcome: Future[T], work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        del outcome


def _undo(undo: Callable[[T], None], late: Future[T]) -> None:
    if late.exception() is None:
        undo(late.result())
