# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a fleet of this host to an exact number of workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import status_path, unit_name, unit_template
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import LOCK_WAIT, fleet_lock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.placement import Plan, plan_scaling
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import (
    StatusUnknown,
    read_status,
    tasks_in_hand,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Answer, Systemd, describe
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.units import (
    FleetState,
    Phase,
    Unit,
    start_seconds,
)

KILLED = frozenset({"timeout", "signal", "core-dump", "oom-kill", "watchdog"})
"""Results of a stopped unit that mean its process was ended before it was done."""

DRAIN_MARGIN = 5.0
"""Seconds beyond systemd's own limit, in which it kills what is left and says so."""

UNDO_TIMEOUT = 60.0
"""Seconds for a worker that never consumed to go away again."""

_POLL_FIRST = 0.1
_POLL_MOST = 1.0
_JOURNALS_SHOWN = 5


@dataclass(frozen=True)
class ScaleRequest:
    """What is asked for; times in seconds.

    `drain_timeout` of `None` stands for as long as systemd itself allows. With
    `keep`, a fleet that has workers keeps as many as it has. `lock_wait` is how
    long to wait for somebody else who scales or restarts the fleet.
    """

    fleet: str
    workers: int
    expected_workers: int | None = None
    keep: bool = False
    wait: bool = True
    wait_timeout: float = 300.0
    drain_timeout: float | None = None
    lock_wait: float = LOCK_WAIT


@dataclass(frozen=True)
class ScaleResult:
    """What came of it: counts and unit names, `unknown` the reason by unit name."""

    changed: bool
    before: int
    after: int
    started: list[str]
    stopped: list[str]
    draining: list[str]
    units_before: list[str]
    units_after: list[str]
    unknown: dict[str, str] = field(default_factory=dict)
    start_seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def scale(request: ScaleRequest, systemd: Systemd, check_mode: bool) -> ScaleResult:
    """Bring the fleet to `request.workers`, or in check mode say what would be done.

    :raises OperationError: when the fleet is unknown, the count is not the
        expected one, systemd cannot be asked, or the number was not reached;
        its details tell what was and what was not done.
    """
    if check_mode:
        return _predict(request, systemd)
    with fleet_lock(request.fleet, request.lock_wait):
        state = _read_known(request, systemd)
        request = _settled(request, state)
        load, unknown = _load_of(state, request.workers)
        plan = plan_scaling(state, request.workers, load)
        _require_startable(request, state, plan)
        return _Scaling(request, systemd, state, plan, unknown).carry_out()


def read_loads(units: Iterable[Unit]) -> tuple[dict[int, int | None], dict[int, str]]:
    """Tasks in hand by worker number, and for those where that is unknown, why."""
    load: dict[int, int | None] = {}
    unknown: dict[int, str] = {}
    for unit in units:
        try:
            status = read_status(status_path(unit.fleet, unit.number))
            load[unit.number] = tasks_in_hand(status, unit.main_pid, time.monotonic())
        except StatusUnknown as reason:
            load[unit.number] = None
            unknown[unit.number] = str(reason)
    return load, unknown


def drain_limit(units: Iterable[Unit], asked: float | None) -> float | None:
    """Seconds to wait until `units` are gone, `None` for as long as it takes.

    :param asked: what the user wants, `None` for systemd's own limit.
    """
    if asked is not None:
        return asked
    limits = [(unit.stop_timeout, unit.stop_stages) for unit in units]
    if any(timeout is None for timeout, stages in limits):
        return None
    return max((timeout * stages for timeout, stages in limits if timeout is not None), default=0.0) + DRAIN_MARGIN


def refuse_unknown_fleet(tried: str, fleet: str, systemd: Systemd) -> OperationError:
    """The error for a fleet that this host does not have."""
    names = systemd.fleets()
    known = f"its fleets are: {', '.join(names)}" if names else "it has no fleets"
    return OperationError(
        tried,
        f"this host has no unit {unit_template(fleet)}; {known}",
        "Check the name, or deploy the fleet with the role muejam.celery.worker first.",
        fleets=names,
    )


def failure_report(unit: Unit | None, name: str, systemd: Systemd, since: float) -> str:
    """What an operator wants to know of a worker that did not come up, on several lines."""
    lines = systemd.journal_tail(name, since, failed=unit is not None and unit.phase is Phase.DOWN)
    return "\n".join([f"{name}: {describe(unit)}", *(f"    {line}" for line in lines)])


def _predict(request: ScaleRequest, systemd: Systemd) -> ScaleResult:
    state = systemd.read_fleet(request.fleet)
    warnings = []
    if state.exists:
        _require_expected(request, state)
        warnings = _warnings(state)
    else:
        warnings.append(
            f"This host has no fleet {request.fleet} yet; check mode takes it for one of 0 workers. "
            f"Without check mode this is an error."
        )
    request = _settled(request, state)
    load, unknown = _load_of(state, request.workers)
    plan = plan_scaling(state, request.workers, load)
    if state.exists:
        _require_startable(request, state, plan)
    return ScaleResult(
        changed=plan.changes,
        before=plan.before,
        after=len(plan.after),
        started=[unit_name(request.fleet, number) for number in plan.start],
        stopped=[unit_name(request.fleet, number) for number in plan.stop],
        draining=[unit.name for unit in state.draining],
        units_before=[unit.name for unit in state.current],
        units_after=[unit_name(request.fleet, number) for number in plan.after],
        unknown=unknown,
        warnings=warnings,
    )


def _read_known(request: ScaleRequest, systemd: Systemd) -> FleetState:
    state = systemd.read_fleet(request.fleet)
    if not state.exists:
        raise refuse_unknown_fleet(f"scale fleet {request.fleet} to {request.workers}", request.fleet, systemd)
    _require_expected(request, state)
    return state


def _settled(request: ScaleRequest, state: FleetState) -> ScaleRequest:
    # Under the fleet's lock, so that nobody scales it between this look and what follows from it.
    return replace(request, workers=len(state.current)) if request.keep and state.current else request


def _require_expected(request: ScaleRequest, state: FleetState) -> None:
    found = len(state.current)
    if request.expected_workers is not None and request.expected_workers != found:
        raise OperationError(
            f"scale fleet {request.fleet} to {request.workers}",
            f"{request.expected_workers} workers were expected, but there are {found}",
            "Nothing was changed. Decide again on the present number.",
            before=found,
            after=found,
        )


def _require_startable(request: ScaleRequest, state: FleetState, plan: Plan) -> None:
    if plan.start and state.load_problem:
        raise OperationError(
            f"scale fleet {request.fleet} to {request.workers}",
            f"systemd cannot start {unit_template(request.fleet)}: {state.load_problem}",
            f"Nothing was changed. Look at it with: systemd-analyze verify {unit_template(request.fleet)}",
            before=plan.before,
            after=plan.before,
        )


def _load_of(state: FleetState, workers: int) -> tuple[dict[int, int | None], dict[str, str]]:
    if workers >= len(state.current):
        return {}, {}
    load, unknown = read_loads(unit for unit in state.current if unit.phase is Phase.RUNNING)
    return load, {unit_name(state.fleet, number): reason for number, reason in unknown.items()}


def _warnings(state: FleetState) -> list[str]:
    return [
        f"{unit.name} is masked, so its number is left out; systemctl unmask gives it back."
        for unit in state.units
        if unit.masked
    ]


class _Scaling:
    """One plan on its way into systemd; holds what has been done so far, for the result or the error."""

    def __init__(
        self, request: ScaleRequest, systemd: Systemd, state: FleetState, plan: Plan, unknown: Mapping[str, str]
    ) -> None:
        self.request = request
        self.systemd = systemd
        self.state = state
        self.plan = plan
        self.unknown = dict(unknown)
        self.tried = f"scale fleet {request.fleet} from {plan.before} to {request.workers} workers"
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.problems: list[str] = []
        self.seen: FleetState | None = None
        self.enabled = Answer(0, "", "")
        self.warnings = _warnings(state)

    def carry_out(self) -> ScaleResult:
        """Do it all, then compare what systemd reports with what was asked for."""
        try:
            if self.plan.disable:
                self._disable(self._names(self.plan.disable))
            if self.plan.stop:
                self._tell_to_stop()
            if self.plan.start or (self.request.wait and self.plan.await_start):
                self._start()
            else:
                self._enable()
                self._require_enabled()
            if self.request.wait:
                self._wait_drained()
            return self._result()
        except OperationError as error:
            if "before" in error.details:
                raise
            raise OperationError(error.tried, error.why, error.next_step, **self._so_far()) from error

    def _names(self, numbers: Iterable[int]) -> list[str]:
        return [unit_name(self.request.fleet, number) for number in numbers]

    def _so_far(self) -> dict[str, Any]:
        done: dict[str, Any] = {
            "changed": bool(self.started or self.stopped),
            "before": self.plan.before,
            "started": self.started,
            "stopped": self.stopped,
        }
        try:
            state = self.systemd.read_fleet(self.request.fleet)
        except OperationError:
            return {**done, "after": None, "draining": None}
        return {**done, "after": len(state.current), "draining": [unit.name for unit in state.draining]}

    def _tell_to_stop(self) -> None:
        names = self._names(self.plan.stop)
        # Disabled first: what stops now must not come back with a reboot in the middle of its drain.
        self._disable(names)
        told = self.systemd.stop_no_wait(names)
        if not told.ok:
            raise OperationError(
                self.tried,
                f"systemctl stop failed: {told.problem}",
                "The workers it was for are not enabled any more but may run. Put that right and scale again.",
            )
        self.stopped = names
        down = [unit.name for unit in self.state.units if unit.name in names and unit.phase is Phase.DOWN]
        self.systemd.reset_failed(down)

    def _disable(self, names: list[str]) -> None:
        disabled = self.systemd.disable(names)
        if not disabled.ok:
            raise OperationError(
                self.tried,
                f"systemctl disable failed: {disabled.problem}",
                "No worker was told to stop. Put that right and scale again.",
            )

    def _start(self) -> None:
        if self.state.needs_reload:
            self.systemd.reload()
        names = self._names(self.plan.start)
        known = {unit.name for unit in self.state.units}
        again = [name for name in names if name in known]
        # A worker that was started often of late, or gave up, is refused by systemd otherwise.
        self.systemd.reset_failed(again)
        if not self.request.wait:
            answer = self.systemd.start_no_wait(names)
            if not answer.ok:
                raise OperationError(
                    self.tried, f"systemctl start failed: {answer.problem}", "Put that right and scale again."
                )
            self.started = names
            self._enable()
            self._require_enabled()
            return
        waited_for = [*names, *self._names(self.plan.await_start)]
        since = time.time()
        answer = self.systemd.start(waited_for, self.request.wait_timeout, meanwhile=self._enable)
        self.seen = self._read_afterwards()
        up = {unit.name for unit in self.seen.units if unit.phase is Phase.RUNNING}
        self.started = [name for name in names if name in up]
        failed = [name for name in waited_for if name not in up]
        if failed:
            self._give_up_on(failed, self.seen, since, answer)
        self._require_enabled()

    def _give_up_on(self, failed: list[str], state: FleetState, since: float, answer: Answer) -> None:
        reports = [
            failure_report(state.unit(name), name, self.systemd, since) if index < _JOURNALS_SHOWN else name
            for index, name in enumerate(failed)
        ]
        if any(unit is None or unit.result == "success" for unit in map(state.unit, failed)) and answer.code:
            reports.append(f"systemctl: {answer.problem}")
        wanted_before = {unit.name for unit in self.state.units if unit.enabled}
        undo = [name for name in failed if name not in wanted_before]
        left = [name for name in failed if name in wanted_before]
        undone = [self.systemd.disable(undo), self.systemd.stop(undo, UNDO_TIMEOUT)] if undo else []
        self.systemd.reset_failed(undo)
        why = f"{len(failed)} of its workers did not start"
        if answer.code is None:
            why += f" within {self.request.wait_timeout:g} s"
        outcome = [f"Started: {', '.join(self.started) or 'none'}."]
        if undo:
            outcome.append(f"Stopped again and not enabled: {', '.join(undo)}.")
        outcome += [f"That failed in part: {answer.problem}." for answer in undone if not answer.ok]
        if left:
            outcome.append(f"Enabled before and left so, systemd may try again: {', '.join(left)}.")
        outcome.append(f"See journalctl -u {failed[0]}, put that right and scale again.")
        raise OperationError(
            self.tried, why, "\n".join([" ".join(outcome), *reports]), not_started=failed, **self._so_far()
        )

    def _enable(self) -> None:
        names = self._names(self.plan.enable)
        if names:
            self.enabled = self.systemd.enable(names)

    def _read_afterwards(self) -> FleetState:
        state = self.systemd.read_fleet(self.request.fleet)
        enabled = self._names(self.plan.enable) if self.enabled.ok else []
        if any(unit.name in enabled and not unit.enabled_for_good for unit in state.units):
            # It was asked about them before they were enabled, by us or by somebody else.
            self.systemd.reload()
            state = self.systemd.read_fleet(self.request.fleet)
        return state

    def _require_enabled(self) -> None:
        if self.enabled.ok:
            return
        raise OperationError(
            self.tried,
            f"systemctl enable failed: {self.enabled.problem}",
            f"{', '.join(self._names(self.plan.enable))} would not come back after a reboot. "
            f"Put that right and scale again.",
            **self._so_far(),
        )

    def _wait_drained(self) -> None:
        victims = {unit.name: unit for unit in self.state.units if unit.name in self.stopped}
        if self.request.workers == 0:
            # Whoever wants none at all may take away what they run on: those count that others told to stop.
            victims.update((unit.name, unit) for unit in self.state.draining)
        if not victims:
            return
        limit = drain_limit(victims.values(), self.request.drain_timeout)
        deadline = None if limit is None else time.monotonic() + limit
        pause = _POLL_FIRST
        while True:
            state = self.systemd.read_fleet(self.request.fleet)
            left = [unit for unit in state.draining if unit.name in victims]
            if not left:
                break
            if deadline is not None and time.monotonic() >= deadline:
                self._still_draining(left, len(victims), limit)
            time.sleep(pause if deadline is None else min(pause, max(0.01, deadline - time.monotonic())))
            pause = min(_POLL_MOST, pause * 1.5)
        self._judge_ends(state, victims)

    def _still_draining(self, left: list[Unit], stopped: int, limit: float | None) -> None:
        load, unknown = read_loads(left)
        busy = ", ".join(f"{unit.name} ({_busy(load[unit.number], unknown.get(unit.number))})" for unit in left)
        raise OperationError(
            self.tried,
            f"{len(left)} of {stopped} stopped workers still drain after {limit:g} s: {busy}",
            "They take no new tasks, go on draining and end by themselves; systemd kills what is left at the unit's "
            "TimeoutStopSec. Wait for them, or give a longer drain_timeout next time.",
            **self._so_far(),
        )

    def _judge_ends(self, state: FleetState, victims: Mapping[str, Unit]) -> None:
        ran = {name for name, unit in victims.items() if unit.phase in (Phase.RUNNING, Phase.DRAINING)}
        ended = [unit for unit in state.units if unit.name in ran]
        killed = [unit for unit in ended if unit.result in KILLED]
        self.warnings += [
            f"{unit.name} ended with result {unit.result} while it drained; see journalctl -u {unit.name}."
            for unit in ended
            if unit.result not in KILLED and unit.result != "success"
        ]
        remembered = [unit.name for unit in state.units if unit.name in victims and unit.result != "success"]
        self.systemd.reset_failed(remembered)
        if killed:
            raise OperationError(
                self.tried,
                "the workers are gone, but not all of them got to finish their tasks: "
                + ", ".join(f"{unit.name} was killed (result {unit.result})" for unit in killed),
                f"See journalctl -u {killed[0].name}. Make drain_timeout of the fleet longer than its longest task.",
                killed=[unit.name for unit in killed],
                **self._so_far(),
            )

    def _result(self) -> ScaleResult:
        # What was read when the starts were over is as good when nothing was done since.
        nothing_since = self.seen and not self.plan.stop and not self.state.draining
        state = self.seen if self.seen and nothing_since else self._read_afterwards()
        names = [unit.name for unit in state.current]
        not_enabled = [unit.name for unit in state.current if not unit.enabled and not unit.masked]
        if len(names) != self.request.workers or not_enabled:
            raise OperationError(
                self.tried,
                f"systemd reports {len(names)} workers afterwards: {', '.join(names) or 'none'}"
                + (f"; not enabled: {', '.join(not_enabled)}" if not_enabled else ""),
                "Somebody else may have changed them meanwhile. Scale again.",
                **self._so_far(),
            )
        took = {unit.name: start_seconds(unit) for unit in state.units if unit.name in self.started}
        return ScaleResult(
            changed=self.plan.changes,
            before=self.plan.before,
            after=len(names),
            started=self.started,
            stopped=self.stopped,
            draining=[unit.name for unit in state.draining],
            units_before=[unit.name for unit in self.state.current],
            units_after=names,
            unknown=self.unknown,
            start_seconds={name: round(seconds, 3) for name, seconds in took.items() if seconds is not None},
            warnings=self.warnings,
        )


def _busy(tasks: int | None, reason: str | None) -> str:
    if tasks is None:
        return f"busy to an unknown degree: {reason}"
    return f"{tasks} task{'' if tasks == 1 else 's'} in hand"
