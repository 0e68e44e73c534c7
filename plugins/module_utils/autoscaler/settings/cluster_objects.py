# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as objects of a cluster: two replicas of which one leads, with the least rights that do. Pure.

On a host root alone may scale, and a helper asks it. Here the cluster's own rules say what the service may do: to scale
the Deployments that it has a policy for, and no other object of anybody.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    ACT,
    ALIVE_PATH,
    CLUSTER_NAME,
    CONFIGURATION_FILE,
    READY_PATH,
    STATE_OBJECT,
    STATUS_FILE,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import VARIABLES
from ansible_collections.muejam.celery.plugins.module_utils.fleet import amounts
from ansible_collections.muejam.celery.plugins.module_utils.fleet.fingerprint import config_id
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    COMPONENT_LABEL,
    MANAGER,
    MANAGER_LABEL,
    NAME_LABEL,
    object_name,
)

USER = 10001
"""Of the image. It owns nothing in it."""

DIGEST = "muejam.celery/configuration"
"""Annotation of the pods: another configuration makes other pods."""

ALL_ADDRESSES = "0.0.0.0"
LOOPBACK = "127.0.0.1"
PROBE_SECONDS = 10
REQUESTS = {"requests": {"cpu": "20m", "memory": "64Mi"}}

Object = dict[str, Any]


@dataclass(frozen=True)
class ClusterOptions:
    """What the objects have that no configuration says.

    :ivar memory_max: as systemd has it, such as C(256M).
    """

    namespace: str
    image: str
    replicas: int = 2
    memory_max: str = "256M"


def configuration_in_a_cluster(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of the role as a pod is to have it.

    The loopback of a pod is nobody's but its own: its probes, and Prometheus, come from elsewhere.
    """
    metrics = dict(configuration["metrics"])
    if metrics["address"] == LOOPBACK:
        metrics["address"] = ALL_ADDRESSES
    return {**configuration, "platform": KUBERNETES, "metrics": metrics}


def objects(configuration: Mapping[str, Any], options: ClusterOptions) -> list[Object]:
    """Return the objects in the order in which to apply them.

    :param configuration: as C(configuration_in_a_cluster) gives it. It holds secrets.
    """
    text = json.dumps(configuration, indent=4, sort_keys=True)
    return [
        _object("v1", "ServiceAccount", options, automountServiceAccountToken=False),
        _object("rbac.authorization.k8s.io/v1", "Role", options, rules=rules(configuration)),
        _object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            options,
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": CLUSTER_NAME},
            subjects=[{"kind": "ServiceAccount", "name": CLUSTER_NAME, "namespace": options.namespace}],
        ),
        _object(
            "v1",
            "Secret",
            options,
            type="Opaque",
            data={_file(CONFIGURATION_FILE): base64.b64encode(text.encode()).decode()},
        ),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            options,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": _selector()}},
        ),
        _object("apps/v1", "Deployment", options, spec=_deployment(configuration, options, text)),
    ]


def of_role(configuration: Mapping[str, Any], settings: Mapping[str, Any], namespace: str) -> list[Object]:
    """Return the objects for a configuration of the role, and for its variables by their names without the prefix."""
    own = {name: VARIABLES[name].plain(settings[name]) for name in ("image", "replicas", "memory_max")}
    return objects(configuration_in_a_cluster(configuration), ClusterOptions(namespace, **own))


def rules(configuration: Mapping[str, Any]) -> list[Object]:
    """Return what the service may do, as rules of a Role."""
    fleets = configuration["fleets"]
    read = [object_name(fleet["name"]) for fleet in fleets]
    scaled = [object_name(fleet["name"]) for fleet in fleets if "policy" in fleet and configuration["mode"] == ACT]
    restarts = any(fleet.get("stuck", {}).get("restart") for fleet in fleets if "policy" in fleet)
    return [
        _rule("", "pods", ["list"]),
        _rule("apps", "deployments", ["list"]),
        _rule("apps", "deployments", ["get"], read),
        _rule("metrics.k8s.io", "pods", ["list"]),
        # Who else scales a fleet: both would undo what the other did.
        _rule("autoscaling", "horizontalpodautoscalers", ["list"]),
        _rule("keda.sh", "scaledobjects", ["list"]),
        *(
            [
                _rule("apps", "deployments/scale", ["get", "patch"], scaled),
                # What it costs to delete each: idle ones go first. Rules know no pods by their labels.
                _rule("", "pods", ["patch", "delete"] if restarts else ["patch"]),
            ]
            if scaled
            else []
        ),
        # Which one is made cannot be named in a rule.
        _rule("coordination.k8s.io", "leases", ["create"]),
        _rule("coordination.k8s.io", "leases", ["get", "update"], [CLUSTER_NAME]),
        _rule("", "configmaps", ["create"]),
        _rule("", "configmaps", ["get", "update"], [STATE_OBJECT]),
    ]


def names_of_all(namespace: str) -> list[Object]:
    """Return everything that the service has in a cluster by its name alone, in the order in which to remove it."""
    kinds = (
        ("apps/v1", "Deployment", CLUSTER_NAME),
        ("policy/v1", "PodDisruptionBudget", CLUSTER_NAME),
        ("v1", "Secret", CLUSTER_NAME),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", CLUSTER_NAME),
        ("rbac.authorization.k8s.io/v1", "Role", CLUSTER_NAME),
        # What it has made for itself.
        ("coordination.k8s.io/v1", "Lease", CLUSTER_NAME),
        ("v1", "ConfigMap", STATE_OBJECT),
        # By it the next run knows of a removal that broke off.
        ("v1", "ServiceAccount", CLUSTER_NAME),
    )
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        for version, kind, name in kinds
    ]


def _deployment(configuration: Mapping[str, Any], options: ClusterOptions, text: str) -> Object:
    # More people read Deployments than Secrets, and passwords are a part of it: so it is slow to guess.
    digest = config_id("", [options.namespace, text])
    return {
        "replicas": options.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": _selector()},
        "template": {
            "metadata": {"labels": _labels(), "annotations": {DIGEST: digest}},
            "spec": {
                "serviceAccountName": CLUSTER_NAME,
                "automountServiceAccountToken": True,
                "enableServiceLinks": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                # Not both on the node that is lost, where there is another one.
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": _selector()},
                    }
                ],
                "terminationGracePeriodSeconds": 30,
                "containers": [_container(configuration, options)],
                "volumes": [
                    {"name": "configuration", "secret": {"secretName": CLUSTER_NAME, "defaultMode": 0o440}},
                    {"name": "status", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
                ],
            },
        },
    }


def _container(configuration: Mapping[str, Any], options: ClusterOptions) -> Object:
    port = configuration["metrics"]["port"]
    limit = amounts.memory(options.memory_max)
    return {
        "name": CLUSTER_NAME,
        "image": options.image,
        "args": ["run", "--config", CONFIGURATION_FILE],
        "ports": [{"name": "metrics", "containerPort": port, "protocol": "TCP"}],
        "resources": {**REQUESTS, **({"limits": {"memory": limit}} if limit else {})},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # It begins with its brokers and its cluster, which may keep it waiting.
        "startupProbe": _probe(ALIVE_PATH, 2, 30),
        # The service itself says when its loop is late; a probe that is late itself is asked again.
        "livenessProbe": _probe(ALIVE_PATH, PROBE_SECONDS, 3),
        "readinessProbe": _probe(READY_PATH, PROBE_SECONDS, 3),
        "volumeMounts": [
            {"name": "configuration", "mountPath": _folder(CONFIGURATION_FILE), "readOnly": True},
            {"name": "status", "mountPath": _folder(STATUS_FILE)},
        ],
    }


def _probe(path: str, seconds: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _object(version: str, kind: str, options: ClusterOptions, **parts: Any) -> Object:
    metadata = {"name": CLUSTER_NAME, "namespace": options.namespace, "labels": _labels()}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


def _rule(group: str, resource: str, verbs: Sequence[str], names: Sequence[str] = ()) -> Object:
    rule: Object = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def _selector() -> dict[str, str]:
    return {NAME_LABEL: CLUSTER_NAME}


def _labels() -> dict[str, str]:
    return {**_selector(), MANAGER_LABEL: MANAGER, COMPONENT_LABEL: "autoscaler"}


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
