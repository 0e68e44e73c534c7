# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

PRIORITIES = {9: "high", 5: "medium", 1: "low"}
PLAIN_SECONDS = 5.0


def step_of(priority: int, steps: list[int]) -> int:
    """Return the Redis list that takes a priority: kombu's next lower step."""
    return max((step for step in steps if step <= priority), default=min(steps))


def waiting_by_priority(seen: dict[str, Any]) -> dict[int, str]:
    """Return how many tasks wait with each of the demo's priorities; a question mark where it is not known."""
    lists = seen.get("waiting")
    if not lists:
        return dict.fromkeys(PRIORITIES, "?" if lists is None else "0")
    steps = [int(step) for step in lists]
    return {priority: str(lists[str(step_of(priority, steps))]) for priority in PRIORITIES}


def workers_by_state(seen: dict[str, Any]) -> dict[str, int]:
    """Return how many workers are in each state."""
    counts: dict[str, int] = {}
    for worker in seen.get("workers", ()):
        counts[worker["state"]] = counts.get(worker["state"], 0) + 1
    return counts


def running(seen: dict[str, Any]) -> str:
    """Return how many tasks run; a question mark when a worker's state is not known."""
    active = [worker["active"] for worker in seen.get("workers", ())]
    return "?" if not active or None in active else str(sum(active))


def states_text(seen: dict[str, Any]) -> str:
    """Return the workers in words, such as "6 consuming, 0 draining"."""
    counts = workers_by_state(seen)
    shown = {state: counts.pop(state, 0) for state in ("consuming", "draining")}
    return ", ".join(f"{number} {state}" for state, number in {**shown, **counts}.items())


class Board:
    """The state of the demo, shown as it changes."""

    def __init__(self, total: int) -> None:
        self.console = Console()
        self.total = total
        self.sent = 0
        self.action = ""
        self.seen: dict[str, Any] = {}
        self._begun = time.monotonic()
        self._last_plain = -math.inf
        self._last_states = ""
        self._live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def act(self, text: str) -> None:
        """Note what was done last."""
        self.action = text
        self._last_plain = -math.inf
        self.show()

    def show(self) -> None:
        """Show the present state; elsewhere than on a terminal every few seconds and when something happens."""
        if self._live:
            self._live.update(self._table())
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS or states_text(self.seen) != self._last_states:
            self._last_plain, self._last_states = time.monotonic(), states_text(self.seen)
            waiting = " ".join(f"{name} {waiting_by_priority(self.seen)[p]}" for p, name in PRIORITIES.items())
            self.console.print(
                f"{self._elapsed():4.0f} s  waiting: {waiting}  running: {running(self.seen)}"
                f"  done: {self.seen.get('done', 0)} of {self.total}"
                f"  workers: {states_text(self.seen)}  | {self.action}",
                soft_wrap=True,
                highlight=False,
            )

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _table(self) -> Table:
        table = Table(title="muejam.celery: a fleet under load", title_justify="left", show_header=False, min_width=78)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        waiting = waiting_by_priority(self.seen)
        for priority, name in PRIORITIES.items():
            table.add_row(
                f"waiting, {name} ({priority})", waiting[priority] + " " + _bar(waiting[priority], self.total)
            )
        table.add_row("running", running(self.seen))
        done = int(self.seen.get("done", 0))
        table.add_row("done", f"{done} of {self.total} (published {self.sent}) {_bar(str(done), self.total)}")
        table.add_row("workers", states_text(self.seen))
        table.add_row("last action", self.action)
        table.add_row("elapsed", f"{self._elapsed():.0f} s")
        if self.seen.get("problem"):
            table.add_row("not known", f"[red]{self.seen['problem']}[/red]")
        return table


def _bar(value: str, total: int, width: int = 20) -> str:
    return "█" * round(width * int(value) / total) if value.isdecimal() and total else ""


def report(console: Console, found: dict[str, Any]) -> None:
    """Show what became of the tasks."""
    waits = Table(title="How long tasks waited, in seconds", title_justify="left")
    waits.add_column("priority")
    for column in ("tasks", "mean", "p50", "p95"):
        waits.add_column(column, justify="right")
    rows = [(f"{p} ({PRIORITIES.get(int(p), '?')})", row) for p, row in found["waits_by_priority"].items()]
    for name, row in [*rows, ("all", found["waits"])]:
        waits.add_row(name, str(row["count"]), *(f"{row[key]:.1f}" for key in ("mean", "p50", "p95")))
    console.print(waits)
    console.print(
        f"sent {found['sent']}, done {found['done']}, lost {len(found['lost'])}, run twice {len(found['twice'])}, "
        f"wait p50 {found['waits']['p50']:.1f} s and p95 {found['waits']['p95']:.1f} s, {found['seconds']:.0f} seconds",
        soft_wrap=True,
        highlight=False,
        style="bold",
    )
