# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of each worker over its last hours: a few samples of each, so that a slope can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVERY = 300.0
"""Seconds between two samples of a worker."""

MOST_SAMPLES = 73
"""Of each worker: six hours."""

MOST_WORKERS = 200
"""Of a fleet. The others are not sampled."""


@dataclass(frozen=True)
class Kept:
    """The samples of one process of a worker, each the seconds since the epoch and the bytes; the oldest first.

    :ivar life: another text for another process of the same worker, which begins anew.
    """

    life: str
    samples: tuple[tuple[float, float], ...] = ()

    def with_sample(self, at: float, size: float) -> Kept:
        """Return it with what was seen, where it is time for a sample."""
        if self.samples and 0 <= at - self.samples[-1][0] < EVERY:
            return self
        # What a clock that was set back has not reached yet has not happened.
        before = tuple(sample for sample in self.samples if sample[0] < at)
        return Kept(self.life, (*before, (at, size))[-MOST_SAMPLES:])


@dataclass
class WorkerMemory:
    """What is kept of the workers of one fleet, by name."""

    workers: Mapping[str, Kept] = field(default_factory=dict)

    def record(self, at: float, seen: Mapping[str, Mapping[str, Any]]) -> None:
        """Take samples where it is time. Workers that are not there any more are forgotten.

        :param seen: by name, C(life) and C(bytes) of each worker; the bytes may be unknown for a moment.
        """
        kept = {}
        for name, each in list(seen.items())[:MOST_WORKERS]:
            known = self.workers.get(name)
            if known is None or known.life != each["life"]:
                known = Kept(each["life"])
            if each["bytes"] is not None:
                known = known.with_sample(at, each["bytes"])
            if known.samples:
                kept[name] = known
        # Another mapping: whoever reads the old one in another thread has it whole.
        self.workers = kept

    def shift(self, seconds: float) -> None:
        """Have the clock set by so many seconds: samples are as old as they were."""
        self.workers = {
            name: Kept(kept.life, tuple((at + seconds, size) for at, size in kept.samples))
            for name, kept in self.workers.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Return what C(of_json) makes the same of again."""
        return {
            name: {"life": kept.life, "samples": [[round(at), round(size)] for at, size in kept.samples]}
            for name, kept in self.workers.items()
        }

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> WorkerMemory:
        """Return what was written.

        :raises LookupError: when something is missing; TypeError or ValueError when it is something else.
        """
        return cls({str(name): _kept(each) for name, each in list(raw.items())[:MOST_WORKERS]})


def _kept(raw: Mapping[str, Any]) -> Kept:
    samples = tuple((float(at), float(size)) for at, size in raw["samples"][-MOST_SAMPLES:])
    if not all(math.isfinite(number) for sample in samples for number in sample):
        raise ValueError("a sample is no number")
    return Kept(str(raw["life"]), samples)
