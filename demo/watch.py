# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch the demo from its host: one JSON line a second about the queue, the workers and the ledger.

Runs with the tools environment of the collection and reads as the collection's modules do. What could not be read is
null, and `problem` says why.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.act.status_files import (
    StatusUnknown,
    read_status,
    tasks_in_hand,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import RUNTIME_DIRECTORY, node_name
from ansible_collections.muejam.celery.plugins.module_utils.observe.broker import Broker, open_broker, read_queues

QUEUE = "celery"
FLEET = "demo"


class Ledger:
    """Counts the lines of a growing file without reading it again from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.lines = 0

    def count(self) -> int:
        """Return how many whole lines there are."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.offset)
                new = file.read()
            self.offset += len(new)
            self.lines += new.count(b"\n")
        return self.lines


def workers() -> list[dict[str, Any]]:
    """Return what the workers of the fleet say of themselves."""
    found = []
    for path in sorted(Path(RUNTIME_DIRECTORY).glob(f"{FLEET}-*/status.json")):
        number = int(path.parent.name.rpartition("-")[2])
        state, active = "unknown", None
        try:
            status = read_status(str(path))
            tasks_in_hand(status, status.pid, time.monotonic())
            state, active = status.state, status.active
        except StatusUnknown:
            pass
        found.append({"name": node_name(FLEET, number, socket.gethostname()), "state": state, "active": active})
    return found


def reading(broker: Broker, ledger: Ledger) -> dict[str, Any]:
    """Read everything once."""
    problem, waiting, unacknowledged = "", None, None
    try:
        queue = read_queues(broker, [QUEUE])[0]
        waiting = queue.waiting_by_priority
        unacknowledged = queue.unacknowledged
    except OperationError as error:
        problem = str(error)
    return {
        "waiting": None if waiting is None else dict(waiting),
        "unacknowledged": unacknowledged,
        "workers": workers(),
        "done": ledger.count(),
        "problem": problem,
    }


def watch(every: float = 1.0, sleep: Callable[[float], None] = time.sleep) -> None:
    """Print a reading every so many seconds, until stopped."""
    ledger = Ledger(Path(os.environ["DEMO_LEDGER"]))
    while True:
        try:
            with open_broker(os.environ["CELERY_BROKER_URL"]) as broker:
                problem = ""
                while not problem:
                    seen = reading(broker, ledger)
                    problem = seen["problem"]
                    print(json.dumps(seen), flush=True)
                    sleep(every)
        except OperationError as error:
            print(json.dumps({"problem": str(error)}), flush=True)
            sleep(every)


if __name__ == "__main__":
    watch()
