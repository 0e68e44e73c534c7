# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent, what the tasks themselves tell of their waits, and whether that is what was told of them.

Each task carries when it was sent and writes down when it ran. A worker takes one message at a time, just before it
runs it, so at any instant the tasks that wait are those sent and not begun.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from task_sender import sender

SOLO = ("--pool", "solo", "--without-heartbeat")
ONE_AT_A_TIME = {"worker_prefetch_multiplier": 1, "task_acks_late": True}


@dataclass(frozen=True)
class Sending:
    """Tasks that are sent at once, seconds after the start, and how many seconds each runs."""

    after: float
    queue: str
    count: int
    runs: float
    priority: int | None = None


@dataclass(frozen=True)
class Load:
    """What is sent."""

    name: str
    queues: tuple[str, ...]
    sendings: Sequence[Sending]

    @property
    def total(self) -> int:
        return sum(sending.count for sending in self.sendings)


def steady(queue: str, a_second: float, seconds: float, runs: float, start: float = 0.0) -> list[Sending]:
    return [Sending(start + number / a_second, queue, 1, runs) for number in range(int(a_second * seconds))]


@dataclass
class Truth:
    """What was sent and what has run, by its own account."""

    journal: Path
    sent: dict[int, tuple[float, str]] = field(default_factory=dict)

    def began(self) -> dict[int, float]:
        began = {}
        try:
            lines = self.journal.read_text().splitlines()
        except FileNotFoundError:
            return {}
        for line in lines:
            word, number, *at = line.split(" ")
            if word == "taken":
                began[int(number)] = float(at[0])
        return began

    def oldest(self, at: float, began: dict[int, float], queues: Collection[str], but: int = 0) -> float:
        """Return how long the oldest task but so many had waited that had been sent and not begun at an instant."""
        waited = sorted(
            (
                at - sent
                for number, (sent, queue) in list(self.sent.items())
                if queue in queues and sent <= at < began.get(number, math.inf)
            ),
            reverse=True,
        )
        return waited[but] if but < len(waited) else 0.0

    def most_begun(self, since: float, until: float, within: float, began: dict[int, float]) -> int:
        """Return how many tasks began within so many seconds, at most, between two instants."""
        moments = sorted(moment for moment in began.values() if since - within <= moment <= until)
        return max((bisect_right(moments, moment + within) - place for place, moment in enumerate(moments)), default=0)


class Sender(threading.Thread):
    """Sends a load on time."""

    def __init__(self, url: str, load: Load, truth: Truth) -> None:
        super().__init__()
        self.url, self.load, self.truth = url, load, truth
        self.started_at = time.time()
        self.stopped = threading.Event()

    def run(self) -> None:
        numbers = iter(range(10**9))
        with sender(self.url) as app, app.producer_or_acquire() as producer:
            for sending in sorted(self.load.sendings, key=lambda each: each.after):
                if self.stopped.wait(max(self.started_at + sending.after - time.time(), 0.0)):
                    return
                options = {} if sending.priority is None else {"priority": sending.priority}
                for number in (next(numbers) for _each in range(sending.count)):
                    self.truth.sent[number] = time.time(), sending.queue
                    app.send_task("clocked", [number, sending.runs], queue=sending.queue, producer=producer, **options)


@dataclass
class Told:
    """What was told of the wait in some queues: when, and how many seconds."""

    queues: tuple[str, ...]
    waits: list[tuple[float, float]] = field(default_factory=list)

    def check(self, truth: Truth, interval: float, late: float = 0.1, counts_late: float = 0.0) -> None:
        """See that each wait was right to an interval or a tenth, and that something did wait.

        :param late: seconds by which what is told may be of an earlier moment. A task is taken, counted and begun in
            three steps, between which a look may fall.
        :param counts_late: seconds by which counts of what was taken may be older than the number that waits. The last
            tasks of a queue, as many as are taken in that time, may then look younger than they are.
        """
        began = truth.began()
        looks = [at for at, _seconds in self.waits]

        def spacing(moment: float) -> float:
            """Return the seconds between the looks about a moment, an interval unless the machine paused."""
            pairs = zip(looks, looks[1:])
            near = (after - before for before, after in pairs if before - interval <= moment <= after + interval)
            return max(near, default=interval)

        lines, wrong = [], 0
        for at, seconds in self.waits:
            oldest = truth.oldest(at, began, self.queues)
            moments = [at - step / 10 for step in range(-1, int(late * 10) + 1)]
            off = min(abs(seconds - truth.oldest(moment, began, self.queues)) for moment in moments)
            if counts_late and seconds < oldest:
                few = truth.most_begun(at - oldest, at, counts_late, began)
                off = min(off, max(truth.oldest(at, began, self.queues, but=few) - seconds, 0.0))
            bad = off > max(interval, 0.1 * oldest, spacing(at), spacing(at - oldest))
            wrong += bad
            lines.append(f"{at:.2f}: told {seconds:6.2f} s, truth {oldest:6.2f} s, off {off:5.2f} s{' !' * bad}")
        text = f"{', '.join(self.queues)}:\n" + "\n".join(lines)
        assert not wrong, text
        assert sum(seconds > 0.5 for _at, seconds in self.waits) >= 3, f"something did wait: {text}"
