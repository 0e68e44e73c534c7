# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse to set the number of a fleet's workers where the cluster does: two that do would undo each other's work."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.scalers import (
    SCALED_OBJECT,
    number_setter,
)


def refuse_second_owner(api: Api, namespace: str, fleet: str, tried: str, before: int) -> None:
    """Return when nothing else of the cluster scales the fleet.

    :param before: how many workers it has, which is what it keeps.
    :raises OperationError: when an HPA or a ScaledObject does, or that cannot be told.
    """
    found = number_setter(api, namespace, fleet)
    if found is None:
        return
    kind, name = found
    if kind == SCALED_OBJECT:
        who = f"the ScaledObject {name} of KEDA"
        then = (
            f"Change minReplicaCount and maxReplicaCount of {name}, or annotate it with "
            'autoscaling.keda.sh/paused-replicas: "<number>", or delete it.'
        )
    else:
        who = f"the HorizontalPodAutoscaler {name}"
        then = f"Change minReplicas and maxReplicas of {name}, or delete it."
    raise OperationError(
        tried,
        f"{who} sets the number of its workers, and would set it back",
        f"Nothing was changed. {then}",
        before=before,
        after=before,
    )
