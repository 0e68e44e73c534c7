# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the same burst to a fleet in a cluster twice: scaled by KEDA, then by the policy itself.

`demo/cluster_run.py` does it all, leaves a report in demo/out, and removes the cluster at the end unless it ran before.
DEMO_KEEP=1 leaves cluster, fleet and broker there; `demo/cluster_run.py down` removes fleet and broker.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "app"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "broker"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cluster"))

from broker_servers import MissingServer
from muejam_demo import board, plan, playbooks, pods
from muejam_demo.bursts import burst
from muejam_demo.comparison import NAMES, Comparison
from muejam_demo.ending import DemoError
from muejam_demo.steps import near, step
from rich.console import Console

from muejam_bed.engine import ensure_engine
from muejam_bed.shell import BedError


def demonstrate(console: Console, bench: pods.Bench) -> None:
    """Run the whole demo. Raises DemoError, PlaybookError or BedError."""
    begun = time.monotonic()
    fleet, runs = plan.fleet(pods.INVENTORY), []
    for number, autoscaling in enumerate(NAMES, 2):
        to = f"celery_worker_autoscaling: {autoscaling}"
        progress = step(console, f"{number}. The fleet, by the playbook muejam.celery.deploy with {to}")
        playbooks.play("deploy", progress, pods.INVENTORY, bench.variables(autoscaling))
        step(console, f"   {plan.CLUSTER_LOAD}")
        runs.append(burst(bench, autoscaling, fleet.floor, plan.CLUSTER_LOAD))
        board.changes(console, runs[-1].recording.changes, NAMES[autoscaling])
    step(console, f"4. The outcome, after {time.monotonic() - begun:.0f} s")
    compared = Comparison(runs, fleet, plan.CLUSTER_LOAD)
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
    step(console, "1. A Kubernetes of one node, with KEDA (built once, which takes half an hour)")
    with pods.bench(keep) as bench:
        try:
            demonstrate(console, bench)
        except (DemoError, playbooks.PlaybookError):
            console.print(bench.evidence(), highlight=False, markup=False, soft_wrap=True)
            raise
        finally:
            if keep:
                console.print(how_to_look_inside(bench), highlight=False, markup=False, soft_wrap=True)


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
