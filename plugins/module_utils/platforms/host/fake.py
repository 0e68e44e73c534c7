# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manager of units in memory, for tests. Starts and drains take time on its own clock, and it fails when told to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    Answer,
    FleetState,
    Phase,
    TasksUnknown,
    Unit,
)


class FakeTime:
    """Time that passes when somebody waits, and not otherwise."""

    def __init__(self, now: float = 1000.0, epoch: float = 1_767_225_600.0) -> None:
        self.now = now
        self.clock = Clock(wall=lambda: epoch + self.now, monotonic=lambda: self.now, sleep=self.pass_by)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class FakeManager:
    """Starts and stops units of one fleet, in memory.

    What makes it fail may be set at any time:

    :ivar denies: why it may not be used.
    :ivar unreadable: why it does not tell of its units.
    :ivar refuses: by call (C(start), C(stop), C(enable), C(disable), C(restart)), why it is refused.
    :ivar broken: numbers of workers that end while they start.
    :ivar hanging: numbers of workers that never come to consume.
    :ivar locked: whether somebody else scales the fleet.
    :ivar silent: numbers of workers that do not tell what they do.
    :ivar outdated: numbers of workers with an old configuration.
    :ivar load_problem: why no worker can be started.
    :ivar forgetful: whether it says that units it knew are not enabled, until it is made to read them again.
    :ivar later: what else happens, each with its time.
    """

    fleet: str = "web"
    time: FakeTime = field(default_factory=FakeTime)
    start_seconds: float = 2.0
    drain_seconds: dict[int, float] = field(default_factory=dict)
    stop_timeout: float | None = 90.0
    units: dict[int, Unit] = field(default_factory=dict)
    tasks: dict[int, int] = field(default_factory=dict)
    denies: str = ""
    unreadable: str = ""
    refuses: dict[str, str] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    hanging: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    outdated: set[int] = field(default_factory=set)
    locked: bool = False
    load_problem: str = ""
    needs_reload: bool = False
    forgetful: bool = False
    exists: bool = True
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    _ends: dict[int, float] = field(default_factory=dict)
    _again: set[int] = field(default_factory=set)
    _forgotten: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.clock = self.time.clock

    def add(self, *numbers: int, phase: Phase = Phase.RUNNING, enabled: bool = True, **values: Any) -> None:
        """Have workers that were there before the test began."""
        for number in numbers:
            began = int((self.time.now - 100) * 1e6)
            known = {"inactive_exit_at": began, "active_enter_at": began + 1, "main_pid": 100 + number}
            self.units[number] = Unit(
                self.unit_name(self.fleet, number),
                number,
                phase,
                **{
                    "enabled": enabled,
                    "enabled_for_good": enabled,
                    "stop_timeout": self.stop_timeout,
                    **known,
                    **values,
                },
            )
            if phase is Phase.DRAINING:
                self._change(number, active_exit_at=values.get("active_exit_at", self._microseconds()))
                self._ends[number] = self.time.now + self.drain_seconds.get(number, 1.0)

    def crash(self, number: int, result: str = "exit-code") -> None:
        """Have a worker end by itself."""
        self._ends.pop(number, None)
        self._change(
            number, phase=Phase.DOWN, result=result, sub_state="failed", inactive_enter_at=self._microseconds()
        )

    def require_access(self, tried: str) -> None:
        """Refuse where it may not be used."""
        if self.denies:
            raise OperationError(tried, self.denies, "Become root.")

    @contextmanager
    def lock(self, fleet: str, wait: float) -> Iterator[None]:
        """Refuse while somebody else scales the fleet, after the time to wait for him."""
        if self.locked:
            self.time.pass_by(wait)
            raise OperationError(f"lock fleet {fleet}", "another scaling is running", "Try again.", busy=True)
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def fleets(self) -> list[str]:
        """The one fleet."""
        return [self.fleet] if self.exists else []

    def unit_name(self, fleet: str, number: int) -> str:
        """A worker's id."""
        return f"{fleet}-{number}"

    def read_fleet(self, fleet: str) -> FleetState:
        """What there is now."""
        if self.unreadable:
            raise OperationError(f"read the workers of fleet {fleet}", self.unreadable, "Look at it.")
        self._settle()
        if fleet != self.fleet or not self.exists:
            return FleetState(fleet, exists=False)
        units = [
            replace(unit, enabled=False, enabled_for_good=False) if number in self._forgotten else unit
            for number, unit in sorted(self.units.items())
        ]
        return FleetState(fleet, True, self.load_problem, self.needs_reload, units=tuple(units))

    def tasks_in_hand(self, fleet: str, unit: Unit) -> int:
        """How many tasks a worker has."""
        if unit.number in self.silent:
            raise TasksUnknown("it does not tell")
        return self.tasks.get(unit.number, 0)

    def outdated_reason(self, fleet: str, unit: Unit, from_disk: bool) -> str | None:
        """Whether a worker has an old configuration."""
        return "it was started with another configuration" if unit.number in self.outdated else None

    def start(self, units: Sequence[str], timeout: float, meanwhile: Callable[[], None]) -> Answer:
        """Start units, and let the time pass that this takes."""
        answer = self.start_no_wait(units)
        meanwhile()
        if not answer.ok:
            return answer
        deadline = self.time.now + timeout
        while any(self.units[number].phase is Phase.STARTING for number in self._numbers(units)):
            if self.time.now >= deadline:
                return Answer(None)
            self.time.pass_by(min(0.5, deadline - self.time.now))
            self._settle()
        failed = any(self.units[number].phase is not Phase.RUNNING for number in self._numbers(units))
        return Answer(1, "", "a job failed") if failed else Answer(0)

    def start_no_wait(self, units: Sequence[str]) -> Answer:
        """Begin to start units."""
        return self._call("start", units, self._begin_start)

    def restart_no_wait(self, unit: str) -> Answer:
        """Begin to restart a unit."""
        return self._call("restart", [unit], self._begin_restart)

    def stop_no_wait(self, units: Sequence[str]) -> Answer:
        """Begin to stop units."""
        return self._call("stop", units, self._begin_stop)

    def stop(self, units: Sequence[str], timeout: float) -> Answer:
        """Stop units at once."""
        answer = self.stop_no_wait(units)
        for number in self._numbers(units) if answer.ok else ():
            self._ends.pop(number, None)
            self._change(number, phase=Phase.DOWN, inactive_enter_at=self._microseconds())
        return answer

    def enable(self, units: Sequence[str]) -> Answer:
        """Enable units."""
        known = set(self.units)
        answer = self._call("enable", units, lambda number: self._change(number, enabled=True, enabled_for_good=True))
        if answer.ok and self.forgetful:
            self._forgotten |= known & set(self._numbers(units))
        return answer

    def disable(self, units: Sequence[str]) -> Answer:
        """Disable units."""
        return self._call("disable", units, lambda number: self._change(number, enabled=False, enabled_for_good=False))

    def reset_failed(self, units: Sequence[str]) -> None:
        """Forget failures."""
        for number in self._numbers(units):
            if number in self.units:
                self._change(number, result="success")

    def reload(self) -> None:
        """Read everything again."""
        self.calls.append(("reload",))
        self._forgotten.clear()
        self.needs_reload = False

    def log_command(self, unit: str) -> str:
        """What a person runs to read the log of a unit."""
        return f"logs {unit}"

    def log_tail(self, unit: str, since: float, failed: bool) -> list[str]:
        """What a unit logged last."""
        return [f"last words of {unit}"]

    def _call(self, verb: str, units: Sequence[str], act: Callable[[int], None]) -> Answer:
        self.calls.append((verb, *units))
        if verb in self.refuses:
            return Answer(1, "", self.refuses[verb])
        self._settle()
        for number in self._numbers(units):
            act(number)
        return Answer(0)

    def _begin_start(self, number: int, at: float | None = None) -> None:
        if number in self.units and self.units[number].phase is Phase.RUNNING:
            return
        begun = self.time.now if at is None else at
        self._change(number, phase=Phase.STARTING, result="success", inactive_exit_at=self._microseconds(begun))
        self._ends[number] = math.inf if number in self.hanging else begun + self.start_seconds

    def _begin_stop(self, number: int) -> None:
        unit = self.units[number]
        if unit.phase is Phase.DOWN:
            return
        self._change(number, phase=Phase.DRAINING, active_exit_at=self._microseconds())
        seconds = self.drain_seconds.get(number, 1.0) if unit.phase is Phase.RUNNING else 0.0
        limit = math.inf if unit.stop_timeout is None else unit.stop_timeout * unit.stop_stages
        self._ends[number] = self.time.now + min(seconds, limit)

    def _begin_restart(self, number: int) -> None:
        self._again.add(number)
        self._begin_stop(number)
        if self.units[number].phase is Phase.DOWN:
            self._ends[number] = self.time.now
        # A unit that stops only to be started again is on its way up, as systemd tells it.
        self._change(number, phase=Phase.STARTING)

    def _settle(self) -> None:
        """Let happen what is due."""
        for due in [one for one in self.later if one[0] <= self.time.now]:
            self.later.remove(due)
            due[1]()
        while due_ends := [(end, number) for number, end in self._ends.items() if end <= self.time.now]:
            end, number = min(due_ends)
            del self._ends[number]
            self._end(number, end)

    def _end(self, number: int, end: float) -> None:
        """End what a worker was at: its drain, or its start."""
        unit = self.units[number]
        if number in self._again or unit.phase is Phase.DRAINING:
            limit = math.inf if unit.stop_timeout is None else unit.stop_timeout * unit.stop_stages
            result = "timeout" if end - unit.active_exit_at / 1e6 >= limit else "success"
            self._change(number, phase=Phase.DOWN, result=result, inactive_enter_at=self._microseconds(end))
            if number in self._again:
                self._again.remove(number)
                self._begin_start(number, end)
        elif number in self.broken:
            self.crash(number)
        else:
            self._change(number, phase=Phase.RUNNING, sub_state="running", active_enter_at=self._microseconds(end))

    def _change(self, number: int, **values: Any) -> None:
        if number not in self.units:
            name = self.unit_name(self.fleet, number)
            self.units[number] = Unit(name, number, Phase.DOWN, stop_timeout=self.stop_timeout)
        self.units[number] = replace(self.units[number], **values)

    def _numbers(self, units: Iterable[str]) -> list[int]:
        return [int(unit.rpartition("-")[2]) for unit in units]

    def _microseconds(self, at: float | None = None) -> int:
        return int((self.time.now if at is None else at) * 1e6)
