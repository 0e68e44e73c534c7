# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out what was decided: scale a fleet, start workers again that are down, restart one that is stuck."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import Cycle
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_log import EventLog
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.fleet_watch import FleetWatch, Look
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import DRAINING, ENDING, STARTING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Platform, ScaleRequest, nothing_done

BUSY = "fleet_busy"
"""Event: somebody else scales, restarts or deploys a fleet, so the autoscaler waits."""

LOCK_WAIT = 1.0
"""Seconds to wait for somebody else who scales the fleet: it is asked for again at the next look."""


class Acting:
    """Acts on a platform, and notes in each fleet's watch what came of it."""

    def __init__(self, platform: Platform, log: EventLog, save: Callable[[], bool]) -> None:
        """Prepare to act.

        :param save: keeps what all watches remember, and returns whether one may act on it.
        """
        self._platform = platform
        self._log = log
        self._save = save

    def act(self, watch: FleetWatch, look: Look) -> None:
        """Carry out what was decided at a look, or what is to be done where nothing was."""
        wanted, cycle = look.host.wanted, look.cycle
        workers = cycle.workers_to_have(wanted)
        if workers is None or wanted is None:
            return
        if workers != wanted or cycle.due:
            self._scale(watch, cycle, workers, wanted)
            return
        if watch.fleet.stuck.restart and look.stuck:
            self._restart_stuck(watch, look)
        if look.wanted != cycle.seen.workers:
            # It only takes those that are down and not to be started yet: no cooldown begins.
            watch.remembered = cycle.if_withdrawn

    def _scale(self, watch: FleetWatch, cycle: Cycle, workers: int, wanted: int) -> None:
        """Ask for so many workers. Who asks for as many as are wanted has those started again that are down."""
        starts_only = workers == wanted
        # A fleet that grows takes along those that are down, due or not.
        again = cycle.due if starts_only else list(cycle.seen.down) if workers > wanted else []
        noted = cycle.started_again(again)
        watch.remembered = noted.after
        # Before it is done: who is killed in the middle must find the cooldown begun.
        if not self._save():
            watch.remembered = cycle.if_withdrawn
            return
        request = ScaleRequest(watch.fleet.name, workers, wanted, wait=False, lock_wait=LOCK_WAIT, by_daemon=True)
        try:
            result = self._platform.scale(request)
        except OperationError as error:
            if nothing_done(error):
                # Starts that fail count all the same, else they would be tried at each look.
                watch.remembered = (noted if starts_only else cycle).if_withdrawn
            self._note_failure(watch, "start_again" if starts_only else "scale", error)
            return
        self._log.problem(BUSY, "", watch.fleet.name)
        if not starts_only:
            self._log.event(
                "scaled",
                fleet=watch.fleet.name,
                before=result.before,
                after=result.after,
                started=result.started,
                stopped=result.stopped,
            )
        self._tell_started_again(watch, noted, again)

    def _tell_started_again(self, watch: FleetWatch, cycle: Cycle, names: Sequence[str]) -> None:
        """Count and tell of workers that were started again, if any."""
        if not names:
            return
        watch.started_again += len(names)
        why = {name: cycle.seen.down[name] for name in names}
        starts = {name: cycle.after.observed.down[name].starts for name in names}
        self._log.event("started_again", fleet=watch.fleet.name, workers=why, starts=starts)

    def _restart_stuck(self, watch: FleetWatch, look: Look) -> None:
        """Restart one stuck worker, the one that has idled longest, when none is on its way up or out.

        One that its platform has given up does not come up by being waited for.
        """
        if any(worker.phase in (STARTING, ENDING, DRAINING) for worker in look.workers):
            return
        if not self._save():
            return
        stuck = max((worker for worker in look.workers if worker.name in look.stuck), key=lambda w: look.stuck[w.name])
        try:
            self._platform.restart(watch.fleet.name, stuck.id, lock_wait=LOCK_WAIT)
        except OperationError as error:
            self._note_failure(watch, "restart", error, worker=stuck.name)
            return
        self._log.problem(BUSY, "", watch.fleet.name)
        self._log.event("stuck_restarted", fleet=watch.fleet.name, worker=stuck.name, idle=look.stuck[stuck.name])

    def _note_failure(self, watch: FleetWatch, what: str, error: OperationError, **details: str) -> None:
        """Count and tell what could not be done; that somebody else is at the fleet is no failure, and told once."""
        if error.details.get("busy"):
            self._log.problem(BUSY, str(error), watch.fleet.name)
            return
        self._log.problem(BUSY, "", watch.fleet.name)
        watch.errors[what] += 1
        self._log.event(f"{what}_failed", fleet=watch.fleet.name, **details, error=str(error))
