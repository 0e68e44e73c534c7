# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform whose workers are numbered units of the host that this runs on, started and stopped one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    LOCK_WAIT,
    THIS_HOST,
    RollRequest,
    RollResult,
    ScaleRequest,
    ScaleResult,
    unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Manager

if TYPE_CHECKING:
    from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
    from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.pauses import Pauses


class HostPlatform(ABC):
    """What is the same for every manager of units. How they are read is each one's own.

    What scales and what restarts is loaded when it is asked for: a module compiles all that it loads in each run.
    """

    place = THIS_HOST

    def __init__(self, manager: Manager, pauses: Pauses | None = None) -> None:
        """Prepare to act.

        :param pauses: where those of its fleets stand; by default where those of this host do.
        """
        self._manager = manager
        self._given_pauses = pauses

    def require_access(self, tried: str) -> None:
        """Refuse early what could not be done later."""
        self._manager.require_access(tried)

    def fleets(self) -> list[str]:
        """The names of all fleets of this host."""
        return self._manager.fleets()

    @abstractmethod
    def read(self, fleet: str) -> FleetReading:
        """Read a fleet. A failure is part of the reading, never an exception."""

    def reader(self) -> Callable[[str], FleetReading]:
        """What reads fleets for one look at many of them: each when it is asked for, which costs little here."""
        return self.read

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        """Bring a fleet to a number of workers, or with `check` only say what would be done."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.host import scaling

        return scaling.scale(request, self._manager, check)

    def restart(self, fleet: str, worker: str, *, lock_wait: float = LOCK_WAIT) -> None:
        """Have one worker restarted, drained, and do not wait for it."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.host import rolling

        rolling.restart(fleet, worker, self._manager, lock_wait)

    def roll(self, request: RollRequest, *, check: bool = False) -> RollResult:
        """Restart workers one at a time, or with `check` only say which would be."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.host import rolling

        return rolling.roll(request, self._manager, check)

    def paused(self, fleet: str) -> Pause | None:
        """What somebody holds the fleet at, over or not."""
        return self._pauses().read(fleet)

    def require_sizable(self, fleet: str, tried: str) -> None:
        """Refuse a fleet that is not there. Nothing else sizes one on a host."""
        fleets = self.fleets()
        if fleet not in fleets:
            raise unknown_fleet(tried, fleet, fleets)

    def pause(self, fleet: str, pause: Pause | None) -> None:
        """Have whoever sizes the fleet hold it at this; None lifts it."""
        self._pauses().write(fleet, pause)

    def with_pause(self, fleet: str, reading: FleetReading) -> FleetReading:
        """Return the reading with what somebody holds the fleet at. Where that is unknown, so is all of it."""
        try:
            return replace(reading, pause=self.paused(fleet))
        except OperationError as error:
            return replace(reading, workers=None, problem=str(error))

    def _pauses(self) -> Pauses:
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.pauses import Pauses

        return self._given_pauses or Pauses()
