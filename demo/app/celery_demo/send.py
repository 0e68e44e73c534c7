# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a load: `python -m celery_demo.send --count 600 --min 0.05 --max 2 --priority 9 5 1`.

Prints one JSON line for each task once the broker has it: {"id", "priority", "duration", "sent"}.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .tasks import BY_PRIORITY


@dataclass(frozen=True)
class Sent:
    """One published task. `duration` in seconds, `sent` in seconds of the host's clock."""

    id: str
    priority: int
    duration: float
    sent: float


def send(
    count: int, shortest: float, longest: float, priorities: list[int], rate: float, seed: int, queue: str
) -> Iterator[Sent]:
    """Publish `count` tasks, at most `rate` a second (0: as fast as it goes), and yield each when it is out."""
    chance = random.Random(seed)
    run = uuid.uuid4().hex[:8]
    begun = time.monotonic()
    for number in range(count):
        if rate:
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        priority = chance.choice(priorities)
        task = Sent(f"{run}-{number}", priority, round(chance.uniform(shortest, longest), 3), time.time())
        BY_PRIORITY[priority].apply_async(
            kwargs={"duration": task.duration, "id": task.id, "sent": task.sent}, queue=queue
        )
        yield task


def main() -> None:
    """Do what the command line asks for."""
    options = argparse.ArgumentParser(prog="celery_demo.send", description=__doc__)
    options.add_argument("--count", type=int, default=600)
    options.add_argument("--min", type=float, default=0.05, help="shortest task, in seconds")
    options.add_argument("--max", type=float, default=2.0, help="longest task, in seconds")
    options.add_argument("--priority", type=int, nargs="+", choices=sorted(BY_PRIORITY), default=sorted(BY_PRIORITY))
    options.add_argument("--rate", type=float, default=0, help="tasks a second; 0: as fast as it goes")
    options.add_argument("--seed", type=int, default=1, help="the same seed gives the same load")
    options.add_argument("--queue", default="celery")
    given = options.parse_args()
    load = send(given.count, given.min, given.max, given.priority, given.rate, given.seed, given.queue)
    for task in load:
        print(json.dumps(asdict(task)), flush=True)


if __name__ == "__main__":
    main()
