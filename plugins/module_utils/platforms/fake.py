# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform in memory, for tests. Starts and drains take time on its own clock, and it fails when told to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    Answer,
    FleetState,
    Phase,
    TasksUnknown,
    Unit,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.platform import HostPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.reading_phase import reading_phase


class FakeTime:
    """Time that passes when somebody waits, and not otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(wall=lambda: 1_767_225_600.0 + self.now, monotonic=lambda: self.now, sleep=self.pass_by)

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
    stop_timeout: float = 90.0
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
        began = self._microseconds(self.time.now - 100)
        if phase is Phase.DRAINING:
            values = {"active_exit_at": self._microseconds(), **values}
        for number in numbers:
            self._change(
                number,
                phase=phase,
                enabled=enabled,
                enabled_for_good=enabled,
                inactive_exit_at=began,
                active_enter_at=began + 1,
                **values,
            )
            if phase is Phase.DRAINING:
                self._ends[number] = self.time.now + self.drain_seconds.get(number, 1.0)

    def crash(self, number: int, result: str = "exit-code") -> None:
        """Have a worker end by itself."""
        self._go_down(number, result, sub_state="failed")

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
        if fleet not in self.fleets():
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
        deadline = self.time.now + timeout
        while answer.ok and Phase.STARTING in self._phases(units):
            if self.time.now >= deadline:
                return Answer(None)
            self.time.pass_by(min(0.5, deadline - self.time.now))
            self._settle()
        return Answer(1, "", "a job failed") if answer.ok and self._phases(units) - {Phase.RUNNING} else answer

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
        return self._call("stop", units, lambda number: self._go_down(number, self.units[number].result))

    def enable(self, units: Sequence[str]) -> Answer:
        """Enable units."""
        if self.forgetful and "enable" not in self.refuses:
            self._forgotten |= self.units.keys() & set(map(_number, units))
        return self._call("enable", units, lambda number: self._change(number, enabled=True, enabled_for_good=True))

    def disable(self, units: Sequence[str]) -> Answer:
        """Disable units."""
        return self._call("disable", units, lambda number: self._change(number, enabled=False, enabled_for_good=False))

    def reset_failed(self, units: Sequence[str]) -> None:
        """Forget failures."""
        for number in self.units.keys() & set(map(_number, units)):
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
        for unit in units:
            act(_number(unit))
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
        self._ends[number] = self.time.now + min(seconds, unit.stop_timeout)

    def _begin_restart(self, number: int) -> None:
        self._again.add(number)
        self._ends[number] = self.time.now
        self._begin_stop(number)
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
            killed = end - unit.active_exit_at / 1e6 >= unit.stop_timeout
            self._go_down(number, "timeout" if killed else "success", end)
            if number in self._again:
                self._again.remove(number)
                self._begin_start(number, end)
        elif number in self.broken:
            self.crash(number)
        else:
            self._change(number, phase=Phase.RUNNING, sub_state="running", active_enter_at=self._microseconds(end))

    def _go_down(self, number: int, result: str, at: float | None = None, **values: Any) -> None:
        self._ends.pop(number, None)
        self._change(number, phase=Phase.DOWN, result=result, inactive_enter_at=self._microseconds(at), **values)

    def _change(self, number: int, **values: Any) -> None:
        new = Unit(self.unit_name(self.fleet, number), number, Phase.DOWN, stop_timeout=self.stop_timeout)
        self.units[number] = replace(self.units.get(number, new), **values)

    def _phases(self, units: Sequence[str]) -> set[Phase]:
        return {self.units[_number(unit)].phase for unit in units}

    def _microseconds(self, at: float | None = None) -> int:
        return int((self.time.now if at is None else at) * 1e6)


class FakePlatform(HostPlatform):
    """A host with one fleet of workers in memory, which is scaled and restarted as on real hosts."""

    def __init__(self, *numbers: int, **values: Any) -> None:
        """Have these workers; C(values) are the manager's."""
        self.manager = FakeManager(**values)
        self.manager.add(*numbers)
        self.pauses: dict[str, Pause] = {}
        super().__init__(self.manager)

    def paused(self, fleet: str) -> Pause | None:
        """What somebody holds the fleet at, over or not."""
        return self.pauses.get(fleet)

    def pause(self, fleet: str, pause: Pause | None) -> None:
        """Have whoever sizes the fleet hold it at this; None lifts it."""
        self.pauses.pop(fleet, None)
        if pause is not None:
            self.pauses[fleet] = pause

    def fleet_of(self, name: str) -> str | None:
        """The fleet that the worker of this name belongs to."""
        worker, _at, host = name.partition("@")
        return worker.rpartition("-")[0] if host == "fake" else None

    def is_worker(self, fleet: str, worker: str) -> bool:
        """Whether a worker of the fleet can have this id."""
        return worker.rpartition("-")[0] == fleet

    def read(self, fleet: str) -> FleetReading:
        """Read the fleet."""
        at = self.manager.clock.wall()
        try:
            state = self.manager.read_fleet(fleet)
        except OperationError as error:
            return FleetReading("fake", at, None, str(error))
        if not state.exists:
            return FleetReading("fake", at, None, f"there is no fleet {fleet}", exists=False)
        units = [unit for unit in state.units if unit.current or unit.leaving]
        return self.with_pause(fleet, FleetReading("fake", at, tuple(map(self._worker, units)), exists=True))

    def _worker(self, unit: Unit) -> WorkerReading:
        phase = reading_phase(unit)
        silent = unit.number in self.manager.silent
        tells = phase in (CONSUMING, DRAINING) and not silent
        tasks = self.manager.tasks.get(unit.number, 0)
        down = phase == DOWN
        return WorkerReading(
            name=f"{unit.name}@fake",
            phase=phase,
            life=f"{unit.number}:{unit.active_enter_at}",
            active=tasks if tells else None,
            reserved=0 if tells else None,
            started=tasks if tells else None,
            taken={} if tells else None,
            silent=silent,
            down_for=self.manager.clock.monotonic() - unit.inactive_enter_at / 1e6 if down else None,
            state=f"{unit.sub_state}, {unit.result}" if down else "",
            id=unit.name,
        )


def _number(unit: str) -> int:
    return int(unit.rpartition("-")[2])
