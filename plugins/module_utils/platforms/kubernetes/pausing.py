# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody holds a fleet in a cluster at: an annotation of its Deployment.

Who sizes a fleet reads its Deployment each time, and of several services each one does. An annotation of a Deployment
makes no other pods, and a deployment of the fleet leaves it as it is.
"""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, from_text, to_text
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import PauseUnusable, unknown_fleet
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets, FleetState
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    PAUSE,
    deployments,
    object_name,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.owners import refuse_second_owner


def pause_of(state: FleetState, place: str) -> Pause | None:
    """Return what the fleet is held at, over or not; None where it is not.

    :raises PauseUnusable: when the annotation makes no sense.
    """
    if not state.pause:
        return None
    try:
        return from_text(state.pause)
    except ValueError as error:
        raise PauseUnusable(
            f"read whether fleet {state.fleet} in {place} is paused from the annotation {PAUSE}",
            error,
            f"Pause it anew with the playbook muejam.celery.pause, or remove the annotation of the Deployment "
            f"{object_name(state.fleet)}. Until then the autoscaler leaves the fleet as it is.",
        ) from error


def require_sizable(fleets: Fleets, fleet: str, place: str, tried: str) -> None:
    """Return where the fleet is there, and nothing but our own engine can be what sizes it.

    :raises OperationError: where not, or that cannot be told.
    """
    state = fleets.read(fleet)
    if not state.exists:
        raise unknown_fleet(tried, fleet, fleets.names(), place)
    # It would go on to set the number, and knows nothing of the annotation.
    refuse_second_owner(fleets.api, fleets.namespace, fleet, tried, state.replicas)


def set_pause(fleets: Fleets, fleet: str, pause: Pause | None) -> None:
    """Have whoever sizes the fleet hold it at this; None lifts it.

    :raises OperationError: when the API server does not do it.
    """
    body = {"metadata": {"annotations": {PAUSE: None if pause is None else to_text(pause)}}}
    fleets.api.patch(deployments(fleets.namespace, fleet), body, fieldManager="muejam.celery.pause")
