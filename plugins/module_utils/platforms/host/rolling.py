# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the workers of a fleet one at a time, each drained before and consuming again after."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    RollRequest,
    RollResult,
    absent_fleet,
    killed_in_drain,
    unknown_fleet,
)
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
    with nullcontext() if check else manager.lock(request.fleet, request.lock_wait):
        state = manager.read_fleet(request.fleet)
        if not state.exists and check:
            return RollResult([], [], {}, [absent_fleet(request.fleet)])
        if not state.exists:
            raise unknown_fleet(tried, request.fleet, manager.fleets())
        if state.needs_reload and not check:
            manager.reload()
            state = manager.read_fleet(request.fleet)
        judged = [(unit, *_judged(unit, request, state, manager)) for unit in state.current]
        chosen = [unit for unit, restarts, _reason in judged if restarts]
        unchanged = [unit.name for unit, restarts, _reason in judged if not restarts]
        reasons = {unit.name: reason for unit, _restarts, reason in judged}
        if check:
            return RollResult([unit.name for unit in chosen], unchanged, reasons)
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
        answer = manager.restart_no_wait(worker)
        if not answer.ok:
            raise OperationError(tried, answer.problem, f"See {manager.log_command(worker)}.")


def _judged(unit: Unit, request: RollRequest, state: FleetState, manager: Manager) -> tuple[bool, str]:
    """Whether a worker is to be restarted, and why or why not."""
    if unit.masked:
        return False, "it is masked and could not be started again"
    if not request.only_outdated:
        return True, "all were asked for"
    if unit.phase in (Phase.DOWN, Phase.ENDING):
        return False, "it does not run, so its next start is with the present configuration"
    outdated = manager.outdated_reason(request.fleet, unit, from_disk=state.needs_reload)
    return outdated is not None, outdated or "it has the present configuration"


@dataclass
class _Round:
    """One way through the fleet; holds what has been done so far, for the result or the error."""

    request: RollRequest
    manager: Manager
    tried: str
    unchanged: list[str]
    reasons: dict[str, str]
    restarted: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)

    def go_through(self, chosen: list[Unit]) -> RollResult:
        """Restart each in turn."""
        self.not_done = [unit.name for unit in chosen]
        try:
            for unit in chosen:
                self._restart(unit)
                self.restarted.append(unit.name)
                self.not_done.remove(unit.name)
        except OperationError as error:
            error.details = {**self._so_far(), **error.details}
            raise
        if self.killed:
            raise killed_in_drain(self.tried, self.killed, self._so_far())
        return RollResult(self.restarted, self.unchanged, self.reasons)

    def _so_far(self) -> dict[str, Any]:
        return {
            "changed": bool(self.restarted),
            "restarted": self.restarted,
            "unchanged": self.unchanged,
            "not_restarted": self.not_done,
            "killed": self.killed,
        }

    def _restart(self, before: Unit) -> None:
        clock, name = self.manager.clock, before.name
        since = clock.wall()
        answer = self.manager.restart_no_wait(name)
        if not answer.ok:
            raise self._stuck(name, f"the restart of {name} failed: {answer.problem}")
        drained_by = clock.monotonic() + drain_limit([before], self.request.drain_timeout)
        up_by: float | None = None
        while True:
            now = self.manager.read_fleet(self.request.fleet).unit(name)
            if now is None or now.phase is Phase.DOWN:
                report = failure_report(now, name, self.manager, since)
                raise self._stuck(name, f"{name} did not come back", report)
            if now.phase is Phase.RUNNING and now.active_enter_at > before.active_enter_at:
                break
            # Not started anew: what is seen is still the worker from before, on its way out.
            if before.phase is not Phase.DOWN and now.inactive_exit_at == before.inactive_exit_at:
                if clock.monotonic() >= drained_by:
                    raise self._stuck(name, f"{name} still drains; it is started again when it is done")
            else:
                up_by = up_by or clock.monotonic() + self.request.wait_timeout
                if clock.monotonic() >= up_by:
                    report = failure_report(now, name, self.manager, since)
                    raise self._stuck(name, f"{name} does not consume after {self.request.wait_timeout:g} s", report)
            clock.sleep(_POLL)
        took = drain_seconds(now)
        if before.phase is Phase.RUNNING and took is not None and took >= before.stop_timeout:
            self.killed.append(name)

    def _stuck(self, name: str, why: str, report: str = "") -> OperationError:
        rest = [other for other in self.not_done if other != name]
        return OperationError(
            self.tried,
            why,
            f"Restarted before it: {', '.join(self.restarted) or 'none'}. "
            f"Left running as they were: {', '.join(rest) or 'none'}. "
            f"See {self.manager.log_command(name)}, put that right and run this again."
            + (f"\n{report}" if report else ""),
            changed=True,
        )
