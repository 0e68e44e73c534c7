# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .recording import Change, in_short

PRIORITIES = {9: "high", 5: "medium", 1: "low"}
PLAIN_SECONDS = 5.0

_MARKS = {"starting": "░", "consuming": "█", "draining": "▒"}


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
    for worker in seen.get("workers") or ():
        counts[worker["state"]] = counts.get(worker["state"], 0) + 1
    return counts


def running(seen: dict[str, Any]) -> str:
    """Return how many tasks run; a question mark when a worker does not tell.

    Where none is asked, it is how many the broker has not got acknowledged.
    """
    workers, held = seen.get("workers") or (), seen.get("unacknowledged")
    if workers and held is not None and all(worker["active"] is None for worker in workers):
        return f"{held} unacknowledged"
    # One on its way up runs nothing yet; one on its way out is silent when its tasks are done, a moment before it goes.
    told = [w["active"] for w in workers if w["state"] == "consuming" or w["active"] is not None]
    return "?" if not told or None in told else str(sum(told))


def states_text(seen: dict[str, Any]) -> str:
    """Return the workers in words, such as "6 consuming, 0 draining"."""
    if not seen.get("workers"):
        return "?"
    counts = workers_by_state(seen)
    shown = {state: counts.pop(state, 0) for state in ("starting", "consuming", "draining")}
    return ", ".join(f"{number} {state}" for state, number in {**shown, **counts}.items())


def wanted_text(seen: dict[str, Any]) -> str:
    """Return how many workers there are to be."""
    wanted = seen.get("wanted")
    return f"{'?' if wanted is None else wanted} wanted"


def wait_text(seen: dict[str, Any]) -> str:
    """Return for how long the oldest task waits, as the autoscaler saw it."""
    wait = ((seen.get("autoscaler") or {}).get("metrics") or {}).get("wait_time")
    return "?" if wait is None else f"{wait:.1f} s"


def change_text(seen: dict[str, Any], place: int) -> str:
    """Return a decision that changed the number of workers in words, the newest at place -1."""
    made = seen.get("changes") or ()
    if len(made) < -place:
        return "none yet"
    change = made[place]
    ago = max(0.0, seen["at"] - change["at"])
    return f"{change['from']} -> {change['to']}, {ago:.0f} s ago: {reasons(change)}"


def decision_text(seen: dict[str, Any]) -> str:
    """Return the last decision in words."""
    decided = seen.get("autoscaler") or {}
    return f"{decided['action']} at {decided['to']}: {reasons(decided)}" if decided.get("action") else "none yet"


def reasons(decision: dict[str, Any]) -> str:
    """Return why it was decided so."""
    return in_short(decision["reasons"])


class Board:
    """The state of the demo, shown as it changes."""

    def __init__(
        self, total: int, title: str = "muejam.celery: a fleet that scales itself", who: str = "the autoscaler"
    ) -> None:
        """Begin with nothing seen.

        :param total: tasks that will be published.
        :param who: decides the number of workers.
        """
        self.console = Console()
        self.total = total
        self.title = title
        self.who = who
        self.sent = 0
        self.seen: dict[str, Any] = {}
        self._begun = time.monotonic()
        self._last_plain = -math.inf
        self._last_states = ""
        self._changes_said = 0
        self._live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def show(self, seen: dict[str, Any], sent: int) -> None:
        """Show the present state; elsewhere than on a terminal every few seconds and when something happens."""
        if not self.sent:
            # Counted from the first task, as in the report.
            self._begun = time.monotonic()
        self.seen, self.sent = seen, sent
        if self._live:
            self._live.update(self._table())
            return
        for change in (seen.get("changes") or ())[self._changes_said :]:
            self._changes_said += 1
            self._say(f"       {self.who}: {change['from']} -> {change['to']}: {reasons(change)}")
        if time.monotonic() - self._last_plain >= PLAIN_SECONDS or states_text(seen) != self._last_states:
            self._last_plain, self._last_states = time.monotonic(), states_text(seen)
            waiting = " ".join(f"{name} {waiting_by_priority(seen)[p]}" for p, name in PRIORITIES.items())
            self._say(
                f"{self._elapsed():4.0f} s  waiting: {waiting}, the oldest {wait_text(seen)}  running: {running(seen)}"
                f"  done: {seen.get('done', 0)} of {self.total}  workers: {wanted_text(seen)}, {states_text(seen)}"
            )

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _table(self) -> Table:
        table = Table(title=self.title, title_justify="left", show_header=False, min_width=78)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        waiting = waiting_by_priority(self.seen)
        for priority, name in PRIORITIES.items():
            table.add_row(f"waiting, {name} ({priority})", f"{waiting[priority]:>4} {_bar(waiting[priority], 200)}")
        table.add_row("oldest wait", wait_text(self.seen))
        table.add_row("running", running(self.seen))
        done = int(self.seen.get("done", 0))
        table.add_row("done", f"{done:>4} {_bar(str(done), self.total)} of {self.total}, published {self.sent}")
        table.add_row("workers", f"{wanted_text(self.seen)}, {states_text(self.seen)} {_marks(self.seen)}")
        table.add_row("last decision", escape(decision_text(self.seen)))
        table.add_row("last change", escape(change_text(self.seen, -1)))
        table.add_row("the one before", escape(change_text(self.seen, -2)))
        table.add_row("elapsed", f"{self._elapsed():.0f} s")
        if self.seen.get("problem"):
            table.add_row("not known", f"[red]{escape(self.seen['problem'])}[/red]")
        return table


def _bar(value: str, total: int, width: int = 20) -> str:
    return "█" * min(width, round(width * int(value) / total)) if value.isdecimal() and total else ""


def _marks(seen: dict[str, Any]) -> str:
    """Return a block for each worker, those on their way up or out in shades of their own."""
    counts = workers_by_state(seen)
    return "".join(mark * counts.get(state, 0) for state, mark in _MARKS.items())


def changes(console: Console, found: Sequence[Change], who: str = "the autoscaler") -> None:
    """Show what was decided, and why."""
    table = Table(title=f"What {who} decided", title_justify="left")
    table.add_column("after", justify="right")
    table.add_column("workers", no_wrap=True)
    table.add_column("because")
    for change in found:
        table.add_row(f"{change.at:.0f} s", f"{change.before} -> {change.after}", escape(change.because))
    console.print(table)


def report(console: Console, found: dict[str, Any], worker_seconds: float) -> None:
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
        f"wait p50 {found['waits']['p50']:.1f} s and p95 {found['waits']['p95']:.1f} s, "
        f"{found['seconds']:.0f} seconds, {worker_seconds:.0f} worker-seconds",
        soft_wrap=True,
        highlight=False,
        style="bold",
    )
