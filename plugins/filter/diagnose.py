# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter of the playbook diagnose: thin, the rules are in `plugin_utils/diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import is_late
from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import reading, troubles
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import Bounds


def fleet_diagnosis(
    gathered: Mapping[str, Any], fleet: str, policy: object = None, described: bool = True
) -> dict[str, dict[str, Any]]:
    """What is said of each trouble of a fleet, by its name."""
    has_policy = isinstance(policy, Mapping) if described else None
    try:
        bounds = _bounds(policy, float(gathered["reading"]["at"]))
        return troubles.diagnosis(reading.seen_of(fleet, gathered, has_policy, bounds, is_late))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Some of it comes from files that others write. What is said of other fleets stands.
        return troubles.undecided(
            f"what was gathered of it cannot be read ({type(error).__name__}: {error})",
            "See what celery-autoscaler status --json and celery-autoscaler history print on that host.",
        )


def _bounds(policy: object, at: float) -> Bounds | None:
    if not isinstance(policy, Mapping):
        return None
    try:
        held = in_force(parse_policy(policy), at)
    except PolicyError:
        return None
    return Bounds(held.max_workers, f"window {held.window}" if held.window else "the limits")


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {"fleet_diagnosis": fleet_diagnosis}
