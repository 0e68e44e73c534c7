# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would see the pause of a fleet: one that nobody sizes needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import autoscaler_of, known_sized
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import default_path
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

AUTOSCALER = "autoscaler"
SCHEDULED = "scheduled runs"


def who_sizes(fleet: str, params: Mapping[str, Any], warn: Callable[[str], None]) -> str:
    """Return C(AUTOSCALER) or C(SCHEDULED), whoever sizes the fleet where a module's options say that it is.

    Where it is not known whether the autoscaler does, it may.

    :param params: of the module; with C(scheduled) it is scheduled runs where nothing else is found.
    :raises OperationError: when nobody does, as far as can be told there.
    """
    autoscaler = autoscaler_of(params)
    sized = known_sized(autoscaler, warn)
    if sized is None or fleet in sized:
        return AUTOSCALER
    if params["scheduled"] or Path(default_path(fleet)).exists():
        return SCHEDULED
    raise OperationError(
        f"pause fleet {fleet}",
        f"nothing autoscales it: no autoscaler scales it by a policy {autoscaler.where}, and scheduled runs "
        "of the module autoscale left no state here",
        "Nothing was changed. Set its number with the module or the playbook scale: that number stays. If the fleet "
        "follows a schedule, give the schedule a window that comes once, as it sets the number again when its next "
        "window begins or ends. If scheduled runs of autoscale scale the fleet from another host, give "
        "scheduled: true.",
    )
