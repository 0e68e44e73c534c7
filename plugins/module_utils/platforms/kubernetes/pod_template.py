# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of a fleet: one container that is the worker, under the restricted Pod Security Standard.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import amounts, pod_options
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import (
    LIFECYCLE_DIRECTORY,
    LIFECYCLE_MODULE,
    RUNTIME_DIRECTORY,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import environment, names

LAST_STEPS = 30
"""Seconds beyond C(drain_timeout) that a pod has to end: what Celery does when nothing runs any more."""

PROBE_EVERY = 10
READY_EVERY = 5
START_EVERY = 2
"""Seconds between two questions whether a worker lives, consumes, has started. A thread answers, not a process."""

PROBE_TIMEOUT = 5
"""Seconds for an answer; a task of pure Python that holds the interpreter may take them."""


def template(fleet: Mapping[str, Any], checksums: Mapping[str, str]) -> dict[str, Any]:
    """The template of a resolved fleet's pods.

    :param checksums: annotations that stand for what the pods read: where one changes, pods are replaced.
    """
    ours = {
        "metadata": {"labels": names.labels(fleet["name"]), "annotations": dict(checksums)},
        "spec": {
            "serviceAccountName": names.object_name(fleet["name"]),
            "automountServiceAccountToken": False,
            # Variables such as CELERY_WORKER_PORT, which are made of the names of Services, would reach Celery.
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace_period(fleet),
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(fleet)],
            "volumes": _volumes(fleet),
        },
    }
    merged: dict[str, Any] = pod_options.merged(ours, fleet["pod_options"])
    return merged


def grace_period(fleet: Mapping[str, Any]) -> int:
    """Seconds from the request to end until a pod is killed."""
    seconds: float = fleet["drain_timeout"]
    return math.ceil(seconds) + LAST_STEPS


def _container(fleet: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "name": names.CONTAINER,
        "image": fleet["image"],
        # In place of the image's entry point too: what gets SIGTERM is the worker itself.
        "command": environment.command(fleet),
        "envFrom": [{"secretRef": {"name": names.object_name(fleet["name"])}}],
        "env": environment.of_pod(fleet),
        "ports": [{"name": names.LIFECYCLE_PORT_NAME, "containerPort": names.LIFECYCLE_PORT, "protocol": "TCP"}],
        "resources": _resources(fleet),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, **({"readOnly": True} if name == "lifecycle" else {})}
            for name, path in _mounts(fleet)
        ],
        **_probes(fleet),
    }
    if fleet["pull_policy"]:
        found["imagePullPolicy"] = fleet["pull_policy"]
    if fleet["working_directory"]:
        found["workingDir"] = fleet["working_directory"]
    return found


def _resources(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Limits, and what a node has to have left; Kubernetes takes a limit for both where nothing is asked for."""
    limits = {}
    if fleet["cpu_quota"]:
        limits["cpu"] = amounts.cpu(fleet["cpu_quota"])
    memory = amounts.memory(fleet["memory_max"]) if fleet["memory_max"] else None
    if memory:
        limits["memory"] = memory
    requests = {}
    if fleet["requests"].get("cpu"):
        requests["cpu"] = amounts.cpu(fleet["requests"]["cpu"])
    asked = fleet["requests"].get("memory")
    if asked:
        requests["memory"] = str(amounts.memory(asked))
    both = {"limits": limits, "requests": requests}
    return {name: amounts for name, amounts in both.items() if amounts}


def _mounts(fleet: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("lifecycle", f"{LIFECYCLE_DIRECTORY}/{LIFECYCLE_MODULE}"),
        ("status", RUNTIME_DIRECTORY),
        ("tmp", "/tmp"),
        *((f"writable-{number}", path) for number, path in enumerate(_writable(fleet), 1)),
    ]


def _writable(fleet: Mapping[str, Any]) -> list[str]:
    paths = dict.fromkeys(path.rstrip("/") for path in fleet["read_write_paths"])
    return [path for path in paths if path not in ("/tmp", RUNTIME_DIRECTORY)]


def _volumes(fleet: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": "lifecycle", "configMap": {"name": names.object_name(fleet["name"])}},
        # Written every second: not to a disk.
        {"name": "status", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        {"name": "tmp", "emptyDir": {}},
        *({"name": f"writable-{number + 1}", "emptyDir": {}} for number in range(len(_writable(fleet)))),
    ]


def _probes(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Ready is who consumes, alive is whose loop turns. Who drains, or waits for a broker, is alive.

    A worker that only waits for its broker is not restarted for it, also while it starts: the kubelet would let more
    and more time pass between two attempts, and the broker would be back long before the workers.
    """
    watchdog = fleet["watchdog"]
    found = {
        "startupProbe": _asking(names.ALIVE_PATH, START_EVERY, math.ceil(fleet["start_timeout"] / START_EVERY)),
        "readinessProbe": _asking(names.READY_PATH, READY_EVERY, 2),
    }
    if watchdog:
        # Neither a loop that stands still nor silence ends a worker sooner than the watchdog says. It will not drain
        # then: it is not to hold its place for as long as one that does.
        found["livenessProbe"] = {
            **_asking(names.ALIVE_PATH, PROBE_EVERY, math.ceil(watchdog / PROBE_EVERY)),
            "terminationGracePeriodSeconds": LAST_STEPS,
        }
    return found


def _asking(path: str, every: int, attempts: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.LIFECYCLE_PORT_NAME},
        "periodSeconds": every,
        "timeoutSeconds": PROBE_TIMEOUT,
        "failureThreshold": max(1, attempts),
    }
