# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the role flower: thin, the rules are in `plugin_utils/flower_role.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec
from ansible_collections.muejam.celery.plugins.plugin_utils import flower_role, templated


@templated.takes_undefined
def flower_problems(settings: Mapping[str, Any], fleets: Sequence[spec.Fleet]) -> list[str]:
    """Every fault of the role's own variables."""
    given, undefined = templated.settings(settings, flower_role.PREFIX)
    return undefined or list(flower_role.problems(given, fleets))


@templated.takes_undefined
def flower_files(settings: Mapping[str, Any], fleets: Sequence[spec.Fleet], apps: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the files that Flower and its Celery read, by their names."""
    given, _undefined = templated.settings(settings, flower_role.PREFIX)
    return flower_role.files(given, fleets, apps)


@templated.takes_undefined
def flower_reads(settings: Mapping[str, Any], fleets: Sequence[spec.Fleet]) -> list[dict[str, str]]:
    """The files on the host that Flower reads for TLS."""
    given, _undefined = templated.settings(settings, flower_role.PREFIX)
    return flower_role.reads(given, fleets)


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {"flower_problems": flower_problems, "flower_files": flower_files, "flower_reads": flower_reads}
