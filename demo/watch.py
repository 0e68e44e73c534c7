# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch the demo from its host: one JSON line a second about the queue, the workers, the ledger and the autoscaler.

Runs with the tools environment of the collection and reads as the collection itself does. What could not be read is
null, and `problem` says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import read_status
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import Configuration
from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Platform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform

QUEUE = "celery"
FLEET = "demo"


class Counted(Protocol):
    """What tells how many tasks are done."""

    def count(self) -> int:
        """Return how many there are by now."""


class Decided(Protocol):
    """What tells what is decided about the number of workers; C(changes) are the decisions that changed it."""

    changes: list[dict[str, Any]]

    def told(self) -> tuple[dict[str, Any] | None, str]:
        """Return what was last seen and decided, or None and why that is not known."""


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


class Decisions:
    """What the autoscaler decides from now on, from its log: its status has the last decision alone."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.last: dict[str, Any] | None = None

    def follow(self, *command: str) -> None:
        """Read what a command prints of the log in the background, until this program ends."""
        # It is ended with the unit that this program runs as.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: self.note(process.stdout or ()), daemon=True).start()

    def note(self, lines: Iterable[str]) -> None:
        """Keep the last decision, and those that change the number of workers."""
        for line in lines:
            # systemd's own sentences are among them.
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("fleet") != FLEET or not said.get("action"):
                continue
            self.last = said
            if said["from"] != said["to"]:
                self.changes.append({key: said[key] for key in ("at", "action", "from", "to", "reasons")})

    def told(self) -> tuple[dict[str, Any] | None, str]:
        """Return what the autoscaler says in its status."""
        return autoscaler()


def workers(seen: FleetReading) -> tuple[list[dict[str, Any]] | None, str]:
    """Return the workers of the fleet, or None and why they could not be read."""
    if seen.workers is None:
        return None, seen.problem
    return [{"name": w.name, "state": w.phase, "active": w.active} for w in seen.workers], ""


def autoscaler(path: str = Configuration.status) -> tuple[dict[str, Any] | None, str]:
    """Return what the autoscaler last saw of the fleet and decided, or None and why that is not known."""
    try:
        status = read_status(path)
    except OperationError as error:
        return None, str(error)
    for fleet in status["fleets"]:
        if fleet["fleet"] == FLEET:
            return dict(fleet), ""
    return None, f"the autoscaler does not know the fleet {FLEET}"


def reading(broker: Broker, ledger: Counted, platform: Platform, decisions: Decided) -> dict[str, Any]:
    """Read everything once. `lost` says whether the broker could not be read."""
    # What takes long is asked last, and is of that time or later.
    at = time.time()
    problem, waiting, unacknowledged = "", None, None
    try:
        queue = broker.read_queues([QUEUE])[0]
        waiting = queue.waiting_by_priority
        unacknowledged = queue.unacknowledged
    except OperationError as error:
        problem = str(error)
    lost = bool(problem)
    fleet = platform.read(FLEET)
    seen, unread = workers(fleet)
    decided, untold = decisions.told()
    return {
        "at": at,
        "waiting": None if waiting is None else dict(waiting),
        "unacknowledged": unacknowledged,
        "workers": seen,
        "wanted": fleet.wanted,
        "autoscaler": decided,
        "changes": list(decisions.changes),
        "done": ledger.count(),
        "problem": "; ".join(text for text in (problem, unread, untold) if text),
        "lost": lost,
    }


def watch(
    ledger: Counted,
    platform: Platform,
    decisions: Decided,
    every: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print a reading every so many seconds, until stopped."""
    while True:
        try:
            with open_broker(os.environ["CELERY_BROKER_URL"]) as broker:
                lost = False
                while not lost:
                    begun = time.monotonic()
                    seen = reading(broker, ledger, platform, decisions)
                    lost = seen.pop("lost")
                    print(json.dumps(seen), flush=True)
                    sleep(max(0.0, begun + every - time.monotonic()))
        except OperationError as error:
            print(json.dumps({"at": time.time(), "problem": str(error)}), flush=True)
            sleep(every)


def main() -> None:
    """Watch the host that this runs on."""
    decisions = Decisions()
    decisions.follow("journalctl", "--follow", "--lines=0", "--unit=celery-autoscaler", "--output=cat")
    watch(Ledger(Path(os.environ["DEMO_LEDGER"])), open_platform(), decisions)


if __name__ == "__main__":
    main()
