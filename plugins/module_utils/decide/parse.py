# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the mapping a user wrote to a Policy, with every fault found in one go."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import available_timezones

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, RULE_METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Choose,
    Comparison,
    Condition,
    Limits,
    Policy,
    Rule,
    Step,
    StepRules,
    WaitTarget,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.remark import Remark
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import moment_of, written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import (
    DAYS,
    OneOffWindow,
    Schedule,
    WeeklyWindow,
)

_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NUMBERS = {name: number for names in (DAYS, _FULL_DAYS) for number, name in enumerate(names)}
_LARGEST = 1e15
_CLOCK = r"(\d{1,2}):(\d{2})"
_SPAN = re.compile(rf"\s*{_CLOCK}\s*-\s*{_CLOCK}\s*")


class PolicyError(ValueError):
    """A policy was refused; C(faults) has all the reasons."""

    def __init__(self, faults: Sequence[Remark]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))


def parse_policy(raw: object) -> Policy:
    """Return the policy that C(raw), as read from YAML or JSON, describes.

    What is left out takes its default; None is the same as an empty mapping.

    :raises PolicyError: with every fault at once.
    """
    return _Parser().policy(raw)


class _Parser:
    """Collects faults while it reads. What has one is left out, so that it hides no other and invents none."""

    def __init__(self) -> None:
        self.faults: list[Remark] = []
        self.bounds = Limits()
        """What windows have to fit into: the limits, without those that are at fault."""
        self.written: frozenset[str] = frozenset()
        """The keys of the limits that the user wrote."""

    def policy(self, raw: object) -> Policy:
        top = self.mapping(raw, "policy", ("limits", "scale_up", "scale_down", "target", "schedule"), root=True)
        limits = self.limits(top.get("limits"))
        rules: StepRules | WaitTarget = self.steps(top)
        if top.get("target") is not None:
            for key in ("scale_up", "scale_down"):
                if key in top:
                    self.fault(key, "stands beside target, which takes its place: keep one of them")
            rules = self.target(top["target"])
        schedule = self.schedule(top.get("schedule"))
        if self.faults:
            raise PolicyError(self.faults)
        return Policy(limits=limits, rules=rules, schedule=schedule)

    def steps(self, top: Mapping[str, Any]) -> StepRules:
        defaults = StepRules()
        up, ups = self.rule(top.get("scale_up"), "scale_up", "any", "add", defaults.up, Choose.LARGER)
        down, downs = self.rule(top.get("scale_down"), "scale_down", "all", "remove", defaults.down, Choose.SMALLER)
        # All of these must hold: one that could not be read may be what keeps them apart.
        if None not in downs.values():
            self.thresholds_apart(top, ups, downs)
        return StepRules(up=up, down=down)

    def fault(self, path: str, message: str) -> None:
        self.faults.append(Remark(path, message))

    def mapping(self, raw: object, path: str, known: Iterable[str], root: bool = False) -> Mapping[str, Any]:
        """Return C(raw) as a mapping that has known keys only."""
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            self.fault(path, f"is {_kind(raw)}, not a mapping")
            return {}
        known = tuple(known)
        for key in raw:
            if key not in known:
                self.fault(str(key) if root else f"{path}.{key}", f"is not known here; known are {', '.join(known)}")
        return {str(key): value for key, value in raw.items() if key in known}

    def sequence(self, raw: object, path: str, empty: str = "") -> Sequence[Any]:
        """Return C(raw) as a list. Where it must not be empty, C(empty) says what to do about one that is."""
        if isinstance(raw, Sequence) and not isinstance(raw, (str, bytes)):
            if empty and not raw:
                self.fault(path, f"is empty: {empty}")
            return raw
        self.fault(path, f"is {_kind(raw)}, not a list")
        return ()

    def whole(self, raw: object, path: str, least: int) -> int | None:
        """Return C(raw) as a whole number of workers, at least C(least)."""
        if isinstance(raw, bool) or not isinstance(raw, int):
            self.fault(path, f"is {raw!r}, not a whole number of workers")
        elif raw < least:
            self.fault(path, f"is {raw}: " + ("a step of zero changes nothing" if raw == 0 else f"at least {least}"))
        else:
            return raw
        return None

    def number(self, raw: object, path: str) -> float | None:
        if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not abs(raw) <= _LARGEST:
            self.fault(path, f"is {raw!r}, not a number that a metric can have")
        elif raw < 0:
            self.fault(path, f"is {raw:g}: no metric is ever negative")
        else:
            return float(raw)
        return None

    def duration(self, raw: object, path: str) -> float | None:
        try:
            return parse_duration(raw)
        except ValueError as error:
            self.fault(path, str(error))
            return None

    def limits(self, raw: object) -> Limits:
        keys = self.mapping(raw, "limits", (field.name for field in dataclasses.fields(Limits)))
        values: dict[str, Any] = {}
        for key, value in keys.items():
            path = f"limits.{key}"
            if key.startswith("cooldown"):
                values[key] = self.duration(value, path)
            else:
                values[key] = self.whole(value, path, least=1 if key.startswith("scale") else 0)
        limits = Limits(**{key: value for key, value in values.items() if value is not None})
        readable = raw is None or isinstance(raw, Mapping)
        floor = limits.min_workers if readable and values.get("min_workers", 0) is not None else 0
        ceiling = limits.max_workers if readable and values.get("max_workers", 0) is not None else sys.maxsize
        self.written = frozenset(keys)
        if floor > ceiling:
            self.floor_over_ceiling("limits", floor, ceiling, "min_workers" in keys, "max_workers" in keys)
            floor = 0
        self.bounds = Limits(min_workers=floor, max_workers=ceiling)
        return limits

    def floor_over_ceiling(
        self, path: str, floor: int, ceiling: int, floor_own: bool = True, ceiling_own: bool = True
    ) -> None:
        """Note a floor above a ceiling, at the one of the two that the user wrote there.

        :param floor_own: whether the floor is written at C(path); else it is that of the limits, maybe the default.
            C(ceiling_own) likewise.
        """
        if floor_own:
            other = "" if ceiling_own else self.of_limits("max_workers")
            self.fault(f"{path}.min_workers", f"a floor of {floor} is above the ceiling of {ceiling}{other}")
        else:
            other = self.of_limits("min_workers")
            self.fault(f"{path}.max_workers", f"a ceiling of {ceiling} is below the floor of {floor}{other}")

    def of_limits(self, key: str) -> str:
        """Return where a bound comes from that is not written where it collides."""
        return f" (limits.{key})" if key in self.written else f", the default of limits.{key}: set that too"

    def target(self, raw: object) -> WaitTarget:
        keys = self.mapping(raw, "target", ("wait_time",))
        if not isinstance(raw, Mapping):
            return WaitTarget(1.0)
        if "wait_time" not in keys:
            self.fault("target.wait_time", "is missing: say within which time tasks shall start, such as 30s")
            return WaitTarget(1.0)
        wait = self.duration(keys["wait_time"], "target.wait_time")
        if wait == 0:
            self.fault("target.wait_time", "is zero: no fleet starts every task at once; give a time such as 30s")
        return WaitTarget(wait or 1.0)

    def rule(
        self, raw: object, path: str, joined: str, step: str, default: Rule, choose: Choose
    ) -> tuple[Rule, dict[str, Condition | None]]:
        """Return the rule, and its conditions by their paths, None for those that could not be read."""
        keys = self.mapping(raw, path, (joined, step))
        read: list[Condition | None] = list(default.conditions) if raw is None or isinstance(raw, Mapping) else [None]
        if joined in keys:
            missing = "a rule needs a condition; leave the key out for the defaults"
            listed = self.sequence(keys[joined], f"{path}.{joined}", missing)
            read = [self.condition(item, f"{path}.{joined}[{place}]") for place, item in enumerate(listed)]
        conditions = {f"{path}.{joined}[{place}]": condition for place, condition in enumerate(read)}
        rule = Rule(
            conditions=tuple(condition for condition in read if condition),
            step=self.step(keys[step], f"{path}.{step}", choose) if step in keys else default.step,
        )
        return rule, conditions

    def condition(self, raw: object, path: str) -> Condition | None:
        if not isinstance(raw, Mapping):
            self.fault(path, f"is {_kind(raw)}, not a condition such as {{metric: queue_depth, above: 100, for: 60s}}")
            return None
        comparisons = [comparison.value for comparison in Comparison]
        keys = self.mapping(raw, path, ("metric", *comparisons, "for"))
        hold = self.duration(keys["for"], f"{path}.for") if "for" in keys else 0.0
        metric = keys.get("metric")
        if metric not in RULE_METRICS:
            problem = f"{metric!r} is not known" if "metric" in keys else "is missing"
            self.fault(f"{path}.metric", f"{problem}; known are {', '.join(RULE_METRICS)}")
        thresholds = {key: self.threshold(metric, keys[key], f"{path}.{key}") for key in comparisons if key in keys}
        if len(thresholds) != 1:
            found = f"has {' and '.join(thresholds)}" if thresholds else "has no threshold"
            self.fault(path, f"{found}: give one of {', '.join(comparisons)}")
            return None
        ((comparison, threshold),) = thresholds.items()
        if metric not in RULE_METRICS or threshold is None or hold is None:
            return None
        return Condition(str(metric), Comparison(comparison), threshold, hold)

    def threshold(self, metric: object, raw: object, path: str) -> float | None:
        known = METRICS[str(metric)] if metric in RULE_METRICS else None
        if known and known.unit is Unit.SECONDS:
            return self.duration(raw, path)
        value = self.number(raw, path)
        if known and known.in_percent and value is not None and not 0 <= value <= 100:
            self.fault(path, f"is {value:g}: {metric} is in per cent, 0 to 100")
            return None
        return value

    def step(self, raw: object, path: str, choose: Choose) -> Step:
        keys = self.mapping(raw, path, ("workers", "percent", "choose"))
        workers = self.whole(keys["workers"], f"{path}.workers", least=1) if "workers" in keys else None
        percent = self.number(keys["percent"], f"{path}.percent") if "percent" in keys else None
        if percent == 0:
            self.fault(f"{path}.percent", "is 0: a step of zero changes nothing")
        if "choose" in keys:
            try:
                choose = Choose(keys["choose"])
            except ValueError:
                self.fault(f"{path}.choose", f"is {keys['choose']!r}; known are larger and smaller")
        if "workers" not in keys and "percent" not in keys:
            self.fault(path, "has neither workers nor percent: say how large a step is")
        return Step(workers, percent, choose)

    def thresholds_apart(
        self, top: Mapping[str, Any], ups: Mapping[str, Condition | None], downs: Mapping[str, Condition | None]
    ) -> None:
        """Growing and shrinking on one metric must leave room between, or the fleet flaps for ever."""
        up_own, down_own = _has(top.get("scale_up"), "any"), _has(top.get("scale_down"), "all")
        for path, condition in ups.items():
            if condition is None or condition.comparison is not Comparison.ABOVE:
                continue
            # All of them hold at once only below the lowest.
            lows = (
                (c.threshold, where)
                for where, c in downs.items()
                if c and (c.metric, c.comparison) == (condition.metric, Comparison.BELOW)
            )
            low, low_path = min(lows, default=(-1.0, ""))
            if condition.threshold > low:
                continue
            up_default = "" if up_own else " (the default)"
            down_default = "" if down_own else " (the default)"
            self.fault(
                f"{path}.above" if up_own else f"{low_path}.below",
                f"{condition.metric} above {condition.threshold:g}{up_default} scales up and below "
                f"{low:g}{down_default} scales down: the up threshold must be the higher one",
            )

    def schedule(self, raw: object) -> Schedule:
        keys = self.mapping(raw, "schedule", ("timezone", "windows"))
        zone = keys.get("timezone", "UTC")
        if not _is_zone(zone):
            known = "zones are named like Europe/Berlin or UTC"
            if not available_timezones():
                known = "this host knows UTC only: install its package tzdata"
            self.fault("schedule.timezone", f"{zone!r} is not a time zone; {known}")
            zone = "UTC"
        listed = () if keys.get("windows") is None else self.sequence(keys["windows"], "schedule.windows")
        windows = tuple(self.window(item, f"schedule.windows[{place}]", zone) for place, item in enumerate(listed))
        return Schedule(timezone=zone, windows=windows)

    def window(self, raw: object, path: str, zone: str) -> WeeklyWindow | OneOffWindow:
        if not isinstance(raw, Mapping):
            self.fault(path, f'is {_kind(raw)}, not a window such as {{name: peak, time: "08:00-18:00"}}')
            return WeeklyWindow(path)
        known = ("name", "time", "days", "from", "until", "min_workers", "max_workers")
        # Null is the same as left out.
        keys = {
            key: value for key, value in self.mapping(raw, path, known).items() if value is not None or key == "name"
        }
        name = keys.get("name", path)
        if not isinstance(name, str) or not name.strip():
            self.fault(f"{path}.name", f"is {name!r}, not a name")
        bounds = {
            key: self.whole(keys[key], f"{path}.{key}", least=0)
            for key in ("min_workers", "max_workers")
            if key in keys
        }
        window: WeeklyWindow | OneOffWindow
        if "from" in keys or "until" in keys:
            since, until = self.dates(keys, path, zone)
            window = OneOffWindow(str(name), **bounds, since=since, until=until)
        else:
            start, end = self.span(keys["time"], f"{path}.time") if "time" in keys else (0, 24 * 60)
            days = self.days(keys["days"], f"{path}.days") if "days" in keys else frozenset(range(7))
            window = WeeklyWindow(str(name), **bounds, start=start, end=end, days=days)
        floor, ceiling = self.bounds.narrowed(window)
        if floor > ceiling:
            self.floor_over_ceiling(path, floor, ceiling, window.min_workers == floor, window.max_workers == ceiling)
        return window

    def dates(self, keys: Mapping[str, Any], path: str, zone: str) -> tuple[float, float]:
        """Return when a window that comes once begins and ends, in seconds since the epoch."""
        own = "from" if "from" in keys else "until"
        for key in ("days", "time"):
            if key in keys:
                self.fault(f"{path}.{key}", f"stands beside {own}, a date with a time of its own: keep one of them")
        for key, missing, does in (("from", "until", "ends"), ("until", "from", "begins")):
            if missing not in keys:
                self.fault(f"{path}.{key}", f"stands alone: say by {missing} when the window {does}")
        found = {key: self.moment(keys[key], f"{path}.{key}", zone) for key in ("from", "until") if key in keys}
        since, until = found.get("from"), found.get("until")
        if since is None or until is None:
            return 0.0, 1.0
        # What has a wrong zone is of no order.
        if since >= until and not any(fault.path == "schedule.timezone" for fault in self.faults):
            clock = zone_of(zone)
            self.fault(
                f"{path}.until",
                f"is {written(until, clock)} on the clock of {zone}, not after from, which is {written(since, clock)}",
            )
        return since, until

    def moment(self, raw: object, path: str, zone: str) -> float | None:
        try:
            return moment_of(raw, zone_of(zone))
        except ValueError as error:
            self.fault(path, f"is {str(raw) if isinstance(raw, date) else raw!r}: {error}")
            return None

    def span(self, raw: object, path: str) -> tuple[int, int]:
        found = _SPAN.fullmatch(raw) if isinstance(raw, str) else None
        if not found:
            self.fault(path, f'is {raw!r}, not a time of day such as "08:00-18:00"')
            return 0, 24 * 60
        hours_from, minutes_from, hours_to, minutes_to = map(int, found.groups())
        start, end = hours_from * 60 + minutes_from, hours_to * 60 + minutes_to
        if minutes_from > 59 or minutes_to > 59 or start >= 24 * 60 or end > 24 * 60:
            self.fault(path, f"is {raw!r}: the day goes from 00:00 to 24:00")
        elif start == end:
            self.fault(path, f"is {raw!r}, a window of zero length; leave out time for the whole day")
        return start, end

    def days(self, raw: object, path: str) -> frozenset[int]:
        listed = self.sequence(raw, path, "name a day, or leave out days for every day")
        numbers = set()
        for place, day in enumerate(listed):
            number = _DAY_NUMBERS.get(day.lower()) if isinstance(day, str) else None
            if number is None:
                self.fault(f"{path}[{place}]", f"{day!r} is not a day; days are {', '.join(DAYS)}")
            else:
                numbers.add(number)
        return frozenset(numbers)


def _has(raw: object, key: str) -> bool:
    return isinstance(raw, Mapping) and key in raw


def _is_zone(name: object) -> bool:
    if not isinstance(name, str) or not name:
        return False
    try:
        zone_of(name)
    except (KeyError, OSError, ValueError):  # not in the database, a folder of it, a path out of it
        return False
    return True


def _kind(raw: object) -> str:
    if raw is None:
        return "empty"
    if isinstance(raw, Mapping):
        return "a mapping"
    if isinstance(raw, (str, bytes)):
        return f"the text {raw!r}"
    if isinstance(raw, Sequence):
        return "a list"
    return repr(raw)
