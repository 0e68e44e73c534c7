# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pause: somebody holds a fleet at a number of workers, whatever its policy says.

What a pause does to what is remembered:

- Conditions go on being judged. A backlog that has been there for an hour needs no minute more to be acted on when the
  pause ends, and a value that was unknown meanwhile has begun its run anew as ever.
- Going to the number is a change of bounds, so it starts no cooldown. One that ran when the pause began runs on.
- When it ends, the bounds of limits and windows apply at once, then the rules.
- Its end is an hour that a person has named. A clock that was set does not move it, as it moves runs and cooldowns.

JSON of its fields is what autoscaler/state/ keeps. What people write, with a date, is read by C(parse_pause).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import LATEST, moment_of, written


@dataclass(frozen=True)
class Pause:
    """C(workers) are held until before C(until), in seconds since the epoch; None is until it is lifted.

    :raises ValueError: for fewer than no workers, or an end that no calendar has.
    """

    workers: int
    until: float | None = None

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"pause.workers is {self.workers}, not a number of workers, 0 or more")
        if self.until is not None and not 0 <= self.until <= LATEST:
            raise ValueError(f"pause.until is {self.until:g}, which is not in the years 1970 to 9998")

    def holds(self, at: float) -> bool:
        """Whether it is not over at C(at)."""
        return self.until is None or at < self.until

    def in_words(self, zone: tzinfo) -> str:
        """Return how it stands in reasons, on the clock of C(zone)."""
        end = "it is lifted" if self.until is None else written(self.until, zone)
        return f"paused at {self.workers} until {end}"


def parse_pause(raw: object, zone: tzinfo) -> Pause:
    """Return the pause C({until: ..., workers: n}) that a person wrote.

    :param raw: its C(until) is a date with a time as windows have it, RFC 3339 or what the clock of C(zone) shows.
        None, or none at all, is until it is lifted.
    :raises ValueError: with everything that is wrong with it.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f'pause is {raw!r}, not a mapping such as {{workers: 0, until: "2026-12-05 03:00"}}')
    faults = [
        f"pause.{key} is not known here; known are workers, until" for key in raw if key not in ("workers", "until")
    ]
    workers, until = raw.get("workers"), None
    if "workers" not in raw:
        faults.append("pause.workers is missing: say how many workers the fleet is held at")
    elif isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        faults.append(f"pause.workers is {workers!r}, not a number of workers, 0 or more")
    if raw.get("until") is not None:
        try:
            until = moment_of(raw["until"], zone)
        except ValueError as error:
            faults.append(f"pause.until is {raw['until']!r}: {error}")
    if faults or not isinstance(workers, int):
        raise ValueError("; ".join(faults))
    return Pause(workers, until)


def as_mapping(pause: Pause, zone: tzinfo) -> dict[str, Any]:
    """Return what C(parse_pause) reads as the same, with the date as RFC 3339 on the clock of C(zone)."""
    return {"workers": pause.workers, "until": None if pause.until is None else written(pause.until, zone)}
