# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that modules share which read, start and stop workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import is_fleet_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import DEFAULT, PLATFORMS

FLEET_ARGUMENTS: dict[str, dict[str, Any]] = {
    "fleet": {"type": "str", "required": True},
    "platform": {"type": "str", "choices": list(PLATFORMS), "default": DEFAULT},
}


def faults(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options C(fleet), C(wait_timeout), C(lock_timeout) and C(drain_timeout)."""
    if not is_fleet_name(given["fleet"]):
        yield (
            f"fleet: {given['fleet']!r} is no name of a fleet; use small letters, digits and inner hyphens, at most 40"
        )
    if given["wait_timeout"] < 1:
        yield f"wait_timeout: {given['wait_timeout']} is below 1 second"
    if given["lock_timeout"] < 0:
        yield f"lock_timeout: {given['lock_timeout']} is below 0 seconds"
    if given["drain_timeout"] is not None and given["drain_timeout"] < 0:
        yield f"drain_timeout: {given['drain_timeout']} is below 0 seconds"
