# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the same burst to a fleet in a cluster twice: scaled by KEDA, then by the policy itself.

`demo/cluster_run.py` does it all, leaves a report in demo/out, and removes the cluster at the end unless it ran before.
DEMO_KEEP=1 leaves cluster, fleet and broker there; `demo/cluster_run.py down` removes fleet and broker.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "app"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "broker"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cluster"))

from broker_servers import MissingServer
from muejam_demo import board, plan, playbooks, pods, recording
from muejam_demo.comparison import NAMES, Comparison, Run
from muejam_demo.ending import DemoError, acknowledged, calm, until_calm
from muejam_demo.feed import Feed
from muejam_demo.steps import near, step
from rich.console import Console

from muejam_bed.engine import ensure_engine
from muejam_bed.shell import BedError
from muejam_cluster import node

LOAD = plan.CLUSTER_LOAD
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


def burst(bench: pods.Bench, autoscaling: str, floor: int) -> Run:
    """Send the burst to a deployed fleet, and return what came of it when all is calm again."""

    def over(seen: dict[str, Any], sent: int) -> bool:
        return acknowledged(seen, sent) and calm(seen, floor)

    shown = board.Board(LOAD.count, f"A fleet in a cluster, scaled by {NAMES[autoscaling]}", NAMES[autoscaling])
    with bench.watching(autoscaling) as watched:
        wait_until_ready(watched, floor)
        with shown, bench.sending(autoscaling, LOAD.options()) as sender:
            sent, seen = until_calm(shown, watched, sender, over)
    ran = bench.ledger()
    log = [json.dumps(change) for change in seen[-1]["changes"]]
    return Run(autoscaling, recording.record(ran, seen, log, ()), pods.summary(sent, ran))


def demonstrate(console: Console, bench: pods.Bench) -> None:
    """Run the whole demo. Raises DemoError, PlaybookError or BedError."""
    begun = time.monotonic()
    fleet, runs = plan.fleet(pods.INVENTORY), []
    for number, autoscaling in enumerate(NAMES, 2):
        to = f"celery_worker_autoscaling: {autoscaling}"
        progress = step(console, f"{number}. The fleet, by the playbook muejam.celery.deploy with {to}")
        playbooks.play("deploy", progress, pods.INVENTORY, bench.variables(autoscaling))
        step(console, f"   {LOAD}")
        runs.append(burst(bench, autoscaling, fleet.floor))
        board.changes(console, runs[-1].recording.changes, NAMES[autoscaling])
    step(console, f"4. The outcome, after {time.monotonic() - begun:.0f} s")
    compared = Comparison(runs, fleet, LOAD)
    page, picture = compared.write()
    console.print(compared.table())
    for note in compared.caption():
        console.print(f" * {note}", highlight=False, markup=False)
    wrong = compared.faults()
    if wrong:
        raise DemoError(wrong)
    console.print(compared.verdict(), style="bold green", highlight=False, markup=False, soft_wrap=True)
    console.print(f"Queue and pods over time: {near(page)} and {near(picture)}", highlight=False, soft_wrap=True)


def how_to_look_inside(bench: pods.Bench) -> str:
    """Return what to type to see what was left."""
    kubectl = f"{bench.cluster.program} --kubeconfig {bench.cluster.kubeconfig} --namespace {pods.NAMESPACE}"
    return "\n".join(
        (
            "The cluster, the fleet and its broker are still there. Look inside:",
            f"  {kubectl} get pods",
            f"  {kubectl} logs --follow --selector=app.kubernetes.io/name=celery-autoscaler",
            "Remove them: make demo-down cluster-down",
        )
    )


def stop(*_: object) -> None:
    """Turn SIGTERM into an exception, so that everything is removed."""
    raise KeyboardInterrupt


def run(console: Console, keep: bool) -> None:
    """Bring up what the demo needs, run it, and remove it again."""
    ran_before = pods.is_up()
    step(console, "1. A Kubernetes of one node, with KEDA (built once, which takes half an hour)")
    try:
        cluster, image = pods.bring_up()
        with pods.broker(cluster.gateway, keep) as (broker_url, ledger_url):
            bench = pods.Bench(cluster, image, broker_url, ledger_url)
            try:
                demonstrate(console, bench)
            except (DemoError, playbooks.PlaybookError):
                for asked in (("get", "all", "--output=wide"), ("get", "events", "--sort-by=.lastTimestamp")):
                    console.print(bench.kubectl(*asked), highlight=False, markup=False, soft_wrap=True)
                raise
            finally:
                if keep:
                    console.print(how_to_look_inside(bench), highlight=False, markup=False, soft_wrap=True)
                elif ran_before:
                    # Before its broker ends, which it drains from.
                    pods.remove_namespace(cluster)
    finally:
        if not keep and not ran_before:
            node.down()


def main() -> int:
    """Do what the command line asks for."""
    commands = argparse.ArgumentParser(prog="demo/cluster_run.py", description=__doc__)
    commands.add_argument("verb", nargs="?", choices=("run", "down"), default="run")
    verb = commands.parse_args().verb
    signal.signal(signal.SIGTERM, stop)
    console = Console()
    keep = os.environ.get("DEMO_KEEP", "") not in ("", "0")
    try:
        ensure_engine()
        if verb == "down":
            pods.remove()
        else:
            run(console, keep)
    except (BedError, DemoError, MissingServer, playbooks.PlaybookError, RuntimeError) as error:
        text = f"The demo failed: {error}" + ("" if keep else "\nDEMO_KEEP=1 keeps its cluster.")
        console.print(text, style="bold red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.", style="bold red")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
