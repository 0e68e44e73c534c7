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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import decision_as_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide, withdrawn
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import OBSERVED
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Bounds, Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, parse_pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

_MOST_WORKERS = 10**9


@dataclass
class Passed:
    """How many lines of a recording were passed over, and how many were decided about."""

    over: int = 0
    decided: int = 0


def replay(
    policy: Policy, lines: Iterable[str], fleet: str | None = None, passed: Passed | None = None
) -> Iterator[str]:
    """Yield one JSON line, without its end, for each observation in C(lines). What is none is passed over.

    A line is answered before the next is read. Where it has no workers the fleet follows the decisions.

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
        recorded = _object_in(line)
        if recorded is None:
            passed.over += 1
            continue
        try:
            seen = _observation(recorded)
            pause = _pause(recorded.get("pause"), policy)
            clock_stepped = _number(recorded.get("clock_stepped"), "clock_stepped") or 0.0
        except ValueError as error:
            raise OperationError(
                f"read line {number} of the observations",
                error,
                'A line is like {"at": 1767225600, "workers": 4, "metrics": {"queue_depth": 120, "cpu": 55}}.',
            ) from error
        of_fleet = str(recorded.get("fleet") or "")
        if fleet is not None and of_fleet != fleet:
            continue
        passed.decided += 1
        only = _same_fleet(only, of_fleet, number)
        if "workers" not in recorded:
            seen = replace(seen, workers=workers)
        before = _remembered(recorded, before, state, seen.at, clock_stepped)
        decision, state = decide(policy, before, seen, pause)
        if decision.after is not None:
            workers = decision.after
        yield json.dumps({"at": recorded["at"], **decision_as_json(decision)})


def _object_in(line: str) -> Mapping[str, Any] | None:
    """Return the JSON object that is an observation, right or wrong, None where the line has none.

    It has none where it is an event in our log, or whatever else a journal has: what systemd says of the service, a
    traceback, a line that was cut short, what another program wrote.
    """
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


def _observation(raw: Mapping[str, Any]) -> Observation:
    """Return the observation in a line.

    :raises ValueError: when there is something wrong with it, with the reason.
    """
    metrics, bounds = (_object({} if raw.get(key) is None else raw[key], key) for key in ("metrics", "bounds"))
    values = {name: _number(metrics.get(name), f"metrics.{name}") for name in OBSERVED}
    return Observation(
        at=instant_of(raw.get("at")),
        workers=_count(raw.get("workers"), "workers"),
        starting=_count(raw.get("starting"), "starting") or 0,
        draining=_draining(raw.get("draining")),
        metrics={name: value for name, value in values.items() if value is not None},
        unknown=_reasons(raw.get("unknown")),
        bounds={str(name): _bounds(each, f"bounds.{name}") for name, each in bounds.items()},
        blocked=str(raw.get("blocked") or ""),
        down=_reasons(raw.get("down")),
        room=_count(raw.get("room"), "room"),
    )


def _remembered(recorded: Mapping[str, Any], before: State, after: State, at: float, clock_stepped: float) -> State:
    """Return the state to decide with, where C(before) led to C(after) at the line before.

    A line says what else has changed the state since that line: C(withdrawn), the decision could not be carried out;
    C(restarted), whoever decided was; C(clock_stepped), the clock was set by so many seconds; C(state_lost), whoever
    decided began anew, as cautiously as after a change just now.
    """
    if recorded.get("state_lost") is True:
        return State(last_up=at, last_down=at)
    state = withdrawn(before, after) if recorded.get("withdrawn") is True else after
    state = state.restarted() if recorded.get("restarted") is True else state
    return state.shifted(clock_stepped) if clock_stepped else state


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


def _pause(raw: object, policy: Policy) -> Pause | None:
    return None if raw is None else parse_pause(raw, zone_of(policy.schedule.timezone))


def _draining(raw: object) -> int:
    # Like the reasons a key of our log, not of a recording that others write: what is no number of them is not ours.
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else 0


def _reasons(raw: object) -> dict[str, str]:
    return {str(name): str(why) for name, why in raw.items()} if isinstance(raw, Mapping) else {}


def _object(raw: object, name: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{name} is not a JSON object")
    return raw


def _bounds(raw: object, path: str) -> Bounds:
    entries = _object(raw, path)
    at_least, at_most = (_number(entries.get(key), f"{path}.{key}") for key in ("at_least", "at_most"))
    return Bounds(at_least or 0.0, at_most, str(entries.get("why") or "no more is known"))
