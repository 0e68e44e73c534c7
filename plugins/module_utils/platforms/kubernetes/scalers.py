# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that set the number of pods in our place, as a namespace has them: which kinds there are, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of objects, as the API has it."""

    version: str
    kind: str
    resource: str

    @property
    def group(self) -> str:
        """Its group of the API, empty for the one that came first."""
        return self.version.rpartition("/")[0]

    def path(self, namespace: str, name: str = "") -> str:
        """The path of a namespace's objects of this kind, or of one of them."""
        root = f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.resource}" + (f"/{name}" if name else "")


CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs")
SCALED_OBJECT = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
HPA = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")

KINDS = (
    CRON_JOB,
    SCALED_OBJECT,
    HPA,
    Kind("keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications"),
    Kind("v1", "Secret", "secrets"),
    ROLE_BINDING,
    ROLE,
    Kind("v1", "ServiceAccount", "serviceaccounts"),
)
"""Of all that we hand the number over with, in the order in which they go: who acts first, what it needs last."""

_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"

OWNERS = (SCALED_OBJECT, HPA)
"""Those that set the number again and again."""

ACTING = (CRON_JOB, *OWNERS)
"""Those that set the number at any time. The others are what these need."""


@dataclass(frozen=True)
class Thing:
    """One object.

    :ivar fleet: whose it is, by its labels; empty where it is none of ours.
    :ivar value: the object itself.
    """

    kind: Kind
    name: str
    fleet: str
    value: Object

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.kind.kind} {self.name}"


@dataclass(frozen=True)
class Found:
    """What a namespace has.

    :ivar ours: what we put there, and KEDA's own HPAs not among them.
    :ivar scalers: every ScaledObject and every HPA but those that KEDA makes, whoever's it is.
    :ivar missing: kinds that this cluster does not know.
    :ivar unread: kinds that may not be listed, with why.
    """

    ours: tuple[Thing, ...]
    scalers: tuple[Thing, ...]
    missing: tuple[Kind, ...]
    unread: Mapping[Kind, Refused]

    def strangers(self, fleets: Iterable[str]) -> Iterator[tuple[str, Thing]]:
        """Yield each of these fleets whose number somebody else sets, with by what."""
        own = {(thing.kind, thing.name) for thing in self.ours}
        for fleet in fleets:
            for thing in self.scalers:
                if sets_number(thing.value, fleet) and (thing.kind, thing.name) not in own:
                    yield fleet, thing


def look(api: Api) -> Found:
    """Read what a namespace has.

    :raises OperationError: when it cannot be read, but for want of rights or of the kind.
    """
    ours: list[Thing] = []
    scalers: list[Thing] = []
    missing: list[Kind] = []
    unread: dict[Kind, Refused] = {}
    for kind in KINDS:
        try:
            listed = api.list(kind.path(api.namespace), "" if kind in OWNERS else names.SCALERS)
        except Refused as error:
            if error.no_such_api:
                missing.append(kind)
            elif error.status == 403:
                unread[kind] = error
            else:
                raise
            continue
        # Where ScaledObjects may not be seen, those at work are known by their HPAs.
        things = [_thing(kind, value) for value in listed if SCALED_OBJECT in unread or not made_by_keda(value)]
        ours += [thing for thing in things if thing.fleet]
        scalers += [thing for thing in things if kind in OWNERS]
    return Found(tuple(ours), tuple(scalers), tuple(missing), unread)


def _thing(kind: Kind, value: Object) -> Thing:
    metadata = value["metadata"]
    labels = metadata.get("labels") or {}
    ours = labels.get(names.COMPONENT_LABEL) == names.SCALER_COMPONENT and not made_by_keda(value)
    return Thing(kind, metadata["name"], (names.fleet_of_labels(labels) or "") if ours else "", value)


def made_by_keda(value: Object) -> str:
    """The ScaledObject that made it, empty where none did. It has the labels of that, and goes with it."""
    owners = value["metadata"].get("ownerReferences") or ()
    return next((str(owner.get("name")) for owner in owners if owner.get("kind") == SCALED_OBJECT.kind), "")


def sets_number(value: Object, fleet: str) -> bool:
    """Whether a ScaledObject or HPA sets the number of a fleet's pods at present: one that is paused does not."""
    target = (value.get("spec") or {}).get("scaleTargetRef") or {}
    # KEDA leaves the kind out for a Deployment.
    if target.get("name") != names.object_name(fleet) or target.get("kind", "Deployment") != "Deployment":
        return False
    annotations = value["metadata"].get("annotations") or {}
    # One that is paused at a number sets that.
    return annotations.get(_PAUSED) != "true" or _PAUSED_AT in annotations


def number_setter(api: Api, namespace: str, fleet: str) -> tuple[Kind, str] | None:
    """What of the cluster sets the number of a fleet's pods at present, whoever's it is: its kind and name.

    :raises OperationError: when that cannot be told.
    """
    # Where ScaledObjects may not be read, those at work are seen by the HPAs that KEDA makes.
    for value in listed(api, SCALED_OBJECT, namespace):
        if sets_number(value, fleet):
            return SCALED_OBJECT, str(value["metadata"]["name"])
    for value in api.list(HPA.path(namespace)):
        if sets_number(value, fleet):
            by_keda = made_by_keda(value)
            return (SCALED_OBJECT, by_keda) if by_keda else (HPA, str(value["metadata"]["name"]))
    return None


def listed(api: Api, kind: Kind, namespace: str) -> list[dict[str, Any]]:
    """The objects of a kind; none where the cluster has no such kind, or where they may not be read.

    :raises OperationError: when they cannot be read for another reason.
    """
    try:
        return api.list(kind.path(namespace))
    except Refused as error:
        if error.no_such_api or error.status == 403:
            return []
        raise
