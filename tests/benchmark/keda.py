# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Against KEDA for real: 600 tasks of a second at once, the same fleet of 2 to 20 pods in the same cluster.

KEDA has one list with listLength 50, pollingInterval 30 and cooldownPeriod 300, and HPAs that look every 15 s, as they
do by default. The policy is one of target mode, looked at every 5 s, the default too. A round is a burst for each.

Prints the medians of when the last task was done, of the worker-seconds until the fleet was back at 2, and of when the
first task started on a new pod; and what the autoscaler and KEDA cost while there is nothing to do. Ends with 1 when
one of the limits is broken, a task is lost or ran twice.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / part) for part in ("demo", "demo/app", "tests/bed", "tests/broker", "tests/cluster")]

from broker_servers import MissingServer  # noqa: E402
from muejam_demo import board, plan, playbooks, pods  # noqa: E402
from muejam_demo.bursts import burst  # noqa: E402
from muejam_demo.comparison import NAMES, Run  # noqa: E402
from muejam_demo.ending import DemoError  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from muejam_bed.engine import ensure_engine  # noqa: E402
from muejam_bed.shell import BedError, say  # noqa: E402
from muejam_cluster import costs, faults  # noqa: E402

INVENTORY = Path(__file__).with_name("keda.yml")
# One priority, and that of the list whose name is the queue's: KEDA sees no other one.
LOAD = plan.Load(0, 600, 0, trickle=1.0, rate=0.0, shortest=1.0, longest=1.0, priorities=(1,))
HPA_SYNC_PERIOD = "15s"
CORE_SHARE, MEGABYTES = 0.005, 60.0
IDLE_SECONDS = 60.0
# KEDA's fleet stays for five minutes after it has nothing to do.
GIVE_UP = 900.0


def _first_new(run: Run) -> float:
    if run.recording.first_new is None:
        raise DemoError(f"{run.name}: no task ran on a new pod")
    return run.recording.first_new


@dataclass(frozen=True)
class Measure:
    """What is compared, and how much of KEDA's the policy may take."""

    name: str
    of: Callable[[Run], float]
    allowed: float


MEASURES = (
    Measure("last task done after, s", lambda run: run.recording.all_done, 0.7),
    Measure("worker-seconds until back at 2", lambda run: run.recording.worker_seconds, 0.5),
    Measure("first task on a new pod after, s", _first_new, 0.5),
)


def measured(bench: pods.Bench, autoscaling: str, floor: int) -> Run:
    """Hand the fleet over to who is to scale it, send the burst, and return what came of it."""
    say(f"deploying the fleet, scaled by {NAMES[autoscaling]}")
    playbooks.play("deploy", inventory=INVENTORY, variables=bench.variables(autoscaling))
    return burst(bench, autoscaling, floor, LOAD, GIVE_UP)


def values(runs: Sequence[Run], autoscaling: str, measure: Measure) -> list[float]:
    """Return what was measured of one of the two."""
    return [measure.of(run) for run in runs if run.autoscaling == autoscaling]


def report(console: Console, runs: Sequence[Run]) -> bool:
    """Print what was measured, and return whether the limits were kept."""
    table = Table(title=f"{LOAD.burst} tasks of a second, medians of {len(runs) // len(NAMES)}", title_justify="left")
    for heading in ("", *NAMES.values(), "ratio", "allowed", ""):
        table.add_column(heading, justify="right" if heading else "left")
    kept = True
    for measure in MEASURES:
        keda, policy = (statistics.median(values(runs, autoscaling, measure)) for autoscaling in NAMES)
        ratio = policy / keda
        kept = kept and ratio <= measure.allowed
        word = "kept" if ratio <= measure.allowed else "BROKEN"
        table.add_row(measure.name, f"{keda:.1f}", f"{policy:.1f}", f"{ratio:.2f}", f"{measure.allowed}", word)
    console.print(table)
    for run in runs:
        each = ", ".join(f"{measure.name} {measure.of(run):.1f}" for measure in MEASURES)
        wrong = {name: len(run.found[name]) for name in ("lost", "twice", "unknown")}
        kept = kept and not any(wrong.values())
        console.print(f"{run.name}: {each}; {wrong}", highlight=False, markup=False, soft_wrap=True)
    return kept


def idle_costs(console: Console, bench: pods.Bench) -> bool:
    """Measure what both cost beside a fleet that has nothing to do, and return whether the limits were kept."""
    lease = bench.cluster.get("--namespace", pods.NAMESPACE, "lease", "celery-autoscaler")
    leader = faults.main_process(bench.cluster, pods.NAMESPACE, lease["spec"]["holderIdentity"].partition("_")[0])
    ours = costs.measured([leader], IDLE_SECONDS)
    keda = costs.measured(map(costs.of_unit, ("keda-operator", "keda-adapter")), IDLE_SECONDS)
    for name, cost in (
        (f"{NAMES['policy']}, the one that leads", ours),
        (f"{NAMES['keda']}, operator and adapter", keda),
    ):
        console.print(
            f"{name}: {cost.share_of_a_core:.2%} of a core, {cost.megabytes:.0f} MB resident", highlight=False
        )
    console.print(f"allowed: {CORE_SHARE:.1%}, {MEGABYTES:.0f} MB", highlight=False)
    return ours.share_of_a_core <= CORE_SHARE and ours.megabytes <= MEGABYTES


def main() -> int:
    """Measure and judge."""
    commands = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands.add_argument("--rounds", type=int, default=1, help="a round takes ten minutes")
    rounds = commands.parse_args().rounds
    console = Console(width=120)
    runs: list[Run] = []
    try:
        ensure_engine()
        fleet = plan.fleet(INVENTORY)
        with pods.bench() as bench:
            try:
                with faults.set_for("kube-controller-manager", HPA_SYNC_PERIOD=HPA_SYNC_PERIOD):
                    for autoscaling in list(NAMES) * rounds:
                        runs.append(measured(bench, autoscaling, fleet.floor))
                        board.changes(console, runs[-1].recording.changes, NAMES[autoscaling])
                    cheap = idle_costs(console, bench)
            except (DemoError, playbooks.PlaybookError):
                console.print(bench.evidence(), highlight=False, markup=False, soft_wrap=True)
                raise
        kept = report(console, runs) and cheap
    except (BedError, DemoError, MissingServer, playbooks.PlaybookError) as error:
        print(f"keda: {error}", file=sys.stderr)
        return 2
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
