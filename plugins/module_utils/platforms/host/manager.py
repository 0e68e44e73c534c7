# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts and stops the numbered workers of a host, and what it says of them. Here a worker is a *unit*."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact


class Phase(enum.Enum):
    """Where a unit stands in the life of a worker."""

    RUNNING = "running"
    """It is up, and consumes."""
    STARTING = "starting"
    """It is on its way up and does not consume yet."""
    DOWN = "not running"
    """It is stopped, failed, or waits for its manager to try it again."""
    ENDING = "ending"
    """Its process ends, and nobody told its manager to stop it: it crashed, or something else ended it."""
    DRAINING = "draining"
    """It has been told to stop and finishes what it has."""


@dataclass(frozen=True)
class Unit:
    """One worker as its manager sees it.

    `stop_timeout` is in seconds, how long it may take to stop before the manager kills
    it, infinite when that waits for ever. The `*_at` values are microseconds of
    CLOCK_MONOTONIC, 0 when it has not happened.
    `control_group` is a path below the root of the control groups, empty when
    nothing runs. `memory_max` is in bytes, `cpu_quota` in cores, each `None`
    where the unit itself sets no limit. `restarts` counts how often the manager started
    it again by itself since somebody else did.
    """

    name: str
    number: int
    phase: Phase
    enabled: bool = False
    enabled_for_good: bool = False
    masked: bool = False
    sub_state: str = ""
    result: str = "success"
    main_pid: int = 0
    stop_timeout: float = 90.0
    inactive_exit_at: int = 0
    active_enter_at: int = 0
    active_exit_at: int = 0
    inactive_enter_at: int = 0
    main_start_at: int = 0
    files: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    control_group: str = ""
    restarts: int = 0
    memory_max: int | None = None
    cpu_quota: float | None = None

    @property
    def current(self) -> bool:
        """Whether it counts as a worker: it is wanted or it runs, and it is not on its way out."""
        if self.phase is Phase.DRAINING:
            return False
        return self.wanted or self.phase in (Phase.RUNNING, Phase.STARTING)

    @property
    def wanted(self) -> bool:
        """Whether it is meant to run: it is enabled, and nobody forbade it to start."""
        return self.enabled and not self.masked

    @property
    def leaving(self) -> bool:
        """Whether it still runs and is on its way out for good."""
        return self.phase is Phase.DRAINING or (self.phase is Phase.ENDING and not self.wanted)

    @property
    def retrying(self) -> bool:
        """Whether it came to grief and its manager will try it again by itself."""
        return self.sub_state.startswith("auto-restart")


@dataclass(frozen=True)
class FleetState:
    """A fleet on this host. `load_problem` says why its workers cannot be started, empty when they can."""

    fleet: str
    exists: bool
    load_problem: str = ""
    needs_reload: bool = False
    units: tuple[Unit, ...] = ()

    @property
    def current(self) -> tuple[Unit, ...]:
        """The workers that count, by number."""
        return tuple(unit for unit in self.units if unit.current)

    @property
    def draining(self) -> tuple[Unit, ...]:
        """The workers that finish what they have, by number."""
        return tuple(unit for unit in self.units if unit.leaving)

    def unit(self, name: str) -> Unit | None:
        """The unit of that name, `None` when there is none."""
        return next((unit for unit in self.units if unit.name == name), None)


def start_seconds(unit: Unit) -> float | None:
    """How long the latest start took until the unit was active, in seconds; `None` when it has not come up."""
    if unit.active_enter_at and unit.active_enter_at >= unit.inactive_exit_at > 0:
        return (unit.active_enter_at - unit.inactive_exit_at) / 1e6
    return None


def drain_seconds(unit: Unit) -> float | None:
    """How long the latest stop took, in seconds; `None` when there was none since the unit was last active."""
    if unit.active_exit_at and unit.inactive_enter_at >= unit.active_exit_at:
        return (unit.inactive_enter_at - unit.active_exit_at) / 1e6
    return None


@dataclass(frozen=True)
class Answer:
    """How a command ended. `code` is `None` when it was not waited for any longer."""

    code: int | None
    output: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the command did what it was asked for."""
        return self.code == 0

    @property
    def problem(self) -> str:
        """What a person should read about a failure."""
        if self.code is None:
            return "it did not come to an end in time"
        return redact(self.error.strip() or f"it ended with status {self.code}")


class TasksUnknown(Exception):
    """Why nothing is known about a worker's tasks, in words for an operator."""


class Manager(Protocol):
    """Starts and stops units. Whatever returns an `Answer` raises nothing; the rest raises OperationError.

    :ivar clock: what waits are timed with.
    """

    clock: Clock

    def require_access(self, tried: str) -> None:
        """Refuse early what could not be done later."""

    def lock(self, fleet: str, wait: float) -> AbstractContextManager[None]:
        """Let nobody else scale or restart the fleet meanwhile; wait so many seconds for somebody who does."""

    def fleets(self) -> list[str]:
        """The names of all fleets of this host."""

    def unit_name(self, fleet: str, number: int) -> str:
        """The name of a worker's unit."""

    def read_fleet(self, fleet: str) -> FleetState:
        """Read all workers of a fleet; never an empty fleet for want of an answer."""

    def tasks_in_hand(self, fleet: str, unit: Unit) -> int:
        """How many tasks a running worker has, active and reserved.

        :raises TasksUnknown: when it does not tell.
        """

    def outdated_reason(self, fleet: str, unit: Unit, from_disk: bool) -> str | None:
        """Why a worker that runs should be restarted, `None` when it has the present configuration.

        :param from_disk: whether the manager has not read the present configuration yet.
        """

    def start(self, units: Sequence[str], timeout: float, meanwhile: Callable[[], None]) -> Answer:
        """Start units together and wait until each is up or has failed; no longer than `timeout` seconds.

        What came of it is to be read afterwards.

        :param meanwhile: called while they start.
        """

    def start_no_wait(self, units: Sequence[str]) -> Answer:
        """Have units started."""

    def restart_no_wait(self, unit: str) -> Answer:
        """Have a unit stopped, in its own time, and started again, however often it was started lately."""

    def stop_no_wait(self, units: Sequence[str]) -> Answer:
        """Tell units to stop, each in its own time."""

    def stop(self, units: Sequence[str], timeout: float) -> Answer:
        """Stop units and wait until they are gone, no longer than `timeout` seconds."""

    def enable(self, units: Sequence[str]) -> Answer:
        """Have units started at every boot. Until `reload` they may be said to be disabled."""

    def disable(self, units: Sequence[str]) -> Answer:
        """Have units not started at boot any more."""

    def reset_failed(self, units: Sequence[str]) -> None:
        """Forget the failures of units and how often they were started lately."""

    def reload(self) -> None:
        """Read the configuration of units again."""

    def log_command(self, unit: str) -> str:
        """What a person runs to read the log of a unit."""

    def log_tail(self, unit: str, since: float, failed: bool) -> list[str]:
        """The last lines that a unit logged since `since` (seconds of the wall clock), passwords masked.

        :param failed: whether the unit has failed, so that there must be lines that say so.
        """


def describe(unit: Unit | None) -> str:
    """A unit's state in a few words for a message."""
    if unit is None:
        return "gone"
    return f"{unit.phase.value} ({unit.sub_state or 'unknown'}, result {unit.result or 'unknown'})"


def failure_report(unit: Unit | None, name: str, manager: Manager, since: float) -> str:
    """What an operator wants to know of a worker that did not come up, on several lines."""
    lines = manager.log_tail(name, since, failed=unit is not None and unit.phase is Phase.DOWN)
    return "\n".join([f"{name}: {describe(unit)}", *(f"    {line}" for line in lines)])
