# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def group_or(groups: Mapping[str, Any], wanted: str, otherwise: str) -> str:
    """A pattern of hosts: the wanted group where the inventory has it."""
    return wanted if wanted in groups else otherwise


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {"group_or": group_or}
