# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers as pods of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING, DRAINING, FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    LOCK_WAIT,
    Place,
    RollRequest,
    RollResult,
    ScaleRequest,
    ScaleResult,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api, HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Ask, Asked, ask_by
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets, FleetState
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import is_pod_of
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.tools import Tools

if TYPE_CHECKING:
    from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause

REMEMBERED_FOR = 300.0
"""Seconds for which the name of a pod that is gone is still known: its last words may come late."""


def open_kubernetes(place: Place) -> KubernetesPlatform:
    """Return the platform of a cluster. Nothing is sent yet.

    :raises OperationError: when there is no way to it.
    """
    connection = connect(place)
    return KubernetesPlatform(HttpApi(connection), ask_workers=place.ask_workers)


@dataclass(frozen=True)
class _Look:
    """What was read of a namespace at C(at), by fleet; C(problem) where that could not be read."""

    at: float
    readings: dict[str, FleetReading]
    problem: OperationError | None = None


class KubernetesPlatform:
    """A worker's id is the name of its pod.

    What scales and what restarts is loaded when it is asked for: a module compiles all that it loads in each run.
    """

    def __init__(
        self, api: Api, *, ask_workers: bool = True, ask_before_scaling: Ask | None = None, clock: Clock = REAL_CLOCK
    ) -> None:
        """Prepare to read and to act.

        :param ask_workers: whether each reading asks every worker what it does. Who hears their heartbeats need not.
        :param ask_before_scaling: tells which workers are idle when some are to go; by default they are asked.
        """
        self.place = f"namespace {api.namespace} of {api.server}"
        self._clock = clock
        self._ask = ask_by(api, api.namespace)
        self._ask_workers = ask_workers
        self._tools = Tools(Fleets(api, api.namespace), ask_before_scaling or self._ask, clock, self.place)
        self._nodes: dict[str, tuple[str, float]] = {}

    def require_access(self, tried: str) -> None:
        """Refuse early what could not be done later."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.access import (
            TO_READ,
            TO_SCALE,
            require_rights,
        )

        fleets = self._tools.fleets
        require_rights(fleets.api, fleets.namespace, (*TO_READ, *TO_SCALE), tried)

    def fleets(self) -> list[str]:
        """The names of all fleets of the namespace."""
        return self._tools.fleets.names()

    def read(self, fleet: str) -> FleetReading:
        """Read a fleet; what cannot be read is part of the answer."""
        return self.reader()(fleet)

    def reader(self) -> Callable[[str], FleetReading]:
        """Return what reads the fleets of the namespace, with as many calls for many as for one.

        They are read all at once, when it is asked for the first one.
        """
        looks: list[_Look] = []

        def read(fleet: str) -> FleetReading:
            if not looks:
                looks.append(self._look())
            [look] = looks
            if look.problem is None:
                return look.readings.get(fleet) or self._unread(
                    look.at, f"{self.place} has no fleet {fleet}", exists=False
                )
            exists = False if getattr(look.problem, "status", None) == 404 else None
            return self._unread(look.at, str(look.problem), exists)

        return read

    def fleet_of(self, name: str) -> str | None:
        """The fleet that the worker of this name belongs to, if its pod was seen here.

        The form of a name tells nothing: another cluster on the same broker gives names of the same form.
        """
        known = self._nodes.get(name)
        return known[0] if known else None

    def is_worker(self, fleet: str, worker: str) -> bool:
        """Whether a worker of the fleet can have this id."""
        return is_pod_of(fleet, worker)

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        """Bring a fleet to a number of workers, or with C(check) only say what would be done.

        C(lock_wait) has no meaning: who comes second finds another number than he decided on.
        """
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import scaling

        return scaling.scale(request, self._tools, check)

    def restart(self, fleet: str, worker: str, *, lock_wait: float = LOCK_WAIT) -> None:
        """Have one worker restarted, drained, and do not wait for it."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import restarting

        restarting.restart(fleet, worker, self._tools)

    def roll(self, request: RollRequest, *, check: bool = False) -> RollResult:
        """Restart workers one at a time, or with C(check) only say which would be."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import restarting

        return restarting.roll(request, self._tools, check)

    def paused(self, fleet: str) -> Pause | None:
        """What somebody holds the fleet at, over or not."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import pausing

        return pausing.pause_of(self._tools.fleets.read(fleet), self.place)

    def require_sizable(self, fleet: str, tried: str) -> None:
        """Refuse a fleet that is not there, or that an HPA or KEDA sizes."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import pausing

        pausing.require_sizable(self._tools.fleets, fleet, self.place, tried)

    def pause(self, fleet: str, pause: Pause | None) -> None:
        """Have whoever sizes the fleet hold it at this; None lifts it."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import pausing

        pausing.set_pause(self._tools.fleets, fleet, pause)

    def _look(self) -> _Look:
        at = self._clock.wall()
        try:
            states = self._tools.fleets.read_all()
            if not states:
                self._tools.fleets.require_namespace()
        except OperationError as error:
            return _Look(at, {}, error)
        self._remember(states.values())
        return _Look(at, self._readings_of(states, at))

    def _readings_of(self, states: dict[str, FleetState], at: float) -> dict[str, FleetReading]:
        # Whoever only scales does without these.
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.reading import reading_of
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.usages import (
            Usages,
            read_usages,
        )

        fleets = self._tools.fleets
        busy = [pod for state in states.values() for pod in state.pods if pod.phase in (CONSUMING, DRAINING)]
        usages = read_usages(fleets.api, fleets.namespace) if busy else Usages({})
        asked = self._asked(busy)
        return {fleet: reading_of(state, self.place, at, usages, asked) for fleet, state in states.items()}

    def _asked(self, busy: Iterable[Pod]) -> Asked:
        return self._ask(busy) if self._ask_workers else {}

    def _unread(self, at: float, problem: str, exists: bool | None) -> FleetReading:
        return FleetReading(self.place, at, None, problem, exists=exists)

    def _remember(self, states: Iterable[FleetState]) -> None:
        now = self._clock.monotonic()
        self._nodes.update((pod.node, (state.fleet, now)) for state in states for pod in state.pods)
        self._nodes = {node: known for node, known in self._nodes.items() if now - known[1] < REMEMBERED_FOR}
