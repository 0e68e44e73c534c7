# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform in memory, for tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.fake import FakeManager
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.platform import HostPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.reading_phase import reading_phase


class FakePlatform(HostPlatform):
    """A host with one fleet of workers in memory, which is scaled and restarted as on real hosts."""

    def __init__(self, *numbers: int, **values: Any) -> None:
        """Have these workers; C(values) are the manager's."""
        self.manager = FakeManager(**values)
        self.manager.add(*numbers)
        super().__init__(self.manager)

    def fleet_of(self, name: str) -> str | None:
        """The fleet that the worker of this name belongs to."""
        worker, _at, host = name.partition("@")
        return worker.rpartition("-")[0] if host == "fake" else None

    def is_worker(self, fleet: str, worker: str) -> bool:
        """Whether a worker of the fleet can have this id."""
        return worker.rpartition("-")[0] == fleet

    def read(self, fleet: str) -> FleetReading:
        """Read the fleet."""
        at = self.manager.clock.wall()
        try:
            state = self.manager.read_fleet(fleet)
        except OperationError as error:
            return FleetReading("fake", at, None, str(error))
        if not state.exists:
            return FleetReading("fake", at, None, f"there is no fleet {fleet}", exists=False)
        units = [unit for unit in state.units if unit.current or unit.leaving]
        return FleetReading("fake", at, tuple(map(self._worker, units)), exists=True)

    def _worker(self, unit: Unit) -> WorkerReading:
        phase = reading_phase(unit)
        told = phase in (CONSUMING, DRAINING) and unit.number not in self.manager.silent
        now = self.manager.clock.monotonic()
        return WorkerReading(
            name=f"{unit.name}@fake",
            phase=phase,
            life=f"{unit.number}:{unit.active_enter_at}",
            active=self.manager.tasks.get(unit.number, 0) if told else None,
            reserved=0 if told else None,
            started=self.manager.tasks.get(unit.number, 0) if told else None,
            taken={} if told else None,
            silent=unit.number in self.manager.silent,
            down_for=now - unit.inactive_enter_at / 1e6 if phase == DOWN else None,
            state=f"{unit.sub_state}, {unit.result}" if phase == DOWN else "",
            id=unit.name,
        )
