# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the demo: what was measured, beside what other ways to size the fleet come to on the same tasks."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy, WaitTarget
from ansible_collections.muejam.celery.plugins.module_utils.decide.written import as_mapping
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Outcome, Sample, Setting
from ansible_collections.muejam.celery.plugins.module_utils.simulation.plot import Series, write_report
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import (
    Contender,
    by_policy,
    celery_autoscale,
    fixed,
    keda,
)
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

from . import plan
from .board import PRIORITIES
from .recording import Recording

OUT = Path(__file__).resolve().parents[1] / "out"

_EVERY = 0.25  # seconds between two samples of a simulation
_AFTERWARDS = 900.0  # seconds for which a simulation goes on, to see when a fleet is back at its minimum
_MANY = 20  # workers of a fixed fleet that is larger than the policy allows


class Report:
    """The comparison of one recorded run with what is simulated."""

    def __init__(self, recording: Recording, fleet: plan.Fleet) -> None:
        self.recording = recording
        self.fleet = fleet
        self.setting = Setting(
            floor=fleet.floor,
            ceiling=fleet.ceiling,
            promise=parse_duration(plan.PROMISE),
            slots=fleet.concurrency,
            start_seconds=recording.start,
            poll_seconds=fleet.interval,
        )

    def workload(self, horizon: float) -> Workload:
        """Return the tasks of the run, to be played again."""
        tasks = ((task.sent, task.ended - task.started) for task in self.recording.tasks)
        return Workload("the demo's tasks", tuple(tasks), horizon)

    def contenders(self) -> list[Contender]:
        """Return what the run is compared with."""
        target = Policy(self.fleet.policy.limits, WaitTarget(parse_duration(plan.PROMISE)), self.fleet.policy.schedule)
        processes = self.fleet.concurrency
        most, fewest = self.fleet.ceiling * processes, self.fleet.floor * processes
        return [
            by_policy(f"policy target: {plan.PROMISE}", target, self.setting),
            *(fixed(workers, self.setting) for workers in (self.fleet.floor, self.fleet.ceiling, _MANY)),
            replace(celery_autoscale(most, fewest, self.setting), name=f"celery --autoscale={most},{fewest}"),
            *(replace(keda(length, self.setting), name=f"KEDA, listLength {length}") for length in (50, 5)),
        ]

    def played(self, contender: Contender, horizon: float) -> Outcome:
        """Return what comes of the tasks under a contender."""
        return contender.play(self.workload(horizon), _EVERY)

    def cost_of_ceiling(self) -> float:
        """Return the worker-seconds of as many workers as the policy allows, for as long as the run took."""
        return self.fleet.ceiling * self.recording.end

    def series(self) -> list[Series]:
        """Return the run and all contenders, to draw."""
        return [self._measured(), *(self._simulated(contender) for contender in self.contenders())]

    def _measured(self) -> Series:
        run = self.recording
        line = [Sample(one.at, one.waiting, one.workers, run.oldest_wait(one.at)) for one in run.samples]
        waits, back = run.waits_in_order(), last_above(self.fleet.floor, line)
        return Series(
            "this run, measured", line, self._summary(line, waits, run.worker_seconds, back, len(run.changes))
        )

    def _simulated(self, contender: Contender) -> Series:
        outcome = self.played(contender, self.recording.end)
        # Looked at again for longer: what it costs is compared over the time of the run, or until all tasks are done.
        later = self.played(contender, self.recording.end + _AFTERWARDS).timeline
        back = last_above(self.fleet.floor, later)
        summary = self._summary(outcome.timeline, outcome.waits, outcome.worker_seconds, back, outcome.changes)
        return Series(contender.name, outcome.timeline, summary)

    def _summary(
        self, line: Sequence[Sample], waits: Sequence[float], cost: float, back: float | None, changes: int
    ) -> dict[str, str]:
        return {
            **waits_in_words(waits),
            "queue empty": seconds(emptied(line)),
            "worker-seconds": f"{cost:.0f}",
            f"back at {self.fleet.floor}": seconds(back),
            "changes": str(changes),
        }

    def verdict(self, found: Mapping[str, Any]) -> str:
        """Return in one line what the run came to."""
        run, fleet = self.recording, self.fleet
        share = 100 * run.worker_seconds / self.cost_of_ceiling()
        return (
            f"{found['sent']} tasks: {len(found['lost'])} lost, {len(found['twice'])} run twice. "
            f"Waits: half of them under {found['waits']['p50']:.1f} s, 95 % under {found['waits']['p95']:.1f} s. "
            f"{run.worker_seconds:.0f} worker-seconds: {share:.0f} % of what {fleet.ceiling} workers throughout cost."
        )

    def decided_again(self, log: Sequence[str]) -> tuple[int, int]:
        """Return how many decisions in the autoscaler's log come out the same when made again, and of how many."""
        lines = [json.loads(line) for line in log]
        made = [line for line in lines if "action" in line]
        again = [json.loads(line) for line in replay(self.fleet.policy, log)]
        keys = ("action", "from", "to", "reasons")
        return sum(all(one[k] == two[k] for k in keys) for one, two in zip(made, again)), len(made)

    def notes(self, found: Mapping[str, Any], log: Sequence[str]) -> list[str]:
        """Return how the numbers came about."""
        same, made = self.decided_again(log)
        run, limits = self.recording, self.fleet.policy.limits
        again = self.played(by_policy("", self.fleet.policy, self.setting), run.end)
        by_priority = ", ".join(
            f"{PRIORITIES.get(int(priority), priority)} {row['mean']:.1f} s (95 % under {row['p95']:.1f} s)"
            for priority, row in found["waits_by_priority"].items()
        )
        return [
            *(f"After {change.at:.0f} s {change}." for change in run.changes),
            f"The policy: {'; '.join(plan.in_words(self.fleet.policy))}. Its windows and cooldowns are shortened for "
            "the demo.",
            f"Measured: workers of {self.fleet.concurrency} processes under systemd, Redis, and everything else on one "
            "machine. A worker costs from the order to start it until its process is gone.",
            f"Simulated: the same tasks, sent when they were and running as long as they did; a worker starts in "
            f"{run.start:.1f} s, the median of {len(run.start_seconds)} starts in the run; "
            f"{limits.min_workers} to {limits.max_workers} workers unless fixed; Celery's --autoscale has as many "
            "processes. Rivals get what favours them: a true reading of the queue, and no time to fork. Worker-seconds "
            "are those until the end of the run, or until all tasks are done, so nobody counts for how long KEDA keeps "
            "its workers afterwards.",
            f"Waits in the table and the drawing are by order of arrival, as simulations have no priorities: the first "
            f"start of the run goes with the first arrival, and so on. In truth urgent tasks went first; on average "
            f"waited: {by_priority}.",
            f"How far to trust it: with the policy of the run the simulation comes to a mean wait of "
            f"{statistics.fmean(again.waits):.1f} s and {again.worker_seconds:.0f} worker-seconds; measured were "
            f"{statistics.fmean(run.waits_in_order()):.1f} s and {run.worker_seconds:.0f}. Replayed from the "
            f"autoscaler's log, {same} of its {made} decisions are the same.",
        ]

    def write(self, found: Mapping[str, Any], log: Sequence[str], directory: Path = OUT) -> tuple[Path, Path]:
        """Write the report, and what it was made from, into a directory; return where page and picture are."""
        directory.mkdir(parents=True, exist_ok=True)
        tasks = (json.dumps({"at": t.sent, "runtime": t.ended - t.started}) for t in self.recording.tasks)
        (directory / "tasks.jsonl").write_text("".join(f"{line}\n" for line in tasks), encoding="utf-8")
        (directory / "decisions.jsonl").write_text("".join(f"{line}\n" for line in log), encoding="utf-8")
        policy = json.dumps(as_mapping(self.fleet.policy), indent=2)
        (directory / "policy.json").write_text(f"{policy}\n", encoding="utf-8")
        title = f"A burst of {plan.LOAD.burst} tasks: a fleet that scales itself, and seven other ways"
        return write_report(
            directory / "report.html", title, self.series(), self.verdict(found), self.notes(found, log)
        )


def waits_in_words(waits: Sequence[float]) -> dict[str, str]:
    """Return some figures about waits in seconds, by the heading of their columns."""
    shares = {"half under": 0.5, "95 % under": 0.95, "longest": 1.0}
    return {
        "mean wait": f"{statistics.fmean(waits):.1f} s",
        **{heading: f"{percentile(waits, share):.1f} s" for heading, share in shares.items()},
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values, of which there is one, that at least C(share) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def emptied(line: Sequence[Sample]) -> float | None:
    """Return when the queue was first empty after it was longest; None when it never was."""
    longest = max((sample.waiting for sample in line if sample.waiting is not None), default=0)
    full = False
    for sample in line:
        full = full or sample.waiting == longest
        if full and sample.waiting == 0:
            return sample.at
    return None


def last_above(floor: int, line: Sequence[Sample]) -> float | None:
    """Return when there were more workers than C(floor) for the last time, 0 for never; None when they stay."""
    above = [place for place, one in enumerate(line) if one.workers is not None and one.workers > floor]
    if not above:
        return 0.0
    return None if above[-1] == len(line) - 1 else line[above[-1] + 1].at


def seconds(value: float | None) -> str:
    """Return a number of seconds as text; None is never, and 0 is nothing to say."""
    return "never" if value is None else f"{value:.0f} s" if value else "-"
