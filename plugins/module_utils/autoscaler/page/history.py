# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to fleets during the last day: a fixed number of points of each, their last decisions, and the memory
of their workers."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.record import recorded
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import POINTS, Ring, Span
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.worker_memory import WorkerMemory
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action

FORMAT = "muejam.celery autoscaler history"
VERSION = 1

SPANS: Mapping[str, float] = {"15m": 900, "1h": 3600, "6h": 21600, "24h": 86400}
"""Seconds of which points are kept, by what they are called."""

MOST_DECISIONS = 30
MOST_REASONS = 8
LONGEST_REASON = 400

MOST_APART = 2.5
"""Intervals between two looks, beyond which nobody knows what was between them."""


@dataclass(frozen=True)
class Decided:
    """A decision to change the number of workers, made once or at several looks in a row.

    :ivar at: when it was made first, and C(until) when it was made last, in seconds since the epoch.
    :ivar withdrawn: whether it was not carried out.
    """

    at: float
    until: float
    action: str
    before: int | None
    after: int | None
    reasons: tuple[str, ...]
    withdrawn: bool = False

    def same(self, other: Decided) -> bool:
        """Whether it is the same decision again."""
        return (self.action, self.before, self.after) == (other.action, other.before, other.after)


@dataclass
class FleetHistory:
    """What is known of one fleet. C(at) is when it was looked at last, in seconds since the epoch."""

    rings: dict[str, Ring] = field(
        default_factory=lambda: {name: Ring(seconds / POINTS) for name, seconds in SPANS.items()}
    )
    decisions: list[Decided] = field(default_factory=list)
    at: float | None = None
    memory: WorkerMemory = field(default_factory=WorkerMemory)

    def record(self, fleet: Mapping[str, Any], interval: float) -> None:
        """Record a look, unless it is the one that was recorded last."""
        at = fleet["at"]
        if at == self.at:
            return
        goes_on = self.at is not None and 0 <= at - self.at <= MOST_APART * interval
        values = list(recorded(fleet))
        for ring in self.rings.values():
            ring.put(at, values, goes_on=goes_on)
        if fleet.get("action", Action.HOLD.value) != Action.HOLD.value:
            self._decide(_decided(fleet), goes_on)
        if "worker_memory" in fleet:
            self.memory.record(at, fleet["worker_memory"])
        self.at = at

    def shift(self, seconds: float) -> None:
        """Have the clock set."""
        for ring in self.rings.values():
            ring.shift(seconds)
        self.decisions = [replace(each, at=each.at + seconds, until=each.until + seconds) for each in self.decisions]
        self.memory.shift(seconds)
        self.at = None if self.at is None else self.at + seconds

    def _decide(self, decided: Decided, goes_on: bool) -> None:
        last = self.decisions[-1] if self.decisions else None
        if last and goes_on and last.until == self.at and last.same(decided):
            self.decisions[-1] = replace(decided, at=last.at)
        else:
            # Another list: whoever reads the old one in another thread has it whole.
            self.decisions = [*self.decisions, decided][-MOST_DECISIONS:]


class History:
    """The fleets of a service. One thread records, others may read."""

    def __init__(self) -> None:
        self._fleets: dict[str, FleetHistory] = {}
        self._turn = threading.Lock()

    def record(self, status: Mapping[str, Any]) -> None:
        """Record what was seen at a look at all fleets. Those that are not in the status any more are forgotten."""
        with self._turn:
            self._fleets = {each["fleet"]: self._fleets.get(each["fleet"], FleetHistory()) for each in status["fleets"]}
            for fleet in status["fleets"]:
                if "metrics" in fleet:
                    self._fleets[fleet["fleet"]].record(fleet, status["interval"])

    def shift(self, seconds: float) -> None:
        """Have the clock set by so many seconds."""
        with self._turn:
            for fleet in self._fleets.values():
                fleet.shift(seconds)

    def span(self, fleet: str, name: str, now: float) -> Span:
        """Return the last time of a fleet, one of C(SPANS); nothing is in it of a fleet that is not known."""
        with self._turn:
            known = self._fleets.get(fleet)
            return known.rings[name].span(now) if known else Ring(SPANS[name] / POINTS).span(now)

    def first_look(self) -> float | None:
        """Return when a fleet was looked at first, as far as points go back, in seconds since the epoch."""
        longest = list(SPANS)[-1]
        with self._turn:
            looks = [fleet.rings[longest].first_look() for fleet in self._fleets.values()]
        return min((look for look in looks if look is not None), default=None)

    def as_seen(self, span: str) -> dict[str, Any]:
        """Return what is known of each fleet, for programs.

        C(at) is when the fleet was looked at last, C(first_look) when first, as far as points go back. C(points) are
        those of a time that ends at C(at); null is unknown. C(decisions_since) is from when on all decisions are there;
        null where none is left out.

        :param span: one of C(SPANS).
        """
        with self._turn:
            return {name: _as_seen(fleet, span) for name, fleet in self._fleets.items()}

    def decisions(self, fleet: str) -> Sequence[Decided]:
        """Return the last decisions of a fleet, the oldest first."""
        known = self._fleets.get(fleet)
        return known.decisions if known else ()

    def as_text(self) -> str:
        """Return all of it as one line of JSON."""
        with self._turn:
            fleets = {
                name: {
                    "at": fleet.at,
                    "rings": {span: ring.as_json() for span, ring in fleet.rings.items()},
                    "decisions": [asdict(each) for each in fleet.decisions],
                    "memory": fleet.memory.as_json(),
                }
                for name, fleet in self._fleets.items()
            }
        return json.dumps({"format": FORMAT, "version": VERSION, "fleets": fleets})

    @classmethod
    def of_text(cls, text: str) -> History:
        """Return the history that was written.

        :raises ValueError: when it is anything else.
        """
        history = cls()
        try:
            raw = json.loads(text)
            if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                raise ValueError("it is of something else, or of another version")
            history._fleets = {str(name): _fleet(each) for name, each in raw["fleets"].items()}
        except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"it is not what was written ({type(error).__name__}: {error})") from error
        return history


def _as_seen(fleet: FleetHistory, name: str) -> dict[str, Any]:
    span = fleet.rings[name].span(fleet.at or 0.0)
    return {
        "at": fleet.at,
        "first_look": fleet.rings[list(SPANS)[-1]].first_look(),
        "decisions": [asdict(each) for each in fleet.decisions],
        "decisions_since": fleet.decisions[0].at if len(fleet.decisions) >= MOST_DECISIONS else None,
        "points": {
            "start": span.start,
            "step": span.step,
            "columns": {
                column: [None if math.isnan(value) else value for value in values]
                for column, values in span.columns.items()
            },
        },
        "memory": fleet.memory.as_json(),
    }


def _decided(fleet: Mapping[str, Any]) -> Decided:
    reasons = tuple(_clipped(reason) for reason in fleet["reasons"][:MOST_REASONS])
    at, withdrawn = fleet["at"], bool(fleet.get("withdrawn"))
    return Decided(at, at, fleet["action"], fleet["from"], fleet["to"], reasons, withdrawn)


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


def _fleet(raw: Mapping[str, Any]) -> FleetHistory:
    rings = {span: Ring.of_json(seconds / POINTS, raw["rings"][span]) for span, seconds in SPANS.items()}
    decisions = [_decision(each) for each in raw["decisions"][-MOST_DECISIONS:]]
    at = None if raw["at"] is None else float(raw["at"])
    # One that was written before samples were taken has none.
    return FleetHistory(rings, decisions, at, WorkerMemory.of_json(raw.get("memory", {})))


def _decision(raw: Mapping[str, Any]) -> Decided:
    before, after = (None if raw[key] is None else int(raw[key]) for key in ("before", "after"))
    reasons = tuple(_clipped(str(reason)) for reason in raw["reasons"][:MOST_REASONS])
    action, withdrawn = str(raw["action"]), bool(raw["withdrawn"])
    return Decided(float(raw["at"]), float(raw["until"]), action, before, after, reasons, withdrawn)
