# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a burst is over: nothing is left to do, and the fleet is back at its minimum."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .board import Board, workers_by_state
from .feed import Feed

GIVE_UP_AFTER = 300.0  # seconds without the end


class DemoError(Exception):
    """The demo did not show what it is to show; the message says what was seen."""


def until_calm(
    shown: Board,
    watched: Feed,
    sender: Feed,
    over: Callable[[dict[str, Any], int], bool],
    give_up_after: float = GIVE_UP_AFTER,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Show what is watched until all tasks are done and the fleet is back at its minimum.

    Return what was published and what was seen.

    :param over: says of what was seen last, and of the number of published tasks, whether that is so.
    :param give_up_after: seconds without the end.
    :raises DemoError: when it does not come to an end in time.
    """
    deadline = time.monotonic() + give_up_after
    while True:
        shown.show(watched.last, len(sender.lines))
        if sender.ended:
            raise DemoError(f"publishing failed after {shown.sent} tasks:\n{sender.errors}")
        if watched.ended is not None:
            raise DemoError(f"watching the workers failed:\n{watched.errors}")
        if time.monotonic() > deadline:
            raise DemoError(f"no calm within {give_up_after:.0f} s; seen last: {shown.seen}")
        if sender.ended == 0 and over(shown.seen, len(sender.lines)):
            return list(sender.lines), list(watched.lines)
        time.sleep(0.25)


def finished(seen: dict[str, Any], sent: int) -> bool:
    """Say whether nothing waits, runs or is unacknowledged any more; what is not known is not finished."""
    workers = seen.get("workers")
    return acknowledged(seen, sent) and workers is not None and all(worker["active"] == 0 for worker in workers)


def acknowledged(seen: dict[str, Any], sent: int) -> bool:
    """Say whether nothing waits or is unacknowledged any more: nothing runs then, where tasks are acknowledged late."""
    waiting = seen.get("waiting")
    return (
        int(seen.get("done", 0)) >= sent
        and waiting is not None
        and not any(waiting.values())
        and seen.get("unacknowledged") == 0
    )


def calm(seen: dict[str, Any], floor: int) -> bool:
    """Say whether the fleet is at its minimum, with nobody on the way up or out."""
    return workers_by_state(seen) == {"consuming": floor}
