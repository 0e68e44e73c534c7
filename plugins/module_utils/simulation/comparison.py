# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Play one workload against policies and their rivals, and say what each came to."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Outcome, Setting, least_cost
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import Contender
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

KEPT = 0.95
"""The share of the tasks that must start within the promised wait for the promise to count as kept."""

_SAMPLES = 1000  # instants of a timeline


@dataclass(frozen=True)
class Result:
    """What came of a workload under one contender.

    :param promise: the promised wait in seconds.
    :param least: worker-seconds that a fleet needs which knows the future; see C(least_cost).
    """

    name: str
    outcome: Outcome
    promise: float
    least: float

    @property
    def within(self) -> float:
        """The share of the tasks that waited no longer than promised."""
        waits = self.outcome.waits
        return bisect.bisect_right(waits, self.promise) / len(waits) if waits else 1.0

    @property
    def kept(self) -> bool:
        """Whether the promise was kept to 95 tasks in 100."""
        return self.outcome.wait(KEPT) <= self.promise

    @property
    def ratio(self) -> float:
        """The cost as a multiple of the least."""
        return self.outcome.worker_seconds / self.least if self.least else math.inf

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, times in seconds."""
        outcome = self.outcome
        return {
            "name": self.name,
            "wait": {f"p{share * 100:g}": outcome.wait(share) for share in (0.5, 0.95, 0.99)}
            | {"most": outcome.wait(1)},
            "within_promise": self.within,
            "promise_kept": self.kept,
            "worker_seconds": outcome.worker_seconds,
            "cost_over_least": self.ratio if math.isfinite(self.ratio) else None,
            "changes": outcome.changes,
        }

    def summary(self) -> dict[str, str]:
        """Return the same for people, by the heading of the column."""
        outcome = self.outcome
        shares = (("wait p50", 0.5), ("p95", KEPT), ("p99", 0.99), ("most", 1.0))
        return {
            **{heading: f"{outcome.wait(share):.1f} s" for heading, share in shares},
            f"within {self.promise:g} s": f"{100 * self.within:.1f} %",
            "worker-hours": f"{outcome.worker_seconds / 3600:.2f}",
            "cost / least": f"{self.ratio:.2f}",
            "changes": str(outcome.changes),
        }


def compare(
    workload: Workload, contenders: Sequence[Contender], setting: Setting, timeline: bool = False
) -> list[Result]:
    """Return a result for each contender, with a timeline where one is asked for.

    :param setting: by which promise and least are reckoned, whatever contenders make of it.
    """
    least = least_cost(workload, setting)
    every = max(0.1, workload.horizon / _SAMPLES) if timeline else math.inf
    return [Result(one.name, one.play(workload, every), setting.promise, least) for one in contenders]


def table(results: Sequence[Result]) -> str:
    """Return the results as a table of text, a mark where the promise was broken."""
    rows = [["", *results[0].summary(), ""]]
    rows += [[one.name, *one.summary().values(), "" if one.kept else "promise broken"] for one in results]
    first, *widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([name.ljust(first), *map(str.rjust, cells, widths), mark]).rstrip() for name, *cells, mark in rows
    )


def verdict(results: Sequence[Result]) -> str:
    """Return in one line how the first of the results did, and which rival kept the promise for the least."""
    first, rest = results[0], results[1:]
    promised = f"{100 * KEPT:g} % of the tasks start within {first.promise:g} s"
    hours = f"{first.outcome.worker_seconds / 3600:.2f} worker-hours"
    if first.kept:
        text = f"{first.name} keeps the promise ({promised}) for {hours}, {first.ratio:.2f} times the least"
    else:
        text = f"{first.name} breaks the promise ({promised}): it takes {first.outcome.wait(KEPT):.0f} s; {hours}"
    if not rest:
        return f"{text}."
    kept = min((other for other in rest if other.kept), key=lambda other: other.outcome.worker_seconds, default=None)
    if kept is None:
        return f"{text}; none of the others keeps it."
    share = kept.outcome.worker_seconds / first.outcome.worker_seconds if first.outcome.worker_seconds else math.inf
    return f"{text}; the cheapest of the others that keeps it, {kept.name}, takes {share:.2f} times as many."
