# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploy a fleet of Celery workers and its autoscaler to a systemd host, send it a burst, and watch it scale itself.

`demo/run.py` does it all, leaves a report in demo/out and removes the host at the end, or leaves it where DEMO_KEEP=1
is set. `demo/run.py down` removes a host that was left.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bed"))

from muejam_demo import alerts, board, host, panels, plan, playbooks, recording
from muejam_demo.ending import DemoError, calm, finished, until_calm
from muejam_demo.report import OUT, Report
from muejam_demo.steps import near, step
from rich.console import Console

from muejam_bed import container
from muejam_bed.collection import collections_path
from muejam_bed.engine import ensure_engine
from muejam_bed.shell import BedError


def watch(shown: board.Board, floor: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Publish the tasks and watch until all are done and the fleet is back at its minimum.

    Return what was published and what was seen. Raises DemoError when that does not come to an end in time.
    """
    with (
        host.feed("celery-demo-watch", host.watch_command()) as watched,
        host.feed("celery-demo-send", host.send_command(*plan.LOAD.options())) as sender,
    ):
        return until_calm(shown, watched, sender, lambda seen, sent: finished(seen, sent) and calm(seen, floor))


def faults(
    found: dict[str, Any], changes: Sequence[recording.Change], floor: int, alerted: alerts.Watched | None = None
) -> str:
    """Return what is wrong with the outcome, empty when nothing is.

    :param alerted: None where no Prometheus watched.
    """
    wrong = [f"{len(found[key])} {key}: {found[key][:5]}" for key in ("lost", "twice", "unknown") if found[key]]
    by_priority = found["waits_by_priority"]
    means = [by_priority[priority]["mean"] for priority in sorted(by_priority, key=int, reverse=True)]
    if len(means) != len(board.PRIORITIES) or not all(more < less for more, less in itertools.pairwise(means)):
        wrong.append(f"tasks of higher priority did not wait less: {means}")
    if not any(change.after > change.before for change in changes):
        wrong.append("the fleet was never grown")
    if not changes or changes[-1].after != floor:
        wrong.append(f"the fleet was not brought back to {floor}")
    if alerted:
        wrong.extend(alerted.faults())
    return "; ".join(wrong)


def draw_dashboards(console: Console, begun: float) -> None:
    """Draw what Grafana would show of the demo, from its Prometheus."""
    period = panels.Period(begun, time.time(), 2.0)
    for path in sorted(panels.DASHBOARDS.glob("*.json")):
        out = OUT / f"dashboard-{path.stem}.png"
        # Four times the interval at which the demo is scraped, and more.
        panels.draw(path.stem, host.ask_prometheus, period, out, rate_interval="15s")
        console.print(f"The dashboard {path.stem}: {near(out)}", highlight=False, markup=False, soft_wrap=True)


def demonstrate(console: Console, dashboards: bool) -> None:
    """Run the whole demo. Raises DemoError, PlaybookError or BedError."""
    begun = time.monotonic()
    fleet = plan.fleet()
    step(console, "1. A host with systemd")
    host.bring_up()
    progress = step(
        console,
        f"2. Redis, a fleet of {fleet.floor} workers and its autoscaler, by the playbook muejam.celery.deploy",
    )
    playbooks.play("deploy", progress, demo_dashboards=dashboards)
    monitored_since = time.time()
    if dashboards:
        progress = step(console, "   and Prometheus and Alertmanager, by the playbook muejam.celery.monitoring")
        playbooks.play("monitoring", progress)
    watched_since = time.time()
    step(
        console,
        f"3. {plan.LOAD}. Nobody scales by hand. The policy,",
    )
    step(console, "   its windows and cooldowns shortened for the demo (by default they take minutes):")
    for line in plan.in_words(fleet.policy):
        console.print(f"   * {line}", highlight=False, markup=False, soft_wrap=True)
    with board.Board(plan.LOAD.count) as shown:
        sent, seen = watch(shown, fleet.floor)
    if dashboards:
        draw_dashboards(console, watched_since)
    step(console, "4. What the playbook muejam.celery.status shows now")
    for line in playbooks.play("status"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    found, log = host.summary(sent), host.autoscaler_log()
    recorded = recording.record(host.ledger(), seen, log, host.unit_journal())
    step(console, f"5. The outcome, after {time.monotonic() - begun:.0f} s in all")
    board.changes(console, recorded.changes)
    board.report(console, found, recorded.worker_seconds)
    alerted = alerts.watch(host.get_from_prometheus, monitored_since, time.time()) if dashboards else None
    if alerted:
        console.print(str(alerted), style="bold", highlight=False, markup=False, soft_wrap=True)
    wrong = faults(found, recorded.changes, fleet.floor, alerted)
    if wrong:
        raise DemoError(wrong)
    report = Report(recorded, fleet)
    page, picture = report.write(found, log)
    console.print(report.verdict(found), style="bold green", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"The same burst with other ways to size a fleet: {near(page)} and {near(picture)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def how_to_look_inside() -> str:
    """Return what to type to see what was left."""
    status = " ".join(playbooks.command_line("status"))
    scale = " ".join(playbooks.command_line("scale", fleet=host.FLEET, workers=4))
    environment = f"ANSIBLE_COLLECTIONS_PATH={collections_path()}"
    return "\n".join(
        (
            f"The page that says why the fleet is as large as it is: {host.page_url()}",
            f"The host {host.NAME} is still up. Look inside:",
            f"  docker exec -it {host.NAME} systemctl list-units 'celery-worker-*'",
            f"  docker exec -it {host.NAME} systemctl status celery-worker-{host.FLEET}@1",
            f"  docker exec -it {host.NAME} journalctl -u 'celery-worker-*' -f",
            f"  docker exec -it {host.NAME} celery-autoscaler status",
            f"  docker exec -it {host.NAME} journalctl -u celery-autoscaler -f",
            f"  docker exec -it {host.NAME} bash",
            "Use the playbooks (after: . .venv/bin/activate):",
            f"  export {environment}",
            f"  {status}",
            f"  {scale}    # holds until the autoscaler decides otherwise",
            "Decide and play it again, with another policy if you like (this is the demo's):",
            "  cd demo/out",
            "  ../../bin/celery-autoscaler replay --policy policy.json --observations decisions.jsonl",
            "  ../../bin/celery-autoscaler simulate --policy policy.json --trace tasks.jsonl --concurrency 2",
            "Exercises with it, for an hour: docs/training.md",
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
    commands.add_argument(
        "--dashboards",
        action="store_true",
        help="have a Prometheus watch, draw the dashboards of monitoring/ from it, and tell which of its alerts fired",
    )
    given = commands.parse_args()
    verb = given.verb
    signal.signal(signal.SIGTERM, stop)
    console = Console()
    keep = os.environ.get("DEMO_KEEP", "") not in ("", "0")
    try:
        ensure_engine()
        if verb == "down":
            host.remove()
            return 0
        demonstrate(console, given.dashboards)
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
            f"The journal of the workers and the autoscaler:\n{container.journal(host.NAME, 'celery-*')}",
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
