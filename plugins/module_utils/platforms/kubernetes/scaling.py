# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a fleet of a cluster to an exact number of workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import POLICY
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    ScaleRequest,
    ScaleResult,
    absent_fleet,
    unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.draining import Draining
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import (
    REFUSED_FOR,
    FleetState,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    SCALED_BY,
    deployments,
    object_name,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.owners import refuse_second_owner
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.reports import (
    failure_report,
    log_command,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.tools import Tools
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.victims import prefer, stop_order
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import Status

UNDO_TIMEOUT = 30.0
"""Seconds for the cluster to take back pods that never consumed."""

_ATTEMPTS = 5
_REPORTS_SHOWN = 5
_POLL_FIRST = 0.2
_POLL_MOST = 2.0


def scale(request: ScaleRequest, tools: Tools, check: bool) -> ScaleResult:
    """Bring the fleet to C(request.workers), or with C(check) say what would be done.

    There is no lock: the number is changed only on the version of the Deployment that it was decided on.

    :raises OperationError: when the fleet is unknown, the count is not the expected one, something else scales it, the
        cluster cannot be asked, or the number was not reached; its details tell what was and what was not done.
    """
    tried = f"scale fleet {request.fleet} to {request.workers}"
    state = tools.fleets.read(request.fleet)
    if not state.exists and not check:
        raise unknown_fleet(tried, request.fleet, tools.fleets.names(), tools.place)
    found = state.replicas
    _require_say(request, state, tried)
    if state.exists and request.expected_workers not in (None, found):
        raise OperationError(
            tried,
            f"{request.expected_workers} workers were expected, but there are {found}",
            "Nothing was changed. Decide again on the present number.",
            before=found,
            after=found,
        )
    if request.keep and found:
        request = replace(request, workers=found)
    scaling = _Scaling(request, tools, state)
    return scaling.foretell() if check else scaling.carry_out()


def _require_say(request: ScaleRequest, state: FleetState, tried: str) -> None:
    """Return when whoever asks has a say. What is noted later changes the version, and so is seen before the number is.

    :raises OperationError: when the daemon asks, and the Deployment notes that somebody else sets the number.
    """
    if request.by_daemon and state.scaled_by not in ("", POLICY):
        raise OperationError(
            tried,
            f"its Deployment notes that {state.scaled_by} sets the number of its workers ({SCALED_BY})",
            "Nothing was changed. The next deployment with celery_worker_autoscaling: policy gives it back.",
            before=state.replicas,
            after=state.replicas,
        )


@dataclass
class _Scaling:
    """One change of the number on its way; holds what has been done so far, for the result or the error."""

    request: ScaleRequest
    tools: Tools
    state: FleetState
    changed: bool = False
    told_at: float = 0.0
    unknown: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    victims: list[Pod] = field(default_factory=list)
    seen: FleetState | None = None

    @property
    def tried(self) -> str:
        return f"scale fleet {self.request.fleet} from {self.state.replicas} to {self.request.workers} workers"

    @property
    def changes(self) -> bool:
        return self.state.exists and self.request.workers != self.state.replicas

    def foretell(self) -> ScaleResult:
        """Say what would be done."""
        workers, before = self.request.workers, [pod.name for pod in self.state.current]
        if not self.state.exists:
            self.warnings.append(absent_fleet(self.request.fleet, self.tools.place))
        elif self.changes:
            self._refuse_second_owner()
        stop = [pod.name for pod in self._victims()] if workers < self.state.replicas else []
        # The cluster gives the names when it makes the pods.
        new = [f"{object_name(self.request.fleet)}-(new {n + 1})" for n in range(workers - self.state.replicas)]
        kept = [name for name in before if name not in stop]
        return replace(
            self._result(self.state),
            changed=workers != self.state.replicas,
            after=workers,
            started=new,
            stopped=stop,
            workers_after=[*kept, *new],
        )

    def carry_out(self) -> ScaleResult:
        """Do it all, then compare what the cluster reports with what was asked for."""
        request = self.request
        if self.changes:
            self._refuse_second_owner()
            if request.workers < self.state.replicas:
                self.victims = self._victims()
                # Where all go, there is nothing to prefer.
                if request.workers:
                    prefer(self.victims, self.state.current, self.tools.fleets)
            self._set(request.workers, self.state)
            self.changed = True
            self.told_at = self.tools.clock.monotonic()
        if not request.wait:
            # Who goes is the cluster's choice within a moment, by what was preferred.
            stopped = [pod.name for pod in self.victims]
            kept = [pod.name for pod in self.state.current if pod.name not in stopped]
            return replace(self._result(self.state), after=request.workers, stopped=stopped, workers_after=kept)
        try:
            settled = not self.changes and self._settled(self.state)
            self.seen = self.state if settled else self._wait_until(self._settled)
            self._wait_up()
            self._wait_drained()
            return self._compare()
        except OperationError as error:
            error.details = {**self._so_far(), **error.details}
            raise

    # What is done before the number is changed.

    def _refuse_second_owner(self) -> None:
        fleets = self.tools.fleets
        refuse_second_owner(fleets.api, fleets.namespace, self.request.fleet, self.tried, self.state.replicas)

    def _victims(self) -> list[Pod]:
        """Choose the pods that are to go: as many as there are above the new number."""
        current = self.state.current
        asked = self.tools.ask(pod for pod in current if pod.phase == CONSUMING)
        self.unknown = {name: str(said) for name, said in asked.items() if not isinstance(said, Status)}
        # Those that a quota forbids are not there to go.
        return stop_order(current, asked)[: max(len(current) - self.request.workers, 0)]

    def _set(self, workers: int, state: FleetState) -> None:
        """Set the number, if it is still what it was; that other things of the Deployment change does not matter."""
        fleets = self.tools.fleets
        path = deployments(fleets.namespace, self.request.fleet, "scale")
        now = state
        for attempt in range(_ATTEMPTS):
            body = {"metadata": {"resourceVersion": now.version}, "spec": {"replicas": workers}}
            try:
                fleets.api.patch(path, body)
                return
            except Refused as error:
                if error.status is None:
                    # It may have arrived.
                    error.details["unsure"] = True
                if error.status != 409 or attempt == _ATTEMPTS - 1:
                    raise
            now = fleets.read(self.request.fleet)
            _require_say(self.request, now, self.tried)
            if not now.exists or now.uid != state.uid or now.replicas != state.replicas:
                raise OperationError(
                    self.tried,
                    f"somebody else set it to {now.replicas} workers meanwhile" if now.exists else "the fleet is gone",
                    "Nothing was changed. Decide again on the present number.",
                    before=now.replicas,
                    after=now.replicas,
                )

    # What is waited for afterwards.

    def _wait_until(
        self, done: Callable[[FleetState], bool], timeout: float | None = None, workers: int | None = None
    ) -> FleetState:
        """Look until C(done) says so, and return what was seen then, or when the time was over.

        :raises OperationError: when somebody else changes the number meanwhile.
        """
        clock = self.tools.clock
        deadline = clock.monotonic() + (self.request.wait_timeout if timeout is None else timeout)
        pause = _POLL_FIRST
        while True:
            now = self.tools.fleets.read(self.request.fleet)
            wanted = self.request.workers if workers is None else workers
            if not now.exists or now.replicas != wanted:
                raise OperationError(
                    self.tried,
                    f"somebody else set it to {now.replicas} workers meanwhile" if now.exists else "the fleet is gone",
                    "Decide again on the present number.",
                )
            remaining = deadline - clock.monotonic()
            if done(now) or remaining <= 0:
                return now
            clock.sleep(min(pause, max(remaining, 0.01)))
            pause = min(_POLL_MOST, pause * 1.5)

    @property
    def _surplus(self) -> int:
        """How many more there were than there were to be: while a rollout replaces workers."""
        return max(len(self.state.current) - self.state.replicas, 0)

    def _settled(self, now: FleetState) -> bool:
        """Whether what is there is what it comes to: all up and none too many, or no more to be hoped for."""
        workers = self.request.workers
        if len(now.current) > workers + (0 if now.rolled_out else self._surplus):
            return False
        return len(now.consuming) >= workers or self._hopeless(now)

    def _hopeless(self, now: FleetState) -> bool:
        """Whether waiting longer does not help: whoever is not up crashes, or none more can be made."""
        not_up = [pod for pod in now.current if pod.phase != CONSUMING]
        if not all(pod.hopeless for pod in not_up):
            return False
        if len(now.current) >= self.request.workers:
            return True
        return bool(now.refused) and self.tools.clock.monotonic() - self.told_at >= REFUSED_FOR

    def _wait_up(self) -> None:
        now = self.seen
        if now is not None and len(now.consuming) < self.request.workers:
            self._give_up_on([pod for pod in now.current if pod.phase != CONSUMING], now)

    def _give_up_on(self, failed: list[Pod], now: FleetState) -> None:
        fleets, workers = self.tools.fleets, self.request.workers
        missing = workers - len(now.current)
        before = {pod.name for pod in self.state.current}
        undo = [pod for pod in failed if pod.name not in before]
        back_to = max(workers - len(undo) - max(missing, 0), self.state.replicas)
        reports = [failure_report(fleets.api, fleets.namespace, pod) for pod in failed[:_REPORTS_SHOWN]]
        reports += [pod.name for pod in failed[_REPORTS_SHOWN:]]
        why = f"{len(failed) + max(missing, 0)} of its workers did not start"
        if not self._hopeless(now):
            why += f" within {self.request.wait_timeout:g} s"
        if missing > 0:
            why += f"; {missing} could not be made" + (f": {now.refused}" if now.refused else "")
        outcome = [f"Started: {', '.join(self._started(now)) or 'none'}."]
        if self.changed and back_to < workers:
            outcome.append(self._undo(back_to, undo, now))
        left = [pod.name for pod in failed if pod not in undo]
        if left:
            outcome.append(f"These were there before, and the cluster tries them again: {', '.join(left)}.")
        see = log_command(fleets.namespace, failed[0]) if failed else self._describe()
        outcome.append(f"See {see}, put that right and scale again.")
        not_started = [pod.name for pod in failed]
        raise OperationError(self.tried, why, "\n".join([" ".join(outcome), *reports]), not_started=not_started)

    def _undo(self, back_to: int, undo: list[Pod], now: FleetState) -> str:
        """Take back those that did not come up: the cluster deletes pods that are not ready first."""
        try:
            self._set(back_to, now)
            wait = self._wait_until(lambda then: len(then.current) <= back_to, UNDO_TIMEOUT, back_to)
        except OperationError as error:
            return f"They were not taken back: {error.why}."
        self.seen = wait
        names = ", ".join(pod.name for pod in undo if pod.name not in {each.name for each in wait.current})
        return f"Set back to {back_to} workers" + (f", so these are gone: {names}." if names else ".")

    def _describe(self) -> str:
        namespace, name = self.tools.fleets.namespace, object_name(self.request.fleet)
        return f"`kubectl -n {namespace} describe deployment {name}`"

    def _wait_drained(self) -> None:
        now = self.seen or self.state
        stopped = self._stopped(now)
        self._note_choice(stopped, now)
        victims = {pod.name: pod for pod in self.state.current if pod.name in stopped}
        if self.request.workers == 0:
            # Whoever wants none at all may take away what they run on: those count that others told to stop.
            victims.update((pod.name, pod) for pod in self.state.draining)
        if victims:
            draining = Draining(victims, self.tools.clock, self.told_at or self.tools.clock.monotonic())
            limit = self.request.drain_timeout
            fleets = self.tools.fleets
            self.warnings += draining.wait(self.request.fleet, fleets, self.tools.ask, self.tried, limit)
            self.seen = None

    def _note_choice(self, stopped: list[str], now: FleetState) -> None:
        """Tell when the cluster took others than were preferred, as where it had not heard of that yet."""
        stayed = [pod.name for pod in self.victims if pod.name not in stopped]
        others = [name for name in stopped if name not in {pod.name for pod in self.victims}]
        if self.victims and stayed and others and now.rolled_out:
            self.warnings.append(
                f"The cluster told {', '.join(others)} to stop in place of {', '.join(stayed)}, which had less to do. "
                "They drain like any other."
            )

    def _compare(self) -> ScaleResult:
        now = self.seen or self.tools.fleets.read(self.request.fleet)
        if not now.exists or now.replicas != self.request.workers:
            raise OperationError(
                self.tried,
                f"there are {now.replicas} workers afterwards",
                "Somebody else may have changed them meanwhile. Scale again.",
            )
        seconds = {pod.name: pod.start_seconds for pod in now.current if pod.name in self._started(now)}
        result = self._result(now)
        return replace(
            result, start_seconds={name: round(took, 3) for name, took in seconds.items() if took is not None}
        )

    # What there is to say of it.

    def _started(self, now: FleetState) -> list[str]:
        before = {pod.name for pod in self.state.current}
        return [pod.name for pod in now.consuming if pod.name not in before] if self.changed else []

    def _stopped(self, now: FleetState) -> list[str]:
        left = {pod.name for pod in now.current}
        return [pod.name for pod in self.state.current if pod.name not in left] if self.changed else []

    def _so_far(self) -> dict[str, Any]:
        done: dict[str, Any] = {"changed": self.changed, "before": self.state.replicas}
        try:
            now = self.tools.fleets.read(self.request.fleet)
        except OperationError:
            return {**done, "started": [], "stopped": [], "after": None, "draining": None, "unsure": self.changed}
        started, stopped = self._started(now), self._stopped(now)
        done = {**done, "started": started, "stopped": stopped, "after": now.replicas}
        # Nothing is changed where all of it was taken back.
        done["changed"] = self.changed and bool(started or stopped or now.replicas != self.state.replicas)
        return {**done, "draining": [pod.name for pod in now.draining]}

    def _result(self, now: FleetState) -> ScaleResult:
        return ScaleResult(
            changed=self.changed,
            before=self.state.replicas,
            after=now.replicas,
            started=self._started(now),
            stopped=self._stopped(now),
            draining=[pod.name for pod in now.draining],
            workers_before=[pod.name for pod in self.state.current],
            workers_after=[pod.name for pod in now.current],
            unknown=self.unknown,
            warnings=self.warnings,
        )
