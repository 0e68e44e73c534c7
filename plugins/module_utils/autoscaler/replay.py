# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide again what was once observed: recorded observations in, decisions out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Decision, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import OBSERVED, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

# A day before the end of Python's calendar, so that every time zone still has a date for it.
_LATEST = datetime(9998, 12, 31, tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True)
class Recorded:
    """One line of a recording. Where the line has no workers, the fleet follows the decisions."""

    written_at: object
    seen: Observation
    follows: bool


def read_line(line: str, number: int) -> Recorded:
    """Return what line C(number) of a recording says.

    :raises OperationError: when the line is not an observation, with the reason.
    """
    try:
        raw = json.loads(line)
        if not isinstance(raw, Mapping):
            raise ValueError("it is not a JSON object")
        metrics = raw.get("metrics") or {}
        if not isinstance(metrics, Mapping):
            raise ValueError("metrics is not a JSON object")
        values = {name: _number(metrics.get(name), f"metrics.{name}") for name in OBSERVED}
        seen = Observation(
            at=instant_of(raw.get("at")),
            workers=_count(raw.get("workers"), "workers"),
            starting=_count(raw.get("starting"), "starting") or 0,
            metrics={name: value for name, value in values.items() if value is not None},
        )
    except ValueError as error:
        raise OperationError(
            f"read line {number} of the observations",
            error,
            'A line is like {"at": 1767225600, "workers": 4, "metrics": {"queue_depth": 120, "cpu": 55}}.',
        ) from error
    return Recorded(raw["at"], seen, "workers" not in raw)


def replay(policy: Policy, lines: Iterable[str]) -> Iterator[str]:
    """Yield one JSON line, without its end, for each observation in C(lines); empty lines are passed over.

    A line is answered before the next is read.
    """
    state, fleet = State(), None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        recorded = read_line(line, number)
        seen = recorded.seen
        if recorded.follows:
            seen = Observation(seen.at, fleet, seen.metrics, seen.starting, seen.draining, seen.unknown)
        decision, state = decide(policy, state, seen)
        if decision.after is not None:
            fleet = decision.after
        yield json.dumps(as_json(decision, recorded.written_at))


def as_json(decision: Decision, at: object) -> dict[str, Any]:
    """Return C(decision) as it is printed, with the instant in the form it was given in."""
    return {
        "at": at,
        "action": decision.action.value,
        "from": decision.before,
        "to": decision.after,
        "reasons": list(decision.reasons),
    }


def instant_of(written: object) -> float:
    """Return seconds since the epoch for a number of them or a date and time of RFC 3339.

    :raises ValueError: for anything else.
    """
    if isinstance(written, str):
        # Python 3.9 and 3.10 do not know Z, and neither knows the lower case that RFC 3339 allows.
        moment = datetime.fromisoformat(written.upper().replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    seconds = _number(written, "at")
    if seconds is None:
        raise ValueError("at is missing")
    if not 0 <= seconds <= _LATEST:
        raise ValueError(f"at is {written!r}, which is not in the years 1970 to 9998")
    return seconds


def _number(raw: object, name: str) -> float | None:
    if raw is None:
        return None
    try:
        number = math.nan if isinstance(raw, bool) or not isinstance(raw, (int, float)) else float(raw)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {raw!r}, not a number")
    return number


def _count(raw: object, name: str) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{name} is {raw!r}, not a number of workers")
    return raw
