# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else sets the number of a fleet's workers in a cluster: two that do would undo each other's work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.scalers import (
    HPA,
    SCALED_OBJECT,
    scales,
)

_PAUSED = "autoscaling.keda.sh/paused"


def refuse_second_owner(api: Api, namespace: str, fleet: str, tried: str, before: int) -> None:
    """Return when nothing else of the cluster scales the fleet.

    :param before: how many workers it has, which is what it keeps.
    :raises OperationError: when an HPA or a ScaledObject does, or that cannot be told.
    """
    scaled = _scaled_object(_scaled_objects(api, namespace), fleet)
    if scaled is not None:
        raise _of_keda(scaled, tried, before)
    for each in api.list(HPA.path(namespace)):
        if scales(each, fleet):
            name = each["metadata"]["name"]
            keda = [
                owner["name"]
                for owner in each["metadata"].get("ownerReferences") or ()
                if owner["kind"] == SCALED_OBJECT.kind
            ]
            if keda:
                raise _of_keda(keda[0], tried, before)
            raise OperationError(
                tried,
                f"the HorizontalPodAutoscaler {name} sets the number of its workers, and would set it back",
                f"Nothing was changed. Change minReplicas and maxReplicas of {name}, or delete it.",
                before=before,
                after=before,
            )


def _of_keda(scaled: str, tried: str, before: int) -> OperationError:
    return OperationError(
        tried,
        f"the ScaledObject {scaled} of KEDA sets the number of its workers, and would set it back",
        f"Nothing was changed. Change minReplicaCount and maxReplicaCount of {scaled}, or annotate it with "
        f'autoscaling.keda.sh/paused-replicas: "<number>", or delete it.',
        before=before,
        after=before,
    )


def _scaled_objects(api: Api, namespace: str) -> list[dict[str, Any]]:
    try:
        return api.list(SCALED_OBJECT.path(namespace))
    except Refused as error:
        # Without KEDA there are none. Where they may not be read, those at work are seen by the HPAs that KEDA makes.
        if error.no_such_api or error.status == 403:
            return []
        raise


def _scaled_object(found: Iterable[Mapping[str, Any]], fleet: str) -> str | None:
    for each in found:
        annotations = each["metadata"].get("annotations") or {}
        if scales(each, fleet) and annotations.get(_PAUSED) != "true":
            return str(each["metadata"]["name"])
    return None
