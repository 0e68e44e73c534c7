# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that the beat of a fleet is in a cluster: those of a fleet of one pod, under names of their own.

The Deployment has one replica and the strategy Recreate: the old pod is gone before the new one is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names, objects

NAME = "celery-beat"
COMPONENT = "beat"
LAST_STEPS = 30
"""Seconds in which it is to write its schedule and to end, beyond those that every pod has."""

KINDS = (("apps/v1", "Deployment"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount"))
"""Of all objects of a beat, in the order in which they are to go."""


def object_name(fleet: str) -> str:
    """The name of all objects of a fleet's beat, such as `celery-beat-web`."""
    return f"{NAME}-{fleet}"


def of_beat(
    program: Mapping[str, Any], namespace: str, lifecycle: Mapping[str, str], state: str, claim: str | None
) -> list[objects.Object]:
    """Every object of a beat, in the order in which they are to be made.

    :param program: what runs it, in the form of a resolved fleet with a command.
    :param lifecycle: texts of the lifecycle package's files, by their names.
    :param state: the directory of its schedule.
    :param claim: the PersistentVolumeClaim that is mounted there; an empty directory of the pod's own without one.
    """
    fleet = {**program, "read_write_paths": [state, *program["read_write_paths"]], "drain_timeout": LAST_STEPS}
    made = objects.of_fleet(fleet, namespace, lifecycle, replicas=1)
    kinds = {kind for _version, kind in KINDS}
    found = [_renamed(thing, fleet["name"]) for thing in made if thing["kind"] in kinds]
    spec = found[-1]["spec"]
    spec["strategy"] = {"type": "Recreate"}
    if claim:
        pod = spec["template"]["spec"]
        [container] = [one for one in pod["containers"] if one["name"] == names.CONTAINER]
        [name] = [one["name"] for one in container["volumeMounts"] if one["mountPath"] == state]
        [volume] = [one for one in pod["volumes"] if one["name"] == name]
        del volume["emptyDir"]
        volume["persistentVolumeClaim"] = {"claimName": claim}
    return found


def names_of_all(fleet: str, namespace: str) -> list[objects.Object]:
    """Every object that a fleet's beat can have, by its name alone."""
    name = {"name": object_name(fleet), "namespace": namespace}
    return [{"apiVersion": version, "kind": kind, "metadata": dict(name)} for version, kind in KINDS]


def _renamed(value: Any, fleet: str) -> Any:
    """An object of the fleet as one of its beat: other names and labels, so that nobody takes its pod for a worker."""
    if isinstance(value, Mapping):
        ours = {names.NAME_LABEL: NAME, names.COMPONENT_LABEL: COMPONENT}
        return {key: ours[key] if key in ours else _renamed(one, fleet) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, fleet) for one in value]
    return object_name(fleet) if value == names.object_name(fleet) else value
