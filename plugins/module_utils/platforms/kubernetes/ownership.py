# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns the number of a fleet's pods, by what the API server notes of each field.

A field that its only owner stops to send is taken out, and a Deployment without `replicas` gets one pod. Whoever is to
decide on the number later could not take it over from us in time. So the number has a field manager of its own from the
beginning, and what is applied under `muejam.celery` never has it. An autoscaler, a person with `kubectl scale` or this
collection may then change it, and the next deployment leaves it as it is.

Who is to decide on it is an annotation of the Deployment, `names.SCALED_BY`. It is written before somebody else than
the autoscaler of this collection begins, and after he has ended. The autoscaler sets a number only on the version of
the Deployment in which it has read this; so with the annotation it has let go at once, whatever it was about to do.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api

NUMBER_MANAGER = "muejam.celery.workers"
"""The field manager under which deployments set the number of pods."""


def number(fleet: str, namespace: str, replicas: int) -> dict[str, Any]:
    """What to apply under `NUMBER_MANAGER`: the number of a fleet's pods and nothing else."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.object_name(fleet), "namespace": namespace},
        "spec": {"replicas": replicas},
    }


def numbers(deployments: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pods each of these Deployments of fleets is to have, by the fleet's name."""
    found = {}
    for deployment in deployments:
        fleet = names.fleet_of_labels(deployment["metadata"].get("labels") or {})
        if fleet:
            found[fleet] = int(deployment["spec"].get("replicas", 1))
    return found


def noted(api: Api) -> dict[str, str]:
    """By the name of each fleet of the namespace who sets the number of its pods; empty where nobody is noted.

    :raises OperationError: when the Deployments cannot be read.
    """
    found = {}
    for deployment in api.list(names.deployments(api.namespace), names.OURS):
        fleet = names.fleet_of_labels(deployment["metadata"].get("labels") or {})
        if fleet and deployment["metadata"].get("name") == names.object_name(fleet):
            found[fleet] = str((deployment["metadata"].get("annotations") or {}).get(names.SCALED_BY) or "")
    return found


def note(api: Api, fleet: str, owner: str) -> None:
    """Note who sets the number of a fleet's pods from now on, one of `fleet.owners`; empty takes the note away.

    :raises OperationError: when that is refused, or there is no such fleet.
    """
    api.patch(
        names.deployments(api.namespace, fleet),
        {"metadata": {"annotations": {names.SCALED_BY: owner or None}}},
        fieldManager=NUMBER_MANAGER,
    )


def still_ours(deployments: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of `numbers` those that the next apply would take out, after a run that ended before it handed them over."""
    return {
        fleet: replicas
        for deployment in deployments
        if _is_applied(deployment)
        for fleet, replicas in numbers([deployment]).items()
    }


def _owners(deployment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        entry
        for entry in deployment["metadata"].get("managedFields") or ()
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    ]


def _is_applied(deployment: Mapping[str, Any]) -> bool:
    return any(
        entry.get("manager") == names.FIELD_MANAGER and entry.get("operation") == "Apply"
        for entry in _owners(deployment)
    )
