# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the role autoscaler: thin, the rules are in `module_utils/autoscaler/settings/role.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import cluster_objects, role
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import PLATFORMS
from ansible_collections.muejam.celery.plugins.plugin_utils import templated
from ansible_collections.muejam.celery.plugins.plugin_utils.manifest_text import as_yaml


@templated.takes_undefined
def autoscaler_problems(settings: Mapping[str, Any], platform: str = PLATFORMS[0]) -> list[str]:
    """Every fault of the role's own variables."""
    given, undefined = templated.settings(settings, "celery_autoscaler_")
    return [*undefined, *role.problems(given, platform)]


def autoscaler_files(found: Sequence[cluster_objects.Object]) -> dict[str, str]:
    """The objects as YAML, by the names of files."""
    return {f"{thing['kind'].lower()}.yaml": as_yaml(thing, "autoscaler") for thing in found}


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {
            "autoscaled_fleets": role.scaled,
            "autoscaling_problems": role.autoscaling_problems,
            "scheduled_fleets": role.scheduled,
            "autoscaler_files": autoscaler_files,
            "autoscaler_leftovers": cluster_objects.names_of_all,
            "autoscaler_objects": cluster_objects.of_role,
            "autoscaler_problems": autoscaler_problems,
            "autoscaler_plan": role.plan,
        }
