# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that a fleet is in a cluster. No cluster is asked: the same fleet gives the same objects.

The Deployment comes last: its pods need the others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.fingerprint import config_id
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import environment, names, pod_template

Object = dict[str, Any]

ENVIRONMENT_CHECKSUM = "muejam.celery/environment"
LIFECYCLE_CHECKSUM = "muejam.celery/lifecycle"
"""Annotations of pods that change with what is in the fleet's Secret and ConfigMap."""

PROGRESS_WITHIN = 600
"""Seconds without a new pod that is ready after which a rollout has failed; nodes and images may take minutes."""


def of_fleet(
    fleet: Mapping[str, Any],
    namespace: str,
    lifecycle: Mapping[str, str],
    replicas: int | None = None,
    network_policy: bool = False,
    scaled_by: str = "",
) -> list[Object]:
    """Every object of a resolved fleet, in the order in which they are to be made.

    :param lifecycle: texts of the lifecycle package's files, by their names.
    :param replicas: the number of pods; `None` where it is somebody else's business.
    :param network_policy: whether nothing but probes and readers may connect to the pods.
    :param scaled_by: who sets that number, for its annotation; empty where that is noted in another way.
    """
    secret = _secret(fleet, namespace)
    config_map = _config_map(fleet, namespace, lifecycle)
    checksums = {
        # Passwords may be short, and more people read Deployments than Secrets: so it is slow to guess, and the fleet
        # and namespace in it make it another text for the same passwords elsewhere.
        ENVIRONMENT_CHECKSUM: config_id("", [namespace, fleet["name"], json.dumps(secret["data"], sort_keys=True)]),
        LIFECYCLE_CHECKSUM: _digest(config_map["data"]),
    }
    return [
        _service_account(fleet, namespace),
        secret,
        config_map,
        *([_network_policy(fleet, namespace)] if network_policy else []),
        _disruption_budget(fleet, namespace),
        _noting(_deployment(fleet, namespace, checksums, replicas), scaled_by),
    ]


def _noting(deployment: Object, scaled_by: str) -> Object:
    if not scaled_by:
        return deployment
    return {**deployment, "metadata": {**deployment["metadata"], "annotations": {names.SCALED_BY: scaled_by}}}


def file_name(thing: Mapping[str, Any]) -> str:
    """The file that an object is written to, below a folder for all fleets, such as `web/deployment.yaml`."""
    labels = thing["metadata"]["labels"]
    fleet, kind = labels[names.FLEET_LABEL], thing["kind"].lower()
    if labels[names.COMPONENT_LABEL] != names.SCALER_COMPONENT:
        return f"{fleet}/{kind}.yaml"
    # Of CronJobs there are many.
    ending = "-" + thing["metadata"]["name"].rpartition("-" + fleet + "-")[2] if kind == "cronjob" else ""
    return f"{fleet}/autoscaling-{kind}{ending}.yaml"


def _object(kind: str, version: str, fleet: Mapping[str, Any], namespace: str, **content: Any) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": names.object_name(fleet["name"]),
            "namespace": namespace,
            "labels": names.labels(fleet["name"]),
        },
        **content,
    }


def _service_account(fleet: Mapping[str, Any], namespace: str) -> Object:
    return _object("ServiceAccount", "v1", fleet, namespace, automountServiceAccountToken=False)


def _secret(fleet: Mapping[str, Any], namespace: str) -> Object:
    # In `data` and not in `stringData`, which the API server does not give back: nobody could tell what changed.
    data = {
        name: base64.b64encode(value.encode()).decode("ascii") for name, value in environment.of_secret(fleet).items()
    }
    return _object("Secret", "v1", fleet, namespace, type="Opaque", data=data)


def _config_map(fleet: Mapping[str, Any], namespace: str, lifecycle: Mapping[str, str]) -> Object:
    return _object("ConfigMap", "v1", fleet, namespace, data=dict(sorted(lifecycle.items())))


def _network_policy(fleet: Mapping[str, Any], namespace: str) -> Object:
    ports = [{"port": names.LIFECYCLE_PORT, "protocol": "TCP"}]
    spec = {
        "podSelector": {"matchLabels": names.selector(fleet["name"])},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": ports}],
    }
    return _object("NetworkPolicy", "networking.k8s.io/v1", fleet, namespace, spec=spec)


def _disruption_budget(fleet: Mapping[str, Any], namespace: str) -> Object:
    """One worker at a time makes room when nodes are emptied, also the only one of its fleet: it is drained."""
    spec = {
        "selector": {"matchLabels": names.selector(fleet["name"])},
        "maxUnavailable": 1,
        # One that does not consume holds up no node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object("PodDisruptionBudget", "policy/v1", fleet, namespace, spec=spec)


def _deployment(fleet: Mapping[str, Any], namespace: str, checksums: Mapping[str, str], replicas: int | None) -> Object:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": names.selector(fleet["name"])},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": max(PROGRESS_WITHIN, int(fleet["start_timeout"]) + 60),
        "template": pod_template.template(fleet, checksums),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return _object("Deployment", "apps/v1", fleet, namespace, spec=spec)


def _digest(texts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:32]


KINDS = (
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    # Last: by it a removal that broke off is known.
    ("apps/v1", "Deployment"),
)
"""Of all objects that a fleet can have, in the order in which they are to go."""


def names_of_all(fleet: str, namespace: str) -> list[Object]:
    """Every object that a fleet can have, by its name alone."""
    name = {"name": names.object_name(fleet), "namespace": namespace}
    return [{"apiVersion": version, "kind": kind, "metadata": dict(name)} for version, kind in KINDS]
