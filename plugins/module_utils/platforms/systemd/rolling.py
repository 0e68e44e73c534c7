# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the workers of a fleet one at a time, each drained before and consuming again after."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import LOCK_WAIT, fleet_lock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.configuration import (
    outdated_reason,
    wanted_fingerprint,
    wanted_fingerprint_on_disk,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.scaling import (
    drain_limit,
    failure_report,
    refuse_unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Systemd, describe
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.units import (
    FleetState,
    Phase,
    Unit,
    drain_seconds,
)

_POLL = 0.2


@dataclass(frozen=True)
class RestartRequest:
    """What is asked for; times in seconds.

    `drain_timeout` of `None` stands for as long as systemd itself allows.
    `lock_wait` is how long to wait for somebody else who scales or restarts the fleet.
    """

    fleet: str
    only_outdated: bool = True
    wait_timeout: float = 300.0
    drain_timeout: float | None = None
    lock_wait: float = LOCK_WAIT


@dataclass(frozen=True)
class RestartResult:
    """What came of it, in unit names; `reasons` says why each was restarted or left."""

    restarted: list[str]
    unchanged: list[str]
    reasons: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def restart(request: RestartRequest, systemd: Systemd, check_mode: bool) -> RestartResult:
    """Restart the fleet's workers one after the other, or in check mode say which would be.

    :raises OperationError: at the first worker that does not come back; the
        others are left as they are. Also when the fleet is unknown or systemd
        cannot be asked.
    """
    tried = f"restart the workers of fleet {request.fleet}"
    if check_mode:
        state = systemd.read_fleet(request.fleet)
        if not state.exists:
            warning = f"This host has no fleet {request.fleet} yet; check mode takes it for one of 0 workers."
            return RestartResult([], [], {}, [f"{warning} Without check mode this is an error."])
        chosen, unchanged, reasons = _choose(request, state, systemd)
        return RestartResult([unit.name for unit in chosen], unchanged, reasons)
    with fleet_lock(request.fleet, request.lock_wait):
        state = systemd.read_fleet(request.fleet)
        if not state.exists:
            raise refuse_unknown_fleet(tried, request.fleet, systemd)
        if state.needs_reload:
            systemd.reload()
            state = systemd.read_fleet(request.fleet)
        chosen, unchanged, reasons = _choose(request, state, systemd)
        if chosen and state.load_problem:
            raise OperationError(
                tried,
                f"systemd cannot start them again: {state.load_problem}",
                "No worker was touched. Look at the unit with systemd-analyze verify.",
            )
        return _Round(request, systemd, tried, unchanged, reasons).go_through(chosen)


def restart_one(fleet: str, worker: str, systemd: Systemd, lock_wait: float = LOCK_WAIT) -> None:
    """Tell systemd to restart one worker, drained, and do not wait for it.

    :param worker: name of its unit.
    :param lock_wait: seconds to wait for somebody else who scales or restarts the fleet.
    :raises OperationError: when it does not run, while another worker of the
        fleet is on its way up, or when systemd cannot be asked or refuses.
    """
    tried = f"restart {worker}"
    with fleet_lock(fleet, lock_wait):
        state = systemd.read_fleet(fleet)
        if not state.exists:
            raise refuse_unknown_fleet(tried, fleet, systemd)
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
            systemd.reload()
        # Restarts that were asked for count towards systemd's limit on starts, which is meant for crashes.
        systemd.reset_failed([worker])
        told = systemd.restart_no_wait(worker)
        if not told.ok:
            raise OperationError(tried, f"systemctl restart failed: {told.problem}", f"See journalctl -u {worker}.")


def _choose(
    request: RestartRequest, state: FleetState, systemd: Systemd
) -> tuple[list[Unit], list[str], dict[str, str]]:
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
            wanted = (
                wanted_fingerprint_on_disk(unit, systemd.unit_text(unit.name))
                if state.needs_reload
                else wanted_fingerprint(unit)
            )
            outdated = outdated_reason(unit, wanted)
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
        self, request: RestartRequest, systemd: Systemd, tried: str, unchanged: list[str], reasons: dict[str, str]
    ) -> None:
        self.request = request
        self.systemd = systemd
        self.tried = tried
        self.unchanged = unchanged
        self.reasons = reasons
        self.restarted: list[str] = []
        self.killed: list[str] = []
        self.not_done: list[str] = []

    def go_through(self, chosen: list[Unit]) -> RestartResult:
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
                "they run again, but not all of them got to finish their tasks: systemd ended "
                + ", ".join(self.killed)
                + " at TimeoutStopSec",
                "Make drain_timeout of the fleet longer than its longest task.",
                **self._so_far(),
            )
        return RestartResult(self.restarted, self.unchanged, self.reasons)

    def _so_far(self) -> dict[str, Any]:
        return {
            "changed": bool(self.restarted),
            "restarted": self.restarted,
            "unchanged": self.unchanged,
            "not_restarted": self.not_done,
            "killed": self.killed,
        }

    def _one(self, unit: Unit) -> None:
        since = time.time()
        # Restarts made by hand count towards systemd's limit on starts, which is meant for crashes.
        self.systemd.reset_failed([unit.name])
        told = self.systemd.restart_no_wait(unit.name)
        if not told.ok:
            raise self._stuck(unit, f"systemctl restart {unit.name} failed: {told.problem}")
        drained_by = _deadline(drain_limit([unit], self.request.drain_timeout))
        up_by: float | None = None
        while True:
            now = self._read(unit)
            if now is not None and _is_back(unit, now):
                self._note_kill(unit, now)
                return
            if now is None or now.phase is Phase.DOWN:
                report = failure_report(now, unit.name, self.systemd, since)
                raise self._stuck(unit, f"{unit.name} did not come back", report)
            if unit.phase is not Phase.DOWN and _is_old(unit, now):
                if drained_by is not None and time.monotonic() >= drained_by:
                    raise self._stuck(unit, f"{unit.name} still drains; systemd will start it again when it is done")
            else:
                up_by = up_by or time.monotonic() + self.request.wait_timeout
                if time.monotonic() >= up_by:
                    report = failure_report(now, unit.name, self.systemd, since)
                    why = f"{unit.name} does not consume after {self.request.wait_timeout:g} s"
                    raise self._stuck(unit, why, report)
            time.sleep(_POLL)

    def _read(self, unit: Unit) -> Unit | None:
        return self.systemd.read_fleet(self.request.fleet).unit(unit.name)

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
            f"See journalctl -u {unit.name}, put that right and run this again." + (f"\n{report}" if report else ""),
            changed=True,
        )


def _is_back(before: Unit, now: Unit) -> bool:
    return now.phase is Phase.RUNNING and now.active_enter_at > before.active_enter_at


def _is_old(before: Unit, now: Unit) -> bool:
    """Whether what is seen is still the worker from before the restart, on its way out."""
    return now.inactive_exit_at == before.inactive_exit_at


def _deadline(limit: float | None) -> float | None:
    return None if limit is None else time.monotonic() + limit
