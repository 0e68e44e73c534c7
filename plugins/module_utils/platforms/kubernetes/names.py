# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and labels of a fleet in a cluster: one place, so that every part agrees on them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import is_fleet_name

PREFIX = "celery-worker-"
"""Of the names of a fleet's Deployment, Secret, ConfigMap and ServiceAccount."""

NAME_LABEL = "app.kubernetes.io/name"
FLEET_LABEL = "app.kubernetes.io/instance"
MANAGER_LABEL = "app.kubernetes.io/managed-by"
COMPONENT_LABEL = "app.kubernetes.io/component"
HASH_LABEL = "pod-template-hash"
"""Of a pod and of its ReplicaSet: which version of the Deployment's template they are of."""

NAME = "celery-worker"
MANAGER = "muejam.celery"
COMPONENT = "worker"
SCALER_COMPONENT = "autoscaling"
FIELD_MANAGER = "muejam.celery"
"""Under which name the cluster notes who set a field."""

CONTAINER = "worker"
"""The container of a pod that is the worker; others are none of ours."""

LIFECYCLE_PORT = 8484
LIFECYCLE_PORT_NAME = "lifecycle"
STATUS_PATH = "status"
READY_PATH = "/ready"
ALIVE_PATH = "/alive"
"""What a worker in a pod answers on its port: its status, and to the probes of the kubelet."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: of two that are alike otherwise, the one with the lower number is deleted first."""

PAUSE = "muejam.celery/pause"
"""Annotation of a Deployment: what somebody holds the fleet at."""
SCALED_BY = "muejam.celery/scaled-by"
"""Annotation of a Deployment: who sets the number of its pods. The words of `celery_worker_autoscaling`."""

OURS = f"{MANAGER_LABEL}={MANAGER},{NAME_LABEL}={NAME}"
"""Selects what belongs to the fleets of a namespace, all of them."""


SCALERS = f"{OURS},{COMPONENT_LABEL}={SCALER_COMPONENT}"
"""Selects what sets the number of pods in our place, for all fleets of a namespace."""


def object_name(fleet: str) -> str:
    """The name of a fleet's Deployment, Secret, ConfigMap and ServiceAccount, such as `celery-worker-web`."""
    return PREFIX + fleet


def labels(fleet: str) -> dict[str, str]:
    """The labels of everything that belongs to a fleet."""
    return {**selector(fleet), MANAGER_LABEL: MANAGER, COMPONENT_LABEL: COMPONENT}


def scaler_labels(fleet: str) -> dict[str, str]:
    """The labels of what sets the number of a fleet's pods in its place: KEDA's objects, an HPA, CronJobs."""
    return {**labels(fleet), COMPONENT_LABEL: SCALER_COMPONENT}


def selector(fleet: str) -> dict[str, str]:
    """The labels by which a Deployment knows its pods. They cannot be changed later."""
    return {NAME_LABEL: NAME, FLEET_LABEL: fleet}


def selector_text(fleet: str) -> str:
    """`selector`, as the API and `kubectl -l` take it."""
    return ",".join(f"{name}={value}" for name, value in selector(fleet).items())


def fleet_of_labels(found: Mapping[str, str]) -> str | None:
    """The fleet that something with these labels belongs to, `None` when it is none of ours."""
    fleet = found.get(FLEET_LABEL)
    ours = found.get(NAME_LABEL) == NAME and found.get(MANAGER_LABEL) == MANAGER
    return fleet if ours and is_fleet_name(fleet) else None


def node_name(fleet: str, pod: str) -> str:
    """The Celery node name of the worker in a pod, such as `web@celery-worker-web-7d9f8-x2x4z`."""
    return f"{fleet}@{pod}"


def is_pod_of(fleet: str, pod: str) -> bool:
    """Whether a pod can be one of the fleet's Deployment, by its name.

    The name of a ReplicaSet and five letters follow the fleet's; a name that would be too long is cut before the five.
    """
    name = object_name(fleet) + "-"
    if not pod.startswith(name):
        return False
    rest = pod[len(name) :]
    return bool(re.fullmatch(r"[a-z0-9]+-[a-z0-9]{5}", rest) or (len(pod) == 63 and re.fullmatch(r"[a-z0-9]+", rest)))


def deployments(namespace: str, fleet: str = "", subresource: str = "") -> str:
    """The path of a namespace's Deployments, of that of a fleet, or of a part of it."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    return "/".join(filter(None, (path, object_name(fleet) if fleet else "", subresource)))


def pods(namespace: str, pod: str = "", subresource: str = "") -> str:
    """The path of a namespace's pods, of one, or of a part of it."""
    return "/".join(filter(None, (f"/api/v1/namespaces/{namespace}/pods", pod, subresource)))


def status_path(namespace: str, pod: str) -> str:
    """The path by which the API server asks the worker in a pod for its status."""
    return f"{pods(namespace)}/{pod}:{LIFECYCLE_PORT}/proxy/{STATUS_PATH}"
