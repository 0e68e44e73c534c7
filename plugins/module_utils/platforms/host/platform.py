# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform whose workers are numbered units of the host that this runs on, started and stopped one by one."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    LOCK_WAIT,
    THIS_HOST,
    RollRequest,
    RollResult,
    ScaleRequest,
    ScaleResult,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Manager


class HostPlatform:
    """What is the same for every manager of units. How they are read is each one's own.

    What scales and what restarts is loaded when it is asked for: a module compiles all that it loads in each run.
    """

    place = THIS_HOST

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def require_access(self, tried: str) -> None:
        """Refuse early what could not be done later."""
        self._manager.require_access(tried)

    def fleets(self) -> list[str]:
        """The names of all fleets of this host."""
        return self._manager.fleets()

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
