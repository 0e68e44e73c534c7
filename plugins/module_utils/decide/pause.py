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

It stands with the workers that it holds, where whoever sizes them reads it each time (platforms/base.py). There it is
the text of C(to_text), which people may write as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import LATEST, moment_of, written

_KEYS = ("workers", "until", "by")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Pause:
    """C(workers) are held until before C(until), in seconds since the epoch; None is until it is lifted.

    :ivar by: who wants it, as far as that is known.
    :raises ValueError: for fewer than no workers, or an end that no calendar has.
    """

    workers: int
    until: float | None = None
    by: str = ""

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
        return f"paused at {self.workers} until {end}" + (f" (by {self.by})" if self.by else "")

    def same_as(self, other: Pause | None) -> bool:
        """Whether both hold as many workers for as long, whoever wants it."""
        return other is not None and (self.workers, self.until) == (other.workers, other.until)


def together(pauses: Sequence[Pause]) -> Pause | None:
    """Return what these of one fleet, one for each host, mean for all of it; None where there are none.

    It ends when the first of them does.
    """
    if not pauses:
        return None
    ends = [pause.until for pause in pauses if pause.until is not None]
    names = dict.fromkeys(pause.by for pause in pauses if pause.by)
    return Pause(sum(pause.workers for pause in pauses), min(ends, default=None), ", ".join(names))


def parse_pause(raw: object, zone: tzinfo) -> Pause:
    """Return the pause C({until: ..., workers: n}) that a person wrote.

    :param raw: its C(until) is a date with a time as windows have it, RFC 3339 or what the clock of C(zone) shows.
        None, or none at all, is until it is lifted. C(by) is a text, who wants it.
    :raises ValueError: with everything that is wrong with it.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f'pause is {raw!r}, not a mapping such as {{workers: 0, until: "2026-12-05 03:00"}}')
    faults = [f"pause.{key} is not known here; known are {', '.join(_KEYS)}" for key in raw if key not in _KEYS]
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
    by = raw.get("by") or ""
    if not isinstance(by, str):
        faults.append(f"pause.by is {by!r}, not a name")
    if faults or not isinstance(workers, int):
        raise ValueError("; ".join(faults))
    return Pause(workers, until, str(by)[:_LONGEST_NAME])


def as_mapping(pause: Pause, zone: tzinfo) -> dict[str, Any]:
    """Return what C(parse_pause) reads as the same, with the date as RFC 3339 on the clock of C(zone)."""
    by = {"by": pause.by} if pause.by else {}
    return {"workers": pause.workers, "until": None if pause.until is None else written(pause.until, zone), **by}


def to_text(pause: Pause) -> str:
    """Return it as one line of JSON, with the date in UTC."""
    return json.dumps(as_mapping(pause, timezone.utc))


def from_text(text: str) -> Pause:
    """Return the pause that a text means; a date without an offset is UTC.

    :raises ValueError: with everything that is wrong with it.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('pause is no JSON such as {"workers": 0, "until": "2026-12-05T03:00:00Z"}') from None
    return parse_pause(raw, timezone.utc)
