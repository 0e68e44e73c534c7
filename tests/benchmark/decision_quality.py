# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long tasks wait and what the fleet costs, under different ways to size it, on simulated workloads.

    python tests/benchmark/decision_quality.py [--claims] [SEED ...]

For each workload, seed and time that a worker takes to start: the wait that 95 in 100 tasks did not exceed, in
seconds, worker-hours, scale changes, and the cost as a multiple of what a fleet needs that knows the future. The
promise is 30 s; "!" marks where it was broken. C(--claims) plays only those that the claims are about. Ends with 1 when
a claim does not hold:

- The target mode, with workers that start in 5 s, costs at most 1.10 times the least in the geometric mean, and breaks
  the promise on nothing but the burst nobody could foresee.
- With workers that start in 15 and 30 s it is never worse than sizing by arrival rate plus backlog over the promise: it
  breaks the promise nowhere that the other keeps it, and where both keep it, it costs no more in the geometric mean.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bed"))

from muejam_bed.collection import collections_path

sys.path.insert(0, str(collections_path()))

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.simulation.comparison import KEPT, Result, compare
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Setting
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import by_policy, rivals
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import KINDS

PROMISE = 30.0
FLOOR, CEILING = 2, 20
SETTING = Setting(FLOOR, CEILING, PROMISE)
STARTS = (5.0, 15.0, 30.0)
MOST_COST = 1.10
UNFORESEEN = "burst"
SEEDS = (1, 2, 3)
TARGET, PLAIN = "target", "rate + backlog"
RIVALS = "rate,default,keda:50,keda:5"
# These start no workers, so that it makes no difference how long that takes.
WITHOUT_STARTS = f"fixed:{FLOOR},fixed:{CEILING},celery:{CEILING},{FLOOR},celery-5.6:{CEILING},{FLOOR}"


@dataclass(frozen=True)
class Run:
    """All results of one workload for workers that start in C(start) seconds."""

    workload: str
    seed: int
    start: float
    results: dict[str, Result]


def main(seeds: Sequence[int], claims_alone: bool = False) -> int:
    """Print a table for each time a worker takes to start, then whether each claim holds."""
    target = parse_policy({"target": {"wait_time": PROMISE}})
    loads = [(seed, kind.workload(seed)) for seed in seeds for kind in KINDS]
    others = [] if claims_alone else rivals(WITHOUT_STARTS, SETTING)
    always = [compare(load, others, SETTING) if others else [] for _seed, load in loads]
    runs = []
    for start in STARTS:
        setting = replace(SETTING, start_seconds=start)
        contenders = [by_policy(TARGET, target, setting), *rivals("rate" if claims_alone else RIVALS, setting)]
        of_start = []
        for (seed, load), played in zip(loads, always):
            results = [*compare(load, contenders, setting), *played]
            of_start.append(Run(load.name, seed, start, {result.name: result for result in results}))
        show(of_start, start)
        runs += of_start
    held = [claim_of_cost(runs), claim_of_waits(runs), *(claim_against_plain(runs, start) for start in STARTS[1:])]
    return 0 if all(held) else 1


def show(runs: Sequence[Run], start: float) -> None:
    """Print what every contender came to on every workload, and the geometric means."""
    print(f"\nworkers start in {start:g} s          p95 wait  worker-hours  changes  cost / least")
    names = list(runs[0].results)
    for run in runs:
        print(f"{run.workload}, seed {run.seed}")
        for name in names:
            result = run.results[name]
            outcome, mark = result.outcome, " " if result.kept else "!"
            waits, hours = outcome.wait(KEPT), outcome.worker_seconds / 3600
            print(f"  {name:16}{waits:24.1f}{mark}{hours:13.2f}{outcome.changes:9}{result.ratio:14.3f}")
    print(f"all workloads, workers start in {start:g} s: promise kept, changes, cost / least in the geometric mean")
    for name in names:
        results = [run.results[name] for run in runs]
        kept, changes = sum(result.kept for result in results), sum(result.outcome.changes for result in results)
        cost = geometric_mean(result.ratio for result in results)
        print(f"  {name:16}{kept:15} of {len(results)}{changes:19}{cost:14.3f}")


def claim_of_cost(runs: Iterable[Run]) -> bool:
    """Tell whether the target mode is cheap enough where workers start soon."""
    cost = geometric_mean(run.results[TARGET].ratio for run in runs if run.start == STARTS[0])
    return told(cost <= MOST_COST, f"starts of 5 s: {cost:.3f} times the least, at most {MOST_COST:.2f}")


def claim_of_waits(runs: Iterable[Run]) -> bool:
    """Tell whether the target mode keeps its promise where workers start soon."""
    late = [
        f"{run.workload} with seed {run.seed}"
        for run in runs
        if run.start == STARTS[0] and run.workload != UNFORESEEN and not run.results[TARGET].kept
    ]
    where = f"broken on {', '.join(late)}" if late else f"kept on everything but the {UNFORESEEN}"
    return told(not late, f"starts of 5 s: the promise is {where}")


def claim_against_plain(runs: Iterable[Run], start: float) -> bool:
    """Tell whether the target mode is nowhere worse than the plain way to size a fleet."""
    pairs = [(run.results[TARGET], run.results[PLAIN]) for run in runs if run.start == start]
    kept = [sum(pair[which].kept for pair in pairs) for which in (0, 1)]
    lost = sum(plain.kept and not target.kept for target, plain in pairs)
    both = [(target, plain) for target, plain in pairs if target.kept and plain.kept]
    costs = [geometric_mean(pair[which].ratio for pair in both) for which in (0, 1)]
    return told(
        not lost and costs[0] <= costs[1],
        f"starts of {start:g} s: {TARGET} keeps the promise on {kept[0]} of {len(pairs)}, {PLAIN} on {kept[1]}; where "
        f"both do, {TARGET} costs {costs[0]:.3f} times the least, {PLAIN} {costs[1]:.3f}",
    )


def geometric_mean(numbers: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers, 1 for none."""
    logarithms = [math.log(number) for number in numbers]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else 1.0


def told(holds: bool, claim: str) -> bool:
    """Print a claim and whether it holds, and return the latter."""
    print(f"{'PASS' if holds else 'FAIL'}  {claim}")
    return holds


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main([int(seed) for seed in arguments if seed != "--claims"] or SEEDS, "--claims" in arguments))
