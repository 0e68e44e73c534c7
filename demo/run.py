# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploy a fleet of Celery workers to a systemd host, feed it, scale it from 2 to 6 to 2, and count what was lost.

`demo/run.py` does it all and removes the host at the end, or leaves it where DEMO_KEEP=1 is set.
`demo/run.py down` removes a host that was left.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bed"))

from muejam_demo import board, host, playbooks
from rich.console import Console

from muejam_bed import container
from muejam_bed.collection import collections_path
from muejam_bed.engine import ensure_engine
from muejam_bed.shell import BedError

COUNT = 600
SHORTEST, LONGEST = 0.05, 2.0  # seconds a task takes
RATE = 100  # published tasks a second
SCALE_OUT_AFTER = 40  # finished tasks
SCALE_IN_AFTER = 400
GIVE_UP_AFTER = 300.0  # seconds without the last task


class DemoError(Exception):
    """The demo did not show what it is to show; the message says what was seen."""


def step(console: Console, text: str) -> Callable[[str], None]:
    """Say what begins, and return how to say what happens meanwhile."""
    console.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)
    said = time.monotonic()

    def progress(task: str) -> None:
        nonlocal said
        if time.monotonic() - said >= 5:
            said = time.monotonic()
            console.print(f"    {task}", style="dim", highlight=False, markup=False)

    return progress


def scale_beside(shown: board.Board, workers: int) -> Callable[[], str | None]:
    """Begin to scale the fleet and return how to ask for the outcome; None while it runs."""
    outcome: list[str | BaseException] = []

    def scale() -> None:
        try:
            outcome.append(playbooks.play("scale", fleet=host.FLEET, workers=workers)[-1])
        except BaseException as error:  # raised again where it is asked for
            outcome.append(error)

    shown.act(f"scale to {workers} workers ...")
    threading.Thread(target=scale, daemon=True).start()

    def ask() -> str | None:
        if outcome and isinstance(outcome[0], BaseException):
            raise outcome[0]
        return str(outcome[0]) if outcome else None

    return ask


def load(shown: board.Board) -> list[dict[str, Any]]:
    """Publish the tasks, scale out and in while they run, and return what was published.

    Raises DemoError when they do not end in time.
    """
    send = host.send_command(
        *("--count", str(COUNT), "--rate", str(RATE), "--min", str(SHORTEST), "--max", str(LONGEST))
    )
    plan = [(SCALE_OUT_AFTER, 6), (SCALE_IN_AFTER, 2)]
    asked: Callable[[], str | None] | None = None
    deadline = time.monotonic() + GIVE_UP_AFTER
    with (
        host.feed("celery-demo-watch", host.watch_command()) as watched,
        host.feed("celery-demo-send", send) as sender,
    ):
        shown.act("publish the tasks")
        while True:
            shown.seen, shown.sent = watched.last, len(sender.lines)
            shown.show()
            if sender.ended:
                raise DemoError(f"publishing failed after {shown.sent} tasks:\n{sender.errors}")
            if watched.ended is not None:
                raise DemoError(f"watching the host failed:\n{watched.errors}")
            if time.monotonic() > deadline:
                raise DemoError(f"not all tasks ended within {GIVE_UP_AFTER:.0f} s; seen last: {shown.seen}")
            outcome = asked() if asked else None
            if outcome:
                shown.act(outcome)
                asked = None
            done = int(shown.seen.get("done", 0))
            if asked is None and plan and done >= plan[0][0]:
                asked = scale_beside(shown, plan.pop(0)[1])
            if asked is None and not plan and sender.ended == 0 and finished(shown.seen, len(sender.lines)):
                return list(sender.lines)
            time.sleep(0.25)


def finished(seen: dict[str, Any], sent: int) -> bool:
    """Say whether nothing waits, runs or is unacknowledged any more; what is not known is not finished."""
    waiting = seen.get("waiting")
    return (
        int(seen.get("done", 0)) >= sent
        and waiting is not None
        and not any(waiting.values())
        and seen.get("unacknowledged") == 0
        and all(worker["active"] == 0 for worker in seen["workers"])
    )


def verdict(found: dict[str, Any]) -> str:
    """Return what is wrong with the outcome, empty when nothing is."""
    faults = [f"{len(found[key])} {key}: {found[key][:5]}" for key in ("lost", "twice", "unknown") if found[key]]
    by_priority = found["waits_by_priority"]
    means = [by_priority[priority]["mean"] for priority in sorted(by_priority, key=int, reverse=True)]
    if len(means) != len(board.PRIORITIES) or not all(more < less for more, less in itertools.pairwise(means)):
        faults.append(f"tasks of higher priority did not wait less: {means}")
    return "; ".join(faults)


def demonstrate(console: Console) -> None:
    """Run the whole demo. Raises DemoError, PlaybookError or BedError."""
    begun = time.monotonic()
    step(console, "1. A host with systemd")
    host.bring_up()
    progress = step(console, "2. Redis and a fleet of 2 workers, by the playbook muejam.celery.deploy")
    playbooks.play("deploy", progress)
    step(
        console,
        f"3. {COUNT} tasks of {SHORTEST} to {LONGEST} s in three priorities; by hand from 2 to 6 to 2 workers",
    )
    with board.Board(COUNT) as shown:
        sent = load(shown)
    step(console, "4. What the playbook muejam.celery.status shows now")
    for line in playbooks.play("status"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    found = host.summary(sent)
    step(console, f"5. The outcome, after {time.monotonic() - begun:.0f} s in all")
    board.report(console, found)
    wrong = verdict(found)
    if wrong:
        raise DemoError(wrong)
    console.print("Nothing lost, nothing run twice, urgent tasks first.", style="bold green")


def how_to_look_inside() -> str:
    """Return what to type to see what was left."""
    status = " ".join(playbooks.command_line("status"))
    scale = " ".join(playbooks.command_line("scale", fleet=host.FLEET, workers=4))
    environment = f"ANSIBLE_COLLECTIONS_PATH={collections_path()}"
    return "\n".join(
        (
            f"The host {host.NAME} is still up. Look inside:",
            f"  docker exec -it {host.NAME} systemctl list-units 'celery-worker-*'",
            f"  docker exec -it {host.NAME} systemctl status celery-worker-{host.FLEET}@1",
            f"  docker exec -it {host.NAME} journalctl -u 'celery-worker-*' -f",
            f"  docker exec -it {host.NAME} bash",
            "Use the playbooks (after: . .venv/bin/activate):",
            f"  export {environment}",
            f"  {status}",
            f"  {scale}",
            "Remove it: make demo-down",
        )
    )


def stop(*_: object) -> None:
    """Turn SIGTERM into an exception, so that the host is removed."""
    raise KeyboardInterrupt


def main() -> int:
    """Do what the command line asks for."""
    commands = argparse.ArgumentParser(prog="demo/run.py", description=__doc__)
    commands.add_argument("verb", nargs="?", choices=("run", "down"), default="run")
    verb = commands.parse_args().verb
    signal.signal(signal.SIGTERM, stop)
    console = Console()
    keep = os.environ.get("DEMO_KEEP", "") not in ("", "0")
    try:
        ensure_engine()
        if verb == "down":
            host.remove()
            return 0
        demonstrate(console)
    except BedError as error:
        return _fail(console, f"The demo's host failed: {error}", keep)
    except (DemoError, playbooks.PlaybookError, RuntimeError) as error:
        return _fail(console, f"The demo failed: {error}", keep)
    except KeyboardInterrupt:
        console.print("Interrupted: removing the host.", style="bold red")
        host.remove()
        return 130
    if keep:
        console.print(how_to_look_inside(), highlight=False, markup=False, soft_wrap=True)
    else:
        host.remove()
    return 0


def _fail(console: Console, text: str, keep: bool) -> int:
    if container.is_running(host.NAME):
        console.print(
            f"The journal of the workers:\n{container.journal(host.NAME)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(text, style="bold red", highlight=False, markup=False, soft_wrap=True)
    if keep:
        console.print(how_to_look_inside(), highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("Removing the host. DEMO_KEEP=1 keeps it.", highlight=False)
        host.remove()
    return 1


if __name__ == "__main__":
    sys.exit(main())
