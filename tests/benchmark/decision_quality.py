# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long tasks wait and what the fleet costs, under different ways to size it, on simulated workloads.

    python tests/benchmark/decision_quality.py

Cost is a multiple of what a fleet that knows the future would need. A wait is that of 95 in 100 tasks. The promise is
30 s. Marks with "!" what does not keep it. Ends with 1 when the target mode, with workers that start in 5 s, costs more
than 1.10 times the least in the geometric mean, or misses the promise on anything but the burst nobody could foresee.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bed"))

from muejam_bed.collection import collections_path

sys.path.insert(0, str(collections_path()))

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.simulation import (
    Controller,
    Setting,
    least_cost,
    simulate,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.workloads import workloads
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

PROMISE = 30.0
FLOOR, CEILING = 2, 20
MOST_COST = 1.10
UNFORESEEN = "burst"


def by_policy(raw: dict[str, object]) -> Controller:
    """Decide by a policy of the collection."""
    policy = parse_policy(raw)
    state = State()

    def control(seen: Observation) -> int:
        nonlocal state
        decision, state = decide(policy, state, seen)
        return seen.workers or 0 if decision.after is None else decision.after

    return control


def fixed(workers: int) -> Controller:
    """Keep a number of workers."""
    return lambda seen: workers


def queue_over_length(length: int, hold: float = 300.0) -> Controller:
    """Divide the queue by a length, as an HPA fed by KEDA does, with its 10 % tolerance and scale-down window."""
    recent: list[tuple[float, int]] = []

    def control(seen: Observation) -> int:
        current = seen.workers or 1
        queue = seen.value("queue_depth") or 0.0
        wanted = current if abs(queue / length / current - 1) <= 0.1 else math.ceil(queue / length)
        recent[:] = [entry for entry in recent if entry[0] > seen.at - hold] + [(seen.at, wanted)]
        return min(CEILING, max(FLOOR, wanted if wanted > current else min(current, max(n for _at, n in recent))))

    return control


WAYS: dict[str, Callable[[], Controller]] = {
    "target 30s": lambda: by_policy({"target": {"wait_time": PROMISE}}),
    "default steps": lambda: by_policy({}),
    "fixed 2": lambda: fixed(FLOOR),
    "fixed 20": lambda: fixed(CEILING),
    "KEDA 50": lambda: queue_over_length(50),
    "KEDA 5": lambda: queue_over_length(5),
}


def main() -> int:
    """Print a table for each time a worker takes to start."""
    kept = True
    loads = workloads()
    for start in (5.0, 15.0, 30.0):
        print(f"\nworkers start in {start:g} s: cost over the least, and the wait of 95 % in seconds")
        print(f"{'':14}" + "".join(f"{load.name:>16}" for load in loads) + f"{'geo. mean':>12}{'changes':>9}")
        for name, way in WAYS.items():
            cells, ratios, changes = [], [], 0
            for load in loads:
                outcome = simulate(load, way(), Setting(start_seconds=start))
                ratio = outcome.worker_seconds / least_cost(load, PROMISE, FLOOR)
                wait = outcome.wait(0.95)
                late = wait > PROMISE
                ratios.append(ratio)
                changes += outcome.changes
                cells.append(f"{ratio:.2f} {wait:6.1f}{'!' if late else ' '}".rjust(16))
                if name == "target 30s" and start == 5 and late and load.name != UNFORESEEN:
                    kept = False
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{name:14}" + "".join(cells) + f"{mean:12.3f}{changes:9}")
            if name == "target 30s" and start == 5:
                kept = kept and mean <= MOST_COST
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
