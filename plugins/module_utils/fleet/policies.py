# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet's policy means to the fleet: its faults, and how many workers it may come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy


def faults(policy: object) -> list[str]:
    """Every fault of a policy, each with its place in it, such as `scale_up.any[2].for: ...`."""
    try:
        parse_policy(policy)
    except PolicyError as error:
        return [str(fault) for fault in error.faults]
    return []


def most_workers(fleet: Mapping[str, Any]) -> int:
    """The most workers that a resolved fleet comes to: those it has at first, or as many as its policy allows.

    :raises PolicyError: when the policy has faults.
    """
    if fleet["policy"] is None:
        return int(fleet["workers"])
    return max(int(fleet["workers"]), parse_policy(fleet["policy"]).limits.max_workers)
