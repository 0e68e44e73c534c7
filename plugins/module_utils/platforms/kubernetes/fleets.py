# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleets of a namespace: their Deployments and their pods, read in as many calls for many fleets as for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING, DRAINING, STARTING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.access import require_namespace
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    HASH_LABEL,
    OURS,
    PAUSE,
    SCALED_BY,
    deployments,
    fleet_of_labels,
    object_name,
    pods,
    selector_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod, parse_pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

REVISION = "deployment.kubernetes.io/revision"
"""Annotation of ReplicaSets that counts the templates of their Deployment; the newest one has the highest."""

NO_PODS = "ReplicaFailure"
"""Condition of a Deployment whose pods are refused, as by a quota."""

REFUSED_FOR = 5.0
"""Seconds after which pods that are refused are given up; what was refused before a change may be told still."""


@dataclass(frozen=True)
class FleetState:
    """A fleet in a cluster.

    :ivar replicas: how many workers there are to be.
    :ivar version: of the Deployment; another one is another Deployment, or the same one changed.
    :ivar uid: of the Deployment.
    :ivar generation: rises with each change of what is wanted.
    :ivar observed: whether the cluster has acted on what is wanted: there is a ReplicaSet of the newest template.
    :ivar paused: whether somebody paused its rollout, so that changes of its template wait.
    :ivar pause: the annotation that says what somebody holds the fleet at; empty where there is none.
    :ivar refused: why no more pods can be made; empty where they can.
    :ivar scaled_by: who sets the number, as the Deployment notes it; empty where it notes nobody.
    :ivar rolled_out: whether the newest template is that of all workers.
    :ivar pods: by name; those that are over are not among them.
    :ivar lost: by name, those of which the cluster still knows that they ended though nobody told them to.
    """

    fleet: str
    exists: bool
    replicas: int = 0
    version: str = ""
    uid: str = ""
    generation: int = 0
    observed: bool = True
    paused: bool = False
    pause: str = ""
    refused: str = ""
    scaled_by: str = ""
    rolled_out: bool = True
    pods: tuple[Pod, ...] = ()
    lost: tuple[Pod, ...] = ()

    @property
    def current(self) -> tuple[Pod, ...]:
        """The workers that count."""
        return tuple(pod for pod in self.pods if pod.current)

    @property
    def draining(self) -> tuple[Pod, ...]:
        """The workers that finish what they have."""
        return tuple(pod for pod in self.pods if pod.phase == DRAINING)

    @property
    def consuming(self) -> tuple[Pod, ...]:
        """The workers that consume, those that have ceased to be ready among them."""
        return tuple(pod for pod in self.pods if pod.phase == CONSUMING)

    @property
    def starting(self) -> tuple[Pod, ...]:
        """The workers on their way up."""
        return tuple(pod for pod in self.pods if pod.phase == STARTING)

    def pod(self, name: str) -> Pod | None:
        """The pod of that name, None when there is none."""
        return next((pod for pod in self.pods if pod.name == name), None)


class Fleets:
    """Reads the fleets of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def names(self) -> list[str]:
        """The names of all fleets.

        :raises OperationError: when they cannot be read, or there is no such namespace.
        """
        found = self.api.list(deployments(self.namespace), OURS)
        if not found:
            self.require_namespace()
        return sorted(filter(None, map(_fleet_of, found)))

    def read_all(self) -> dict[str, FleetState]:
        """Every fleet by its name, in two lists.

        :raises OperationError: when they cannot be read.
        """
        found = self.api.list(deployments(self.namespace), OURS)
        listed = self.api.list(pods(self.namespace), OURS) if found else ()
        parsed = [pod for pod in map(parse_pod, listed) if pod is not None]
        by_fleet = {fleet: each for each in found for fleet in [_fleet_of(each)] if fleet}
        return {fleet: _state(fleet, each, parsed) for fleet, each in sorted(by_fleet.items())}

    def read(self, fleet: str) -> FleetState:
        """One fleet.

        :raises OperationError: when it cannot be read, or there is no such namespace.
        """
        try:
            found = self.api.get(deployments(self.namespace, fleet))
        except Refused as error:
            if error.status != 404:
                raise
            self.require_namespace()
            return FleetState(fleet, exists=False)
        if _fleet_of(found) != fleet:
            # Somebody else's, by the name of ours.
            return FleetState(fleet, exists=False)
        listed = self.api.list(pods(self.namespace), selector_text(fleet))
        return _state(fleet, found, [pod for pod in map(parse_pod, listed) if pod is not None])

    def newest_template(self, state: FleetState) -> str:
        """Which version of the template the Deployment has now, as its pods are labelled.

        What is read here is not older than C(state), so no pod of it is of a newer template than any that is seen.

        :raises OperationError: when it cannot be read, or the cluster has not made anything of it yet.
        """
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        newest, template = -1, ""
        for each in self.api.list(path, selector_text(state.fleet)):
            metadata = each.get("metadata") or {}
            owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or ()]
            revision = str((metadata.get("annotations") or {}).get(REVISION))
            if state.uid in owners and revision.isdecimal() and int(revision) > newest:
                newest, template = int(revision), str((metadata.get("labels") or {}).get(HASH_LABEL) or "")
        if not template:
            raise OperationError(
                f"find the newest template of fleet {state.fleet} in namespace {self.namespace}",
                "its Deployment has no ReplicaSet yet",
                "Try again in a moment; if that lasts, see whether the cluster's controllers run.",
            )
        return template

    def require_namespace(self) -> None:
        """Tell a namespace that is not there from one without fleets, where that may be asked.

        :raises OperationError: when it is not there.
        """
        require_namespace(
            self.api,
            self.namespace,
            "Check the option namespace, or deploy a fleet there with the role muejam.celery.worker first.",
        )


def _fleet_of(deployment: Mapping[str, Any]) -> str | None:
    metadata = deployment.get("metadata") or {}
    fleet = fleet_of_labels(metadata.get("labels") or {})
    return fleet if fleet and metadata.get("name") == object_name(fleet) else None


def _state(fleet: str, deployment: Mapping[str, Any], found: Sequence[Pod]) -> FleetState:
    metadata, spec, status = (deployment.get(key) or {} for key in ("metadata", "spec", "status"))
    replicas = spec.get("replicas", 1)
    refused = next(
        (
            str(each.get("message") or each.get("reason") or "")
            for each in status.get("conditions") or ()
            if each.get("type") == NO_PODS and each.get("status") == "True"
        ),
        "",
    )
    generation = int(metadata.get("generation") or 0)
    observed = int(status.get("observedGeneration") or 0) >= generation
    updated, total = int(status.get("updatedReplicas") or 0), int(status.get("replicas") or 0)
    return FleetState(
        fleet,
        exists=True,
        replicas=int(replicas),
        version=str(metadata.get("resourceVersion") or ""),
        uid=str(metadata.get("uid") or ""),
        generation=generation,
        paused=bool(spec.get("paused")),
        pause=str((metadata.get("annotations") or {}).get(PAUSE) or ""),
        refused=refused,
        scaled_by=str((metadata.get("annotations") or {}).get(SCALED_BY) or ""),
        observed=observed,
        rolled_out=observed and updated >= total,
        pods=tuple(sorted((pod for pod in found if pod.fleet == fleet and not pod.over), key=lambda pod: pod.name)),
        lost=tuple(sorted((pod for pod in found if pod.fleet == fleet and pod.lost), key=lambda pod: pod.name)),
    )
