# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a fleet of this host to an exact number of workers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    ScaleRequest,
    ScaleResult,
    absent_fleet,
    unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.draining import (
    read_loads,
    wait_until_gone,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    Answer,
    FleetState,
    Manager,
    Phase,
    Unit,
    failure_report,
    start_seconds,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.placement import plan_scaling

UNDO_TIMEOUT = 60.0
"""Seconds for a worker that never consumed to go away again."""

_JOURNALS_SHOWN = 5


def scale(request: ScaleRequest, manager: Manager, check: bool) -> ScaleResult:
    """Bring the fleet to `request.workers`, or with `check` say what would be done.

    :raises OperationError: when the fleet is unknown, the count is not the
        expected one, the manager cannot be asked, or the number was not
        reached; its details tell what was and what was not done.
    """
    tried = f"scale fleet {request.fleet} to {request.workers}"
    manager.require_access(tried)
    with nullcontext() if check else manager.lock(request.fleet, request.lock_wait):
        state = manager.read_fleet(request.fleet)
        found = len(state.current)
        if not state.exists and not check:
            raise unknown_fleet(tried, request.fleet, manager.fleets())
        if state.exists and request.expected_workers not in (None, found):
            raise OperationError(
                tried,
                f"{request.expected_workers} workers were expected, but there are {found}",
                "Nothing was changed. Decide again on the present number.",
                before=found,
                after=found,
            )
        if request.keep and found:
            # Under the fleet's lock, so that nobody scales it between this look and what follows from it.
            request = replace(request, workers=found)
        scaling = _Scaling(request, manager, state)
        if state.exists and scaling.plan.start and state.load_problem:
            raise OperationError(
                f"scale fleet {request.fleet} to {request.workers}",
                state.load_problem,
                "Nothing was changed. Put that right and scale again.",
                before=found,
                after=found,
            )
        return scaling.foretell() if check else scaling.carry_out()


class _Scaling:
    """One plan on its way; holds what has been done so far, for the result or the error."""

    def __init__(self, request: ScaleRequest, manager: Manager, state: FleetState) -> None:
        running: list[Unit] = []
        if request.workers < len(state.current):
            running = [unit for unit in state.current if unit.phase is Phase.RUNNING]
        load, unknown = read_loads(request.fleet, running, manager)
        self.request = request
        self.manager = manager
        self.state = state
        self.plan = plan_scaling(state, request.workers, load)
        self.unknown = {manager.unit_name(request.fleet, number): reason for number, reason in unknown.items()}
        self.tried = f"scale fleet {request.fleet} from {self.plan.before} to {request.workers} workers"
        self.started: list[str] = []
        self.stopped: list[str] = []
        # As it was read when nothing was to be done any more.
        self.seen = None if self.plan.changes else state
        self.enabled = Answer(0)
        self.warnings = [
            f"{unit.name} is masked, so its number is left out; unmask it to have it back."
            for unit in state.units
            if unit.masked
        ]

    def foretell(self) -> ScaleResult:
        """Say what would be done."""
        if not self.state.exists:
            self.warnings.append(absent_fleet(self.request.fleet))
        self.started, self.stopped = self._names(self.plan.start), self._names(self.plan.stop)
        return self._result(self.state, self._names(self.plan.after))

    def carry_out(self) -> ScaleResult:
        """Do it all, then compare what the manager reports with what was asked for."""
        try:
            self._stop()
            if self.plan.start or (self.request.wait and self.plan.await_start):
                self._start()
            else:
                self._enable()
            self._require(
                self.enabled,
                "enable",
                f"{', '.join(self._names(self.plan.enable))} would not come back after a reboot. "
                f"Put that right and scale again.",
            )
            if self.request.wait:
                self._wait_drained()
            return self._compare()
        except OperationError as error:
            error.details = {**self._so_far(), **error.details}
            raise

    def _names(self, numbers: Iterable[int]) -> list[str]:
        return [self.manager.unit_name(self.request.fleet, number) for number in numbers]

    def _so_far(self) -> dict[str, Any]:
        done: dict[str, Any] = {
            "changed": bool(self.started or self.stopped),
            "before": self.plan.before,
            "started": self.started,
            "stopped": self.stopped,
        }
        try:
            state = self.manager.read_fleet(self.request.fleet)
        except OperationError:
            return {**done, "after": None, "draining": None}
        return {**done, "after": len(state.current), "draining": [unit.name for unit in state.draining]}

    def _require(self, answer: Answer, verb: str, next_step: str) -> None:
        if not answer.ok:
            raise OperationError(self.tried, f"{verb} failed: {answer.problem}", next_step)

    def _stop(self) -> None:
        names = self._names(self.plan.stop)
        # Disabled first: what stops now must not come back with a reboot in the middle of its drain.
        not_wanted = [*self._names(self.plan.disable), *names]
        if not_wanted:
            next_step = "No worker was told to stop. Put that right and scale again."
            self._require(self.manager.disable(not_wanted), "disable", next_step)
        if names:
            next_step = "The workers that were to stop are disabled, and may still run. Put that right and scale again."
            self._require(self.manager.stop_no_wait(names), "stop", next_step)
            self.stopped = names
            down = [unit.name for unit in self.state.units if unit.name in names and unit.phase is Phase.DOWN]
            self.manager.reset_failed(down)

    def _start(self) -> None:
        if self.state.needs_reload:
            self.manager.reload()
        names = self._names(self.plan.start)
        # A worker that was started often of late, or gave up, is refused otherwise.
        self.manager.reset_failed([unit.name for unit in self.state.units if unit.name in names])
        if not self.request.wait:
            self._require(self.manager.start_no_wait(names), "start", "Put that right and scale again.")
            self.started = names
            self._enable()
            return
        waited_for = [*names, *self._names(self.plan.await_start)]
        since = self.manager.clock.wall()
        answer = self.manager.start(waited_for, self.request.wait_timeout, meanwhile=self._enable)
        self.seen = self._read_afterwards()
        up = {unit.name for unit in self.seen.units if unit.phase is Phase.RUNNING}
        self.started = [name for name in names if name in up]
        failed = [name for name in waited_for if name not in up]
        if failed:
            self._give_up_on(failed, self.seen, since, answer)

    def _give_up_on(self, failed: list[str], state: FleetState, since: float, answer: Answer) -> None:
        reports = [
            failure_report(state.unit(name), name, self.manager, since) if index < _JOURNALS_SHOWN else name
            for index, name in enumerate(failed)
        ]
        if any(unit is None or unit.result == "success" for unit in map(state.unit, failed)) and answer.code:
            reports.append(f"the start: {answer.problem}")
        wanted_before = {unit.name for unit in self.state.units if unit.enabled}
        undo = [name for name in failed if name not in wanted_before]
        left = [name for name in failed if name in wanted_before]
        undone = [self.manager.disable(undo), self.manager.stop(undo, UNDO_TIMEOUT)] if undo else []
        self.manager.reset_failed(undo)
        why = f"{len(failed)} of its workers did not start"
        if answer.code is None:
            why += f" within {self.request.wait_timeout:g} s"
        outcome = [f"Started: {', '.join(self.started) or 'none'}."]
        if undo:
            outcome.append(f"Stopped again and not enabled: {', '.join(undo)}.")
        outcome += [f"That failed in part: {answer.problem}." for answer in undone if not answer.ok]
        if left:
            outcome.append(f"These were enabled before and stay enabled, and may be started again: {', '.join(left)}.")
        outcome.append(f"See {self.manager.log_command(failed[0])}, put that right and scale again.")
        raise OperationError(self.tried, why, "\n".join([" ".join(outcome), *reports]), not_started=failed)

    def _enable(self) -> None:
        names = self._names(self.plan.enable)
        if names:
            self.enabled = self.manager.enable(names)

    def _read_afterwards(self) -> FleetState:
        state = self.manager.read_fleet(self.request.fleet)
        enabled = self._names(self.plan.enable) if self.enabled.ok else []
        if any(unit.name in enabled and not unit.enabled_for_good for unit in state.units):
            # It was asked about them before they were enabled, by us or by somebody else.
            self.manager.reload()
            state = self.manager.read_fleet(self.request.fleet)
        return state

    def _wait_drained(self) -> None:
        victims = {unit.name: unit for unit in self.state.units if unit.name in self.stopped}
        if self.request.workers == 0:
            # Whoever wants none at all may take away what they run on: those count that others told to stop.
            victims.update((unit.name, unit) for unit in self.state.draining)
        if victims:
            limit = self.request.drain_timeout
            self.warnings += wait_until_gone(self.request.fleet, victims, self.manager, self.tried, limit)

    def _compare(self) -> ScaleResult:
        # What was read when the starts were over is as good when nothing was done since.
        nothing_since = self.seen and not self.plan.stop and not self.state.draining
        state = self.seen if self.seen and nothing_since else self._read_afterwards()
        names = [unit.name for unit in state.current]
        not_enabled = [unit.name for unit in state.current if not unit.enabled and not unit.masked]
        if len(names) != self.request.workers or not_enabled:
            raise OperationError(
                self.tried,
                f"there are {len(names)} workers afterwards: {', '.join(names) or 'none'}"
                + (f"; not enabled: {', '.join(not_enabled)}" if not_enabled else ""),
                "Somebody else may have changed them meanwhile. Scale again.",
            )
        took = {unit.name: start_seconds(unit) for unit in state.units if unit.name in self.started}
        seconds = {name: round(time, 3) for name, time in took.items() if time is not None}
        return replace(self._result(state, names), start_seconds=seconds)

    def _result(self, state: FleetState, workers: list[str]) -> ScaleResult:
        return ScaleResult(
            changed=self.plan.changes,
            before=self.plan.before,
            after=len(workers),
            started=self.started,
            stopped=self.stopped,
            draining=[unit.name for unit in state.draining],
            workers_before=[unit.name for unit in self.state.current],
            workers_after=workers,
            unknown=self.unknown,
            warnings=self.warnings,
        )
