# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the workers of a fleet in a cluster one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    RollRequest,
    RollResult,
    absent_fleet,
    killed_in_drain,
    unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.draining import Draining
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import FleetState
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import object_name, pods
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.reports import (
    describe,
    failure_report,
    log_command,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.tools import Tools

_OBSERVED_WITHIN = 30.0
_POLL_FIRST = 0.2
_POLL_MOST = 2.0


def restart(fleet: str, worker: str, tools: Tools) -> None:
    """Have one worker replaced, drained, and do not wait for it.

    :param worker: name of its pod.
    :raises OperationError: when it does not run, while another worker of the fleet is on its way up, or when the
        cluster cannot be asked or refuses.
    """
    tried = f"restart {worker}"
    state = tools.fleets.read(fleet)
    if not state.exists:
        raise unknown_fleet(tried, fleet, tools.fleets.names(), tools.place)
    pod = state.pod(worker)
    if pod is None or pod.phase != CONSUMING:
        why = f"it is {describe(pod)}"
        raise OperationError(tried, why, "Nothing was changed. Only a running worker needs it.")
    # One at a time, whoever asks: a fault of the app would else take worker after worker out of a fleet that works.
    if len(state.consuming) < state.replicas:
        others = [other.name for other in state.current if other.phase != CONSUMING]
        raise OperationError(
            tried,
            f"{', '.join(others) or f'one of its {state.replicas} workers'} is not up yet",
            "Nothing was changed. Try again when the fleet is complete.",
        )
    _delete(pod, tools)


def roll(request: RollRequest, tools: Tools, check: bool) -> RollResult:
    """Restart the fleet's workers one after the other, or with C(check) say which would be.

    Those with another template than the newest are replaced by the Deployment itself, and are waited for. With all of
    them, each is deleted, drains, and the next one follows when the one in its place consumes.

    :raises OperationError: at the first worker that does not come back; the others are left as they are. Also when the
        fleet is unknown or the cluster cannot be asked.
    """
    tried = f"restart the workers of fleet {request.fleet}"
    state = tools.fleets.read(request.fleet)
    if not state.exists and check:
        return RollResult([], [], {}, [absent_fleet(request.fleet, tools.place)])
    if not state.exists:
        raise unknown_fleet(tried, request.fleet, tools.fleets.names(), tools.place)
    if request.only_outdated and state.paused:
        name = object_name(request.fleet)
        raise OperationError(
            tried,
            f"the rollout of the Deployment {name} is paused, so no worker gets another configuration",
            f"No worker was touched. Run `kubectl -n {tools.fleets.namespace} rollout resume deployment {name}`.",
        )
    state = _once_observed(state, tools) if request.only_outdated else state
    newest = tools.fleets.newest_template(state) if request.only_outdated else ""
    judged = {pod.name: _judged(pod, request, newest) for pod in state.current}
    chosen = [pod for pod in state.current if judged[pod.name][0]]
    unchanged = [name for name, (restarts, _reason) in judged.items() if not restarts]
    reasons = {name: reason for name, (_restarts, reason) in judged.items()}
    if check:
        return RollResult([pod.name for pod in chosen], unchanged, reasons)
    return _Round(request, tools, tried, state, unchanged, reasons).go_through(chosen)


def _once_observed(state: FleetState, tools: Tools) -> FleetState:
    """Return the fleet when the cluster has taken note of its template: before, nobody looks outdated."""
    deadline, pause = tools.clock.monotonic() + _OBSERVED_WITHIN, _POLL_FIRST
    while not state.observed:
        if tools.clock.monotonic() >= deadline:
            raise OperationError(
                f"tell which workers of fleet {state.fleet} are outdated",
                f"the cluster has not taken note of its Deployment for {_OBSERVED_WITHIN:g} s",
                "No worker was touched. See whether the cluster's controllers run, and try again.",
            )
        tools.clock.sleep(pause)
        pause = min(_POLL_MOST, pause * 1.5)
        state = tools.fleets.read(state.fleet)
    return state


def _judged(pod: Pod, request: RollRequest, newest: str) -> tuple[bool, str]:
    """Whether a worker is to be restarted, and why or why not."""
    if not request.only_outdated:
        return True, "all were asked for"
    if pod.template == newest:
        return False, "it has the present configuration"
    return True, "it was started with another configuration"


def _delete(pod: Pod, tools: Tools) -> None:
    # Another pod of this name would be another worker.
    tools.fleets.api.delete(pods(tools.fleets.namespace, pod.name), {"preconditions": {"uid": pod.uid}})


@dataclass
class _Round:
    """One way through the fleet; holds what has been done so far, for the result or the error."""

    request: RollRequest
    tools: Tools
    tried: str
    state: FleetState
    unchanged: list[str]
    reasons: dict[str, str]
    restarted: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    touched: bool = False

    def go_through(self, chosen: list[Pod]) -> RollResult:
        """Restart each in turn."""
        self.not_done = [pod.name for pod in chosen]
        try:
            if self.request.only_outdated:
                self._wait_for_rollout(chosen)
            else:
                for pod in chosen:
                    self._replace(pod)
        except OperationError as error:
            error.details = {**self._so_far(), **error.details}
            raise
        if self.killed:
            raise killed_in_drain(self.tried, self.killed, self._so_far())
        return RollResult(self.restarted, self.unchanged, self.reasons, self.warnings)

    def _so_far(self) -> dict[str, Any]:
        return {
            "changed": self.touched,
            "restarted": self.restarted,
            "unchanged": self.unchanged,
            "not_restarted": self.not_done,
            "killed": self.killed,
        }

    def _done(self, name: str) -> None:
        self.restarted.append(name)
        self.not_done.remove(name)

    def _wait_for_rollout(self, outdated: list[Pod]) -> None:
        """Wait until the Deployment has replaced them all, each worker anew having its own time."""
        clock = self.tools.clock
        left = {pod.name: pod for pod in outdated}
        told = dict.fromkeys(left, clock.monotonic())
        deadline, pause = clock.monotonic() + self.request.wait_timeout, _POLL_FIRST
        while left:
            now = self.tools.fleets.read(self.request.fleet)
            gone = [name for name in left if (pod := now.pod(name)) is None or not pod.current]
            for name in gone:
                self._done(name)
                told[name] = clock.monotonic()
                del left[name]
                deadline, pause = clock.monotonic() + self.request.wait_timeout, _POLL_FIRST
            self.touched = self.touched or bool(gone)
            fresh = [pod for pod in now.current if pod.name not in told and pod.name not in self.unchanged]
            self._require_hope(next(iter(left), ""), fresh, clock.monotonic() >= deadline and bool(left))
            if left:
                clock.sleep(pause)
                pause = min(_POLL_MOST, pause * 1.5)
        self._wait_complete("")
        self._wait_drained({pod.name: pod for pod in outdated}, min(told.values(), default=0.0))

    def _replace(self, pod: Pod) -> None:
        clock, told_at = self.tools.clock, self.tools.clock.monotonic()
        try:
            _delete(pod, self.tools)
        except Refused as error:
            # Gone or replaced by itself since: nothing is left to restart.
            if error.status not in (404, 409):
                raise
        self.touched = True
        known = {each.name for each in self.state.current}
        deadline, pause = clock.monotonic() + self.request.wait_timeout, _POLL_FIRST
        while True:
            now = self.tools.fleets.read(self.request.fleet)
            found = now.pod(pod.name)
            if (found is None or found.uid != pod.uid or not found.current) and len(now.consuming) >= now.replicas:
                break
            fresh = [each for each in now.current if each.name not in known]
            self._require_hope(pod.name, fresh, clock.monotonic() >= deadline)
            clock.sleep(pause)
            pause = min(_POLL_MOST, pause * 1.5)
        # What it still has it may finish beside the next one: the fleet is complete without it.
        self._done(pod.name)
        self.state = now
        self._wait_drained({pod.name: pod}, told_at)

    def _wait_complete(self, name: str) -> None:
        clock = self.tools.clock
        deadline, pause = clock.monotonic() + self.request.wait_timeout, _POLL_FIRST
        while True:
            now = self.tools.fleets.read(self.request.fleet)
            if len(now.consuming) >= now.replicas:
                return
            not_up = [pod for pod in now.current if pod.phase != CONSUMING]
            self._require_hope(name, not_up, clock.monotonic() >= deadline)
            clock.sleep(pause)
            pause = min(_POLL_MOST, pause * 1.5)

    def _wait_drained(self, victims: dict[str, Pod], told_at: float) -> None:
        tools = self.tools
        draining = Draining(victims, tools.clock, told_at)
        limit = self.request.drain_timeout
        try:
            self.warnings += draining.wait(self.request.fleet, tools.fleets, tools.ask, self.tried, limit)
        except OperationError as error:
            if "killed" not in error.details:
                raise
            self.killed += error.details["killed"]

    def _require_hope(self, name: str, fresh: list[Pod], late: bool) -> None:
        """Go on waiting, unless who is to take a worker's place crashes, or takes too long.

        :param fresh: the workers that have come since.
        """
        not_up = [pod for pod in fresh if pod.phase != CONSUMING]
        if not late and not any(pod.hopeless for pod in not_up):
            return
        fleets = self.tools.fleets
        rest = [other for other in self.not_done if other != name]
        reports = [failure_report(fleets.api, fleets.namespace, pod) for pod in not_up[:1]]
        place = f" in place of {name}" if name else ""
        why = f"{not_up[0].name} did not come up{place}" if not_up else f"no worker came up{place}"
        if late:
            why += f" within {self.request.wait_timeout:g} s"
        see = f"See {log_command(fleets.namespace, not_up[0])}, put" if not_up else "Put"
        raise OperationError(
            self.tried,
            why,
            f"Restarted before it: {', '.join(self.restarted) or 'none'}. "
            f"Left running as they were: {', '.join(rest) or 'none'}. "
            + "\n".join([f"{see} that right and run this again.", *reports]),
            changed=self.touched,
        )
