# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a reading calls the phase that a unit is in."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.fleet import readings
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase, Unit

_PHASES = {
    Phase.RUNNING: readings.CONSUMING,
    Phase.STARTING: readings.STARTING,
    Phase.ENDING: readings.ENDING,
    Phase.DRAINING: readings.DRAINING,
    Phase.DOWN: readings.DOWN,
}


def reading_phase(unit: Unit) -> str:
    """The phase that a reading of the worker has."""
    return readings.DRAINING if unit.leaving else _PHASES[unit.phase]
