# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of who scaled the same fleet in a cluster: one table and one chart, all of it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Sample
from ansible_collections.muejam.celery.plugins.module_utils.simulation.plot import Series, write_report

from . import plan
from .recording import Recording
from .report import OUT, emptied, last_above, seconds

NAMES = {"keda": "KEDA", "policy": "muejam.celery"}
"""Who scales, by the value of celery_worker_autoscaling."""

TITLE = "One burst, one fleet, one cluster: scaled by KEDA, then by muejam.celery"


@dataclass(frozen=True)
class Run:
    """One burst: who scaled, what was recorded, and what became of the tasks."""

    autoscaling: str
    recording: Recording
    found: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Who scaled, with the value that says so."""
        return f"{NAMES[self.autoscaling]} ({self.autoscaling})"

    @property
    def line(self) -> list[Sample]:
        """Queue and pods over time."""
        record = self.recording
        return [Sample(one.at, one.waiting, one.workers, record.oldest_wait(one.at)) for one in record.samples]


class Comparison:
    """The runs of a demo, in their order."""

    def __init__(self, runs: Sequence[Run], fleet: plan.Fleet, load: plan.Load) -> None:
        self.runs = runs
        self.fleet = fleet
        self.load = load
        self.until = max(run.recording.end for run in runs)

    def cost(self, run: Run) -> float:
        """Return the worker-seconds of a run until the end of the longest one, for which it stays at its minimum."""
        return run.recording.worker_seconds + self.fleet.floor * (self.until - run.recording.end)

    def summary(self, run: Run) -> dict[str, str]:
        """Return what a run came to, as texts by the heading of their columns."""
        found, waits = run.found, run.found["waits"]
        return {
            "sent": str(found["sent"]),
            "done": str(found["done"]),
            "lost": str(len(found["lost"])),
            "run twice": str(len(found["twice"])),
            "wait p50": f"{waits['p50']:.1f} s",
            "wait p95": f"{waits['p95']:.1f} s",
            "queue empty": seconds(emptied(run.line)),
            "all done": seconds(run.recording.all_done),
            f"back at {self.fleet.floor}": seconds(last_above(self.fleet.floor, run.line)),
            "worker-seconds": f"{self.cost(run):.0f}",
            "most pods": f"{max((one.workers or 0) for one in run.line):.0f}",
            "changes": str(len(run.recording.changes)),
        }

    def faults(self) -> str:
        """Return what is wrong with the outcome, empty when nothing is."""
        wrong = []
        for run in self.runs:
            keys = [key for key in ("lost", "twice", "unknown") if run.found[key]]
            wrong += [f"{run.name}: {len(run.found[key])} {key}: {run.found[key][:5]}" for key in keys]
            if max((one.workers or 0) for one in run.line) <= self.fleet.floor:
                wrong.append(f"{run.name}: the fleet was never grown")
        return "; ".join(wrong)

    def verdict(self) -> str:
        """Return in one line what the runs came to."""
        sent, lost, twice = (
            sum(int(self.summary(run)[column]) for run in self.runs) for column in ("sent", "lost", "run twice")
        )
        each = "; ".join(
            f"{NAMES[run.autoscaling]}: 95 % waited under {run.found['waits']['p95']:.1f} s, "
            f"{self.cost(run):.0f} worker-seconds"
            for run in self.runs
        )
        return f"{sent} tasks: {lost} lost, {twice} run twice. {each}."

    def caption(self) -> list[str]:
        """Return what is compared and with which settings, and what that favours."""
        return [
            f"Compared: the same tasks ({self.load}) and the same fleet of {self.fleet.floor} to "
            f"{self.fleet.ceiling} pods of {self.fleet.concurrency} process each, one run of each, one after the "
            "other. Everything is measured and nothing simulated.",
            f"The policy, shortened for the demo: {'; '.join(plan.in_words(self.fleet.policy))}. With policy, the "
            "autoscaler of this collection follows it. With keda it is translated to a ScaledObject, which sizes the "
            "fleet by the queue's length alone and knows no wait; a deployment says what is lost by that.",
            f"Both look every {self.fleet.interval:g} s. That is the default of this collection's autoscaler. The "
            "HPAs of this cluster are set to it, and elsewhere look every 15 s: this flatters KEDA. Its listLength is "
            f"{self.fleet.list_length} where 50 is the default, so it grows the fleet sooner and further.",
            "Node, broker, publisher and autoscalers share the cores of one machine, and pods take longer to start on "
            "it when others do. KEDA goes first; the second run finds the files of the images in memory. Whether "
            "the burst comes soon before a look is chance. So what differs by a few seconds may differ the other way "
            "at the next run.",
            f"Pods count from the order to start until they are gone. Worker-seconds are those of {self.until:.0f} s, "
            "how long the longer run took. Waits in the table are as measured, urgent tasks first; those drawn are "
            "by order of arrival.",
        ]

    def changes(self) -> list[str]:
        """Return what was decided, and why."""
        return [f"{run.name}, after {one.at:.0f} s {one}." for run in self.runs for one in run.recording.changes]

    def table(self) -> Table:
        """Return the table for a terminal, a run in each column."""
        table = Table(title=TITLE, title_justify="left")
        table.add_column("")
        for run in self.runs:
            table.add_column(run.name, justify="right")
        columns = [self.summary(run) for run in self.runs]
        for heading in columns[0]:
            table.add_row(heading, *(column[heading] for column in columns))
        return table

    def write(self, directory: Path = OUT) -> tuple[Path, Path]:
        """Write page and picture into a directory; return where they are."""
        drawn = [Series(run.name, run.line, self.summary(run)) for run in self.runs]
        return write_report(
            directory / "kubernetes.html", TITLE, drawn, self.verdict(), [*self.caption(), *self.changes()]
        )
