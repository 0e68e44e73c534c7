# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the workers of a fleet one at a time, each drained before and consuming again after."""

from __future__ import annotations

from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollRequest, RollResult, unknown_fleet
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.draining import drain_limit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    FleetState,
    Manager,
    Phase,
    Unit,
    describe,
    drain_seconds,
    failure_report,
)

_POLL = 0.2


def roll(request: RollRequest, manager: Manager, check: bool) -> RollResult:
    """Restart the fleet's workers one after the other, or with `check` say which would be.

    :raises OperationError: at the first worker that does not come back; the
        others are left as they are. Also when the fleet is unknown or the manager
        cannot be asked.
    """
    tried = f"restart the workers of fleet {request.fleet}"
    manager.require_access(tried)
    if check:
        state = manager.read_fleet(request.fleet)
        if not state.exists:
            warning = f"This host has no fleet {request.fleet} yet; check mode takes it for one of 0 workers."
            return RollResult([], [], {}, [f"{warning} Without check mode this is an error."])
        chosen, unchanged, reasons = _choose(request, state, manager)
        return RollResult([unit.name for unit in chosen], unchanged, reasons)
    with manager.lock(request.fleet, request.lock_wait):
        state = manager.read_fleet(request.fleet)
        if not state.exists:
            raise unknown_fleet(tried, request.fleet, manager.fleets())
        if state.needs_reload:
            manager.reload()
            state = manager.read_fleet(request.fleet)
        chosen, unchanged, reasons = _choose(request, state, manager)
        if chosen and state.load_problem:
            raise OperationError(
                tried,
                f"they could not be started again, {state.load_problem}",
                "No worker was touched. Put that right and try again.",
            )
        return _Round(request, manager, tried, unchanged, reasons).go_through(chosen)


def restart(fleet: str, worker: str, manager: Manager, lock_wait: float) -> None:
    """Have one worker restarted, drained, and do not wait for it.

    :param worker: name of its unit.
    :param lock_wait: seconds to wait for somebody else who scales or restarts the fleet.
    :raises OperationError: when it does not run, while another worker of the
        fleet is on its way up, or when the manager cannot be asked or refuses.
    """
    tried = f"restart {worker}"
    manager.require_access(tried)
    with manager.lock(fleet, lock_wait):
        state = manager.read_fleet(fleet)
        if not state.exists:
            raise unknown_fleet(tried, fleet, manager.fleets())
        unit = state.unit(worker)
        if unit is None or not unit.current or unit.masked or unit.phase is not Phase.RUNNING:
            raise OperationError(
                tried, f"it is {describe(unit)}", "Nothing was changed. Only a running worker needs it."
            )
        others = [other.name for other in state.current if other.phase in (Phase.STARTING, Phase.ENDING)]
        # One at a time, whoever asks: a fault of the app would else take worker after worker out of a fleet that works.
        if others:
            raise OperationError(
                tried,
                f"{', '.join(others)} is not up yet",
                "Nothing was changed. Try again when the fleet is complete.",
            )
        if state.needs_reload:
            manager.reload()
        # Restarts that were asked for count towards a limit on starts that is meant for crashes.
        manager.reset_failed([worker])
        told = manager.restart_no_wait(worker)
        if not told.ok:
            raise OperationError(tried, told.problem, f"See {manager.log_command(worker)}.")


def _choose(request: RollRequest, state: FleetState, manager: Manager) -> tuple[list[Unit], list[str], dict[str, str]]:
    """The workers to restart, the names of the others, and the reason for each."""
    chosen: list[Unit] = []
    unchanged: list[str] = []
    reasons: dict[str, str] = {}
    for unit in state.current:
        if unit.masked:
            reason, restarts = "it is masked and could not be started again", False
        elif not request.only_outdated:
            reason, restarts = "all were asked for", True
        elif unit.phase in (Phase.DOWN, Phase.ENDING):
            reason, restarts = "it does not run, so its next start is with the present configuration", False
        else:
            outdated = manager.outdated_reason(request.fleet, unit, from_disk=state.needs_reload)
            reason, restarts = outdated or "it has the present configuration", outdated is not None
        reasons[unit.name] = reason
        if restarts:
            chosen.append(unit)
        else:
            unchanged.append(unit.name)
    return chosen, unchanged, reasons


class _Round:
    """One way through the fleet; holds what has been done so far, for the result or the error."""

    def __init__(
        self, request: RollRequest, manager: Manager, tried: str, unchanged: list[str], reasons: dict[str, str]
    ) -> None:
        self.request = request
        self.manager = manager
        self.tried = tried
        self.unchanged = unchanged
        self.reasons = reasons
        self.restarted: list[str] = []
        self.killed: list[str] = []
        self.not_done: list[str] = []

    def go_through(self, chosen: list[Unit]) -> RollResult:
        """Restart each in turn."""
        self.not_done = [unit.name for unit in chosen]
        try:
            for unit in chosen:
                self._one(unit)
                self.restarted.append(unit.name)
                self.not_done.remove(unit.name)
        except OperationError as error:
            raise OperationError(
                error.tried, error.why, error.next_step, **{**self._so_far(), **error.details}
            ) from error
        if self.killed:
            raise OperationError(
                self.tried,
                "they run again, but not all of them got to finish their tasks: "
                + ", ".join(self.killed)
                + " did not drain in time and was killed",
                "Make drain_timeout of the fleet longer than its longest task.",
                **self._so_far(),
            )
        return RollResult(self.restarted, self.unchanged, self.reasons)

    def _so_far(self) -> dict[str, Any]:
        return {
            "changed": bool(self.restarted),
            "restarted": self.restarted,
            "unchanged": self.unchanged,
            "not_restarted": self.not_done,
            "killed": self.killed,
        }

    def _one(self, unit: Unit) -> None:
        clock = self.manager.clock
        since = clock.wall()
        # Restarts that were asked for count towards a limit on starts that is meant for crashes.
        self.manager.reset_failed([unit.name])
        told = self.manager.restart_no_wait(unit.name)
        if not told.ok:
            raise self._stuck(unit, f"the restart of {unit.name} failed: {told.problem}")
        limit = drain_limit([unit], self.request.drain_timeout)
        drained_by = None if limit is None else clock.monotonic() + limit
        up_by: float | None = None
        while True:
            now = self._read(unit)
            if now is not None and _is_back(unit, now):
                self._note_kill(unit, now)
                return
            if now is None or now.phase is Phase.DOWN:
                report = failure_report(now, unit.name, self.manager, since)
                raise self._stuck(unit, f"{unit.name} did not come back", report)
            if unit.phase is not Phase.DOWN and _is_old(unit, now):
                if drained_by is not None and clock.monotonic() >= drained_by:
                    raise self._stuck(unit, f"{unit.name} still drains; it is started again when it is done")
            else:
                up_by = up_by or clock.monotonic() + self.request.wait_timeout
                if clock.monotonic() >= up_by:
                    report = failure_report(now, unit.name, self.manager, since)
                    why = f"{unit.name} does not consume after {self.request.wait_timeout:g} s"
                    raise self._stuck(unit, why, report)
            clock.sleep(_POLL)

    def _read(self, unit: Unit) -> Unit | None:
        return self.manager.read_fleet(self.request.fleet).unit(unit.name)

    def _note_kill(self, before: Unit, now: Unit) -> None:
        took = drain_seconds(now)
        if before.phase is not Phase.RUNNING or took is None or before.stop_timeout is None:
            return
        if took >= before.stop_timeout * before.stop_stages:
            self.killed.append(now.name)

    def _stuck(self, unit: Unit, why: str, report: str = "") -> OperationError:
        rest = [name for name in self.not_done if name != unit.name]
        return OperationError(
            self.tried,
            why,
            f"Restarted before it: {', '.join(self.restarted) or 'none'}. "
            f"Left running as they were: {', '.join(rest) or 'none'}. "
            f"See {self.manager.log_command(unit.name)}, put that right and run this again."
            + (f"\n{report}" if report else ""),
            changed=True,
        )


def _is_back(before: Unit, now: Unit) -> bool:
    return now.phase is Phase.RUNNING and now.active_enter_at > before.active_enter_at


def _is_old(before: Unit, now: Unit) -> bool:
    """Whether what is seen is still the worker from before the restart, on its way out."""
    return now.inactive_exit_at == before.inactive_exit_at
