# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A burst of tasks for a fleet in a cluster, watched until all is calm again."""

from __future__ import annotations

import json
import time
from typing import Any

from . import board, pods, recording
from .comparison import NAMES, Run
from .ending import GIVE_UP_AFTER, DemoError, acknowledged, calm, until_calm
from .feed import Feed
from .plan import Load

READY_SECONDS = 90.0  # until who scales has begun to


def wait_until_ready(watched: Feed, floor: int) -> None:
    """Return when the fleet is at its minimum, idle, and who scales it knows so. Raises DemoError when not in time."""
    deadline = time.monotonic() + READY_SECONDS
    while not (watched.last.get("autoscaler") and acknowledged(watched.last, 0) and calm(watched.last, floor)):
        if watched.ended is not None:
            raise DemoError(f"watching the workers failed:\n{watched.errors}")
        if time.monotonic() > deadline:
            raise DemoError(f"not ready for a burst within {READY_SECONDS:.0f} s; seen last: {watched.last}")
        time.sleep(0.25)


def burst(bench: pods.Bench, autoscaling: str, floor: int, load: Load, give_up_after: float = GIVE_UP_AFTER) -> Run:
    """Send tasks to a deployed fleet, and return what came of them when all is calm again.

    :param give_up_after: seconds without the end.
    :raises DemoError: when it does not begin or end in time.
    """

    def over(seen: dict[str, Any], sent: int) -> bool:
        return acknowledged(seen, sent) and calm(seen, floor)

    shown = board.Board(load.count, f"A fleet in a cluster, scaled by {NAMES[autoscaling]}", NAMES[autoscaling])
    with bench.watching(autoscaling) as watched:
        wait_until_ready(watched, floor)
        with shown, bench.sending(autoscaling, load.options()) as sender:
            sent, seen = until_calm(shown, watched, sender, over, give_up_after)
    ran = bench.ledger()
    log = [json.dumps(change) for change in seen[-1]["changes"]]
    return Run(autoscaling, recording.record(ran, seen, log, ()), pods.summary(sent, ran))
