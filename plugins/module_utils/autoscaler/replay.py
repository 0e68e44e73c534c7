# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide again what was once observed: recorded observations in, decisions out.

A recording may be the log of the service or of the module C(autoscale): their lines are observations too, and say what
else has changed the memory by which decisions are made (a restart, a clock that was set, a decision that failed).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import (
    Decision,
    State,
    decide,
    withdrawn,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import OBSERVED
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d|)", re.ASCII)
_MOST_WORKERS = 10**9

# A day before the end of Python's calendar, so that every time zone still has a date for it.
_LATEST = datetime(9998, 12, 31, tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True)
class Recorded:
    """One line of a recording.

    :param follows: the line has no workers, so that the fleet follows the decisions.
    :param fleet: whose it is; the empty text where it does not say.
    :param withdrawn: the decision before could not be carried out.
    :param restarted: whoever decided was restarted since the line before.
    :param clock_stepped: seconds by which the clock was set since the line before.
    :param state_lost: whoever decided began anew, as cautiously as after a change just now.
    """

    written_at: object
    seen: Observation
    follows: bool = False
    fleet: str = ""
    withdrawn: bool = False
    restarted: bool = False
    clock_stepped: float = 0.0
    state_lost: bool = False

    def remembered(self, before: State, after: State) -> State:
        """Return the state to decide with, where C(before) led to C(after) at the line before."""
        if self.state_lost:
            return State(last_up=self.seen.at, last_down=self.seen.at)
        state = withdrawn(before, after) if self.withdrawn else after
        state = state.restarted() if self.restarted else state
        return state.shifted(self.clock_stepped) if self.clock_stepped else state


@dataclass
class Passed:
    """How many lines of a recording were passed over, and how many were decided about."""

    over: int = 0
    decided: int = 0


def read_line(line: str, number: int) -> Recorded | None:
    """Return what line C(number) of a recording says, None where it is no observation.

    That is an event in our log, and whatever else a journal has: what systemd says of the service, a traceback, a line
    that was cut short, what another program wrote.

    :raises OperationError: when the line is an observation and there is something wrong with it, with the reason.
    """
    raw = _object_in(line)
    if raw is None:
        return None
    try:
        metrics = {} if raw.get("metrics") is None else raw["metrics"]
        if not isinstance(metrics, Mapping):
            raise ValueError("metrics is not a JSON object")
        values = {name: _number(metrics.get(name), f"metrics.{name}") for name in OBSERVED}
        seen = Observation(
            at=instant_of(raw.get("at")),
            workers=_count(raw.get("workers"), "workers"),
            starting=_count(raw.get("starting"), "starting") or 0,
            draining=_draining(raw.get("draining")),
            metrics={name: value for name, value in values.items() if value is not None},
            unknown=_reasons(raw.get("unknown")),
            bounds=_bounds(raw.get("bounds")),
            blocked=str(raw.get("blocked") or ""),
            down=_reasons(raw.get("down")),
            room=_count(raw.get("room"), "room"),
        )
        return Recorded(
            written_at=raw["at"],
            seen=seen,
            follows="workers" not in raw,
            fleet=str(raw.get("fleet") or ""),
            withdrawn=raw.get("withdrawn") is True,
            restarted=raw.get("restarted") is True,
            clock_stepped=_number(raw.get("clock_stepped"), "clock_stepped") or 0.0,
            state_lost=raw.get("state_lost") is True,
        )
    except ValueError as error:
        raise OperationError(
            f"read line {number} of the observations",
            error,
            'A line is like {"at": 1767225600, "workers": 4, "metrics": {"queue_depth": 120, "cpu": 55}}.',
        ) from error


def _object_in(line: str) -> Mapping[str, Any] | None:
    """Return the JSON object that is an observation, right or wrong, None where the line has none."""
    text = line.strip()
    try:
        # Without "-o cat" journalctl writes date, host and program before it.
        raw = json.loads(text if text[:1] in "[{" else text[text.index("{") :])
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, Mapping) or "at" not in raw or not ("workers" in raw or "metrics" in raw):
        return None
    # Some events name workers, which is no number of them.
    names = "event" in raw and not isinstance(raw.get("metrics"), Mapping) and not isinstance(raw.get("workers"), int)
    return None if names else raw


def replay(
    policy: Policy, lines: Iterable[str], fleet: str | None = None, passed: Passed | None = None
) -> Iterator[str]:
    """Yield one JSON line, without its end, for each observation in C(lines). What is none is passed over.

    A line is answered before the next is read.

    :param fleet: the fleet whose lines are taken; None takes all, and they must be of one fleet.
    :param passed: counts the lines as they are read; empty ones and those of other fleets count for nothing.
    :raises OperationError: when there is something wrong with an observation, or it is of another fleet than those
        before.
    """
    passed = passed or Passed()
    before = state = State()
    workers: int | None = None
    only = fleet
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        recorded = read_line(line, number)
        passed.over += recorded is None
        if recorded is None or (fleet is not None and recorded.fleet != fleet):
            continue
        passed.decided += 1
        only = _same_fleet(only, recorded.fleet, number)
        seen = replace(recorded.seen, workers=workers) if recorded.follows else recorded.seen
        before = recorded.remembered(before, state)
        decision, state = decide(policy, before, seen)
        if decision.after is not None:
            workers = decision.after
        yield json.dumps(as_json(decision, recorded.written_at))


def _same_fleet(only: str | None, fleet: str, number: int) -> str:
    if not fleet:
        return only or ""
    if only and fleet != only:
        raise OperationError(
            f"replay line {number} of the observations",
            f"it is of fleet {fleet!r}, the lines before are of fleet {only!r}",
            "Choose one by --fleet.",
        )
    return fleet


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
    seconds = _of_rfc3339(written) if isinstance(written, str) else _number(written, "at")
    if seconds is None:
        raise ValueError("at is missing")
    if not 0 <= seconds <= _LATEST:
        raise ValueError(f"at is {written!r}, which is not in the years 1970 to 9998")
    return seconds


def _of_rfc3339(written: str) -> float:
    found = _RFC3339.fullmatch(written.upper())
    if not found:
        raise ValueError(f"at is {written!r}, neither a number of seconds nor a time such as 2026-03-04T12:00:00Z")
    date, time, second, fraction, zone = found.groups()
    # Versions of Python differ in the fractions and zones that they read, and none knows a leap second.
    leap = second == "60"
    zone = "+00:00" if zone in ("", "Z") else zone
    moment = datetime.fromisoformat(f"{date}T{time}:{'59' if leap else second}{zone}")
    return moment.timestamp() + leap + float(fraction or 0)


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
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= _MOST_WORKERS:
        raise ValueError(f"{name} is {raw!r}, not a number of workers")
    return raw


def _draining(raw: object) -> int:
    # Like the reasons a key of our log, not of a recording that others write: what is no number of them is not ours.
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else 0


def _reasons(raw: object) -> dict[str, str]:
    return {str(name): str(why) for name, why in raw.items()} if isinstance(raw, Mapping) else {}


def _bounds(raw: object) -> dict[str, Bounds]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ValueError("bounds is not a JSON object")
    return {str(name): _bounds_of(each, f"bounds.{name}") for name, each in raw.items()}


def _bounds_of(raw: object, path: str) -> Bounds:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{path} is not a JSON object")
    at_least, at_most = (_number(raw.get(key), f"{path}.{key}") for key in ("at_least", "at_most"))
    return Bounds(at_least or 0.0, at_most, str(raw.get("why") or "no more is known"))
