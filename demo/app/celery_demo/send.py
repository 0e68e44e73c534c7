# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a load: `python -m celery_demo.send --count 600 --min 0.05 --max 2 --priority 9 5 1`.

The load is a burst, and at will a trickle of tasks before and after it. Prints one JSON line for each task once the
broker has it: {"id", "priority", "duration", "sent"}.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .app import app
from .tasks import BY_PRIORITY


@dataclass(frozen=True)
class Sent:
    """One published task. `duration` in seconds, `sent` in seconds of the host's clock."""

    id: str
    priority: int
    duration: float
    sent: float


@dataclass(frozen=True)
class Load:
    """How many tasks, and when: `count` at `rate` a second (0: as fast as it goes).

    `before` and `after` are how many come at the rate `trickle` before and after these.
    """

    count: int
    rate: float = 0
    before: int = 0
    after: int = 0
    trickle: float = 1

    def instants(self) -> Iterator[float]:
        """Yield when each task is due, in seconds since the beginning."""
        for number in range(self.before):
            yield number / self.trickle
        burst = self.before / self.trickle
        for number in range(self.count):
            yield burst + (number / self.rate if self.rate else 0.0)
        calm = burst + (self.count / self.rate if self.rate else 0.0)
        for number in range(self.after):
            yield calm + number / self.trickle


def send(load: Load, shortest: float, longest: float, priorities: list[int], seed: int, queue: str) -> Iterator[Sent]:
    """Publish the tasks of a load when they are due, or as soon after as it goes, and yield each when it is out."""
    chance = random.Random(seed)
    run = uuid.uuid4().hex[:8]
    begun = time.monotonic()
    for number, due in enumerate(load.instants()):
        time.sleep(max(0.0, begun + due - time.monotonic()))
        priority = chance.choice(priorities)
        task = Sent(f"{run}-{number}", priority, round(chance.uniform(shortest, longest), 3), time.time())
        BY_PRIORITY[priority].apply_async(
            kwargs={"duration": task.duration, "id": task.id, "sent": task.sent}, queue=queue
        )
        yield task


def wait_for_confirmations() -> None:
    """Let each publishing return when RabbitMQ has the message.

    Otherwise it returns when the message is on its way, and RabbitMQ drops what it has not looked at yet when this
    process ends. Redis confirms anyhow.
    """
    app.conf.broker_transport_options = {**(app.conf.broker_transport_options or {}), "confirm_publish": True}


def main() -> None:
    """Do what the command line asks for."""
    wait_for_confirmations()
    options = argparse.ArgumentParser(prog="celery_demo.send", description=__doc__)
    options.add_argument("--count", type=int, default=600)
    options.add_argument("--min", type=float, default=0.05, help="shortest task, in seconds")
    options.add_argument("--max", type=float, default=2.0, help="longest task, in seconds")
    options.add_argument("--priority", type=int, nargs="+", choices=sorted(BY_PRIORITY), default=sorted(BY_PRIORITY))
    options.add_argument("--rate", type=float, default=0, help="tasks a second; 0: as fast as it goes")
    options.add_argument("--before", type=int, default=0, help="tasks that trickle in before these")
    options.add_argument("--after", type=int, default=0, help="tasks that trickle in after these")
    options.add_argument("--trickle", type=float, default=1, help="tasks a second before and after")
    options.add_argument("--seed", type=int, default=1, help="the same seed gives the same load")
    options.add_argument("--queue", default="celery")
    given = options.parse_args()
    load = Load(given.count, given.rate, given.before, given.after, given.trickle)
    for task in send(load, given.min, given.max, given.priority, given.seed, given.queue):
        print(json.dumps(asdict(task)), flush=True)


if __name__ == "__main__":
    main()
