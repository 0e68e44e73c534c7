# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that modules share which read, start and stop workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import is_fleet_name
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS, PLATFORMS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place, RollingPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform

CLUSTER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "namespace": {"type": "str"},
}

PLATFORM_ARGUMENTS: dict[str, dict[str, Any]] = {
    "platform": {"type": "str", "choices": list(PLATFORMS), "default": DEFAULT},
    **CLUSTER_ARGUMENTS,
}

FLEET_ARGUMENTS: dict[str, dict[str, Any]] = {"fleet": {"type": "str", "required": True}, **PLATFORM_ARGUMENTS}

TIMES: dict[str, dict[str, Any]] = {
    "wait_timeout": {"type": "int", "default": 300},
    "drain_timeout": {"type": "int"},
    "lock_timeout": {"type": "int", "default": 600},
}
"""How long to wait, in seconds."""


def place_of(params: Mapping[str, Any]) -> Place:
    """Return where the options say that the workers are. An empty text is as good as none."""
    kubeconfig, context, namespace = (params[name] or None for name in CLUSTER_ARGUMENTS)
    return Place(kubeconfig, context, namespace)


def open_from(params: Mapping[str, Any]) -> RollingPlatform:
    """Return the platform that the options name, where they say.

    :raises OperationError: when there is no way there.
    """
    return open_platform(params["platform"], place_of(params))


def runs_here(params: Mapping[str, Any]) -> bool:
    """Whether the workers are those of the host where the module runs."""
    return params.get("platform", DEFAULT) in ON_HOSTS


def misplaced(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is said of a cluster where there is none."""
    idle = [name for name in CLUSTER_ARGUMENTS if runs_here(params) and params.get(name)]
    if idle:
        platform = params.get("platform", DEFAULT)
        yield f"{', '.join(idle)}: not for platform {platform}; leave out, or set platform: kubernetes"


def faults(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the fleet's name, and with those of the shared times that a module has."""
    fleet = params["fleet"]
    if fleet is not None and not is_fleet_name(fleet):
        yield f"fleet: {fleet!r} is no name of a fleet; use small letters, digits and inner hyphens, at most 40"
    yield from misplaced(params)
    for name, least in (("wait_timeout", 1), ("lock_timeout", 0), ("drain_timeout", 0)):
        seconds = params.get(name)
        if seconds is not None and seconds < least:
            yield f"{name}: {seconds} is below {least} second{'' if least == 1 else 's'}"
