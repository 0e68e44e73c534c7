# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container of a worker runs, and with which variables.

All variables are in the fleet's Secret, but for those with the pod's name: a Secret's values are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import command as command_line
from ansible_collections.muejam.celery.plugins.module_utils.fleet import environment, placeholders
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import LIFECYCLE_DIRECTORY, RUNTIME_DIRECTORY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names

POD = "POD_NAME"
"""The variable that has the pod's name."""

_ADD_LIFECYCLE = f'PYTHONPATH="{LIFECYCLE_DIRECTORY}${{PYTHONPATH:+:$PYTHONPATH}}" exec "$@"'


def command(fleet: Mapping[str, Any]) -> list[str]:
    """The words that a resolved fleet's container runs.

    An image may have a PYTHONPATH that its app is found by. Kubernetes can only replace it, so a shell adds to it and
    becomes the worker. Where the fleet sets the variable itself its value is known, and no shell is needed.
    """
    words = [placeholders.for_kubernetes(word, POD, arguments=True) for word in command_line.argv(fleet)]
    if "PYTHONPATH" in fleet["environment"]:
        return words
    return ["/bin/sh", "-c", _ADD_LIFECYCLE.replace("$", "$$"), "celery-worker", *words]


def variables(fleet: Mapping[str, Any]) -> dict[str, str]:
    """Every variable of a resolved fleet, with the placeholder `%i` still in the values."""
    found = environment.of_keys(fleet)
    found.update({name: str(value) for name, value in fleet["environment"].items()})
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = environment.with_lifecycle(found["PYTHONPATH"])
    return found


def of_secret(fleet: Mapping[str, Any]) -> dict[str, str]:
    """The variables that stand in the Secret."""
    return {
        name: placeholders.plain(text)
        for name, text in sorted(variables(fleet).items())
        if not placeholders.uses_number(text)
    }


def of_pod(fleet: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The variables that stand in the pod, which whoever may read a Deployment reads."""
    own = {
        name: placeholders.for_kubernetes(text, POD, arguments=False)
        for name, text in sorted(variables(fleet).items())
        if placeholders.uses_number(text)
    }
    ours = {
        "CELERY_LIFECYCLE_HTTP": str(names.LIFECYCLE_PORT),
        "CELERY_LIFECYCLE_ALIVE_WITHIN": f"{fleet['watchdog']:g}",
        "CELERY_LIFECYCLE_STATUS_FILE": f"{RUNTIME_DIRECTORY}/status.json",
    }
    return [
        # First: the kubelet fills in only what it has read before.
        {"name": POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": name, "value": value} for name, value in {**own, **ours}.items()),
    ]
