# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of fleets from one cycle to the next, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, withdrawn
from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory

FORMAT = "muejam.celery autoscaler state"
# Counts up when a field goes away or changes its meaning. One that is added with a default needs no new version.
VERSION = 2


class StateUnusable(OperationError):
    """There is a state, and it cannot be used: damaged, of something else, of another version, unreadable."""


@dataclass(frozen=True)
class Remembered(OnAClock):
    """What is remembered of a fleet: by the engine, and by the observer.

    :ivar withdrawn: whether the last decision was not carried out.
    :ivar scheduled: whether scheduled runs keep it, and not the service.
    """

    state: State = field(default_factory=State)
    observed: Memory = field(default_factory=Memory)
    withdrawn: bool = False
    scheduled: bool = False

    def restarted(self) -> Remembered:
        """Return what is left after a break in which nobody looked."""
        return replace(self, state=self.state.restarted())

    def taking_over(self, other: Remembered) -> Remembered:
        """Return what was seen here all the while, with what C(other) did, who acted on the fleet until now."""
        state = withdrawn(other.state, self.state)
        # How long starts take is only known to who has asked for them.
        sizing = replace(state.sizing, start_seconds=other.state.sizing.start_seconds)
        observed = replace(self.observed, down=other.observed.down)
        return replace(self, state=replace(state, sizing=sizing), observed=observed, withdrawn=other.withdrawn)


def cautious(at: float) -> Remembered:
    """Return what to begin with at C(at) when something was remembered and is lost.

    Nobody knows when the fleet was last scaled, so it is taken for just now: every cooldown begins.
    """
    return Remembered(State(last_up=at, last_down=at))


def to_text(memories: Mapping[str, Remembered]) -> str:
    """Return C(memories) as one line of JSON."""
    return json.dumps({"format": FORMAT, "version": VERSION, "fleets": to_json(memories)}, allow_nan=False)


def from_text(text: str) -> dict[str, Remembered]:
    """Return what a text remembers, by fleet. It is read without mercy: cooldowns and runs that were guessed from a
    damaged one could shrink a fleet that must not shrink.

    :raises ValueError: when it is anything but what C(to_text) wrote, all of it and of this version.
    """
    if not text.strip():
        raise ValueError("it is empty")
    try:
        raw = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, or only the beginning of it: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError("it is not a state of the autoscaler")
    if raw.get("version") != VERSION:
        raise ValueError(f"it has version {raw.get('version')!r}, and only {VERSION} is understood")
    fleets = raw.get("fleets")
    if not isinstance(fleets, dict):
        raise ValueError("fleets is not an object")
    return {name: _memory(entry, f"fleets.{name}") for name, entry in fleets.items()}


def _memory(raw: object, path: str) -> Remembered:
    if not isinstance(raw, dict) or not {"state", "observed"} <= set(raw):
        raise ValueError(f"{path} is not an object of state and observed")
    return from_json(Remembered, raw, path)


def _no_number(written: str) -> float:
    raise ValueError(f"it has {written} in the place of a number")
