# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what was sent with what ran: `python -m celery_demo.summary SENT_FILE [LEDGER_FILE]`.

Exits with 1 when a task was lost or ran twice.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import ledger


@dataclass(frozen=True)
class Waits:
    """How long tasks waited, in seconds."""

    count: int
    mean: float
    p50: float
    p95: float


@dataclass(frozen=True)
class Summary:
    """What became of the tasks. `seconds` is from the first publishing to the last end."""

    sent: int
    done: int
    lost: list[str]
    twice: list[str]
    unknown: list[str]
    seconds: float
    waits: Waits
    waits_by_priority: dict[int, Waits]

    @property
    def exactly_once(self) -> bool:
        """Whether every task that was sent ran once, and nothing else ran."""
        return not (self.lost or self.twice or self.unknown)

    @property
    def high_first(self) -> bool:
        """Whether higher priorities waited less, on average."""
        means = [self.waits_by_priority[priority].mean for priority in sorted(self.waits_by_priority, reverse=True)]
        return all(more < less for more, less in zip(means, means[1:]))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed; NaN when there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def waits_of(entries: Sequence[ledger.Entry]) -> Waits:
    """Sum up the waits of some runs."""
    waits = [entry.wait for entry in entries]
    mean = sum(waits) / len(waits) if waits else math.nan
    return Waits(len(waits), mean, percentile(waits, 0.5), percentile(waits, 0.95))


def summarise(sent: Sequence[str], entries: Sequence[ledger.Entry]) -> Summary:
    """Compare the ids that were sent with the runs that were noted."""
    runs = Counter(entry.id for entry in entries)
    wanted = set(sent)
    priorities = sorted({entry.priority for entry in entries}, reverse=True)
    return Summary(
        sent=len(wanted),
        done=len(wanted & set(runs)),
        lost=sorted(wanted - set(runs)),
        twice=sorted(name for name, times in runs.items() if times > 1),
        unknown=sorted(set(runs) - wanted),
        seconds=max((e.ended for e in entries), default=math.nan) - min((e.sent for e in entries), default=math.nan),
        waits=waits_of(entries),
        waits_by_priority={p: waits_of([e for e in entries if e.priority == p]) for p in priorities},
    )


def main() -> int:
    """Do what the command line asks for."""
    options = argparse.ArgumentParser(prog="celery_demo.summary", description=__doc__)
    options.add_argument("sent", type=Path, help="what celery_demo.send printed")
    options.add_argument("ledger", type=Path, nargs="?", default=Path(ledger.path()))
    given = options.parse_args()
    ids = [json.loads(line)["id"] for line in given.sent.read_text(encoding="utf-8").splitlines()]
    entries = list(ledger.parse(given.ledger.read_text(encoding="utf-8").splitlines()))
    found = summarise(ids, entries)
    print(json.dumps(asdict(found), indent=2))
    return 0 if found.exactly_once else 1


if __name__ == "__main__":
    sys.exit(main())
