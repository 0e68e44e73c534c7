# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a fleet's pods are on their way to what its Deployment says, and what holds them up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names

_HOPELESS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
"""Why the kubelet starts no container, where it will not do so before somebody changes something."""

_IN_ORDER = {"ContainerCreating", "PodInitializing"}

_CRASHES = 3
"""Ends of one container after which it is taken for broken."""


@dataclass(frozen=True)
class Progress:
    """How far a rollout is.

    :ivar done: whether all pods are of the present template and consume, and those of others have ended.
    :ivar ready: whether the former holds; pods that drain may be left.
    :ivar state: in one line, what is waited for.
    :ivar problems: what holds it up, each as a sentence with the pod's name.
    :ivar hopeless: whether it will not go on before somebody changes something.
    :ivar logs: pods whose log tells more, and whether it is that of a container that has ended.
    """

    done: bool
    ready: bool
    state: str
    problems: tuple[str, ...] = ()
    hopeless: bool = False
    logs: tuple[tuple[str, bool], ...] = ()


def progress(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Progress:
    """Judge a Deployment and its pods, as the API server has them."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    there = status.get("replicas", 0)
    available, updated = status.get("availableReplicas", 0), status.get("updatedReplicas", 0)
    ready = bool(seen and updated == there == available == wanted)
    draining = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
    state = (
        f"{updated} of {wanted} pods have the present configuration, {available} pods consume, {len(draining)} drain"
    )
    if ready:
        return Progress(not draining, True, state)
    problems, logs, hopeless = list(_of_deployment(status)), [], _has_failed(status)
    for pod in pods:
        if pod in draining or _is_ready(pod):
            continue
        for problem, final, log in _of_pod(pod):
            problems.append(f"pod {pod['metadata']['name']}: {problem}")
            hopeless = hopeless or final
            if log:
                logs.append((pod["metadata"]["name"], log == "previous"))
    return Progress(False, False, state, tuple(problems), hopeless, tuple(logs))


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _of_deployment(status: Mapping[str, Any]) -> Iterator[str]:
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        yield f"no pod could be made: {failure.get('message') or failure.get('reason')}"


def _has_failed(status: Mapping[str, Any]) -> bool:
    if _condition(status, "ReplicaFailure").get("status") == "True":
        return True
    return _condition(status, "Progressing").get("reason") == "ProgressDeadlineExceeded"


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return _condition(pod.get("status") or {}, "Ready").get("status") == "True"


def _of_pod(pod: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Yield what holds up a pod, whether that is final, and which log tells more: C(current), C(previous) or none."""
    status = pod.get("status") or {}
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        # A node may still come, as where their number is scaled.
        yield f"no node takes it: {scheduled.get('message') or scheduled.get('reason')}", False, ""
        return
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        state = container.get("state") or {}
        ended = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
        waiting = state.get("waiting") or {}
        reason = waiting.get("reason", "")
        if ended.get("exitCode") not in (None, 0) or (ended and container.get("restartCount", 0)):
            yield (
                _ended(container, ended),
                container.get("restartCount", 0) >= _CRASHES or reason in _HOPELESS,
                "previous" if state.get("terminated") is None else "current",
            )
        elif waiting and reason not in _IN_ORDER:
            text = waiting.get("message") or ""
            yield f"{container['name']} does not start: {reason}{': ' + text if text else ''}", reason in _HOPELESS, ""
        elif state.get("running") and not container.get("ready") and container["name"] == names.CONTAINER:
            yield "runs, and does not consume yet", False, "current"


def _ended(container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    reason = ended.get("reason") or "Error"
    count = container.get("restartCount", 0)
    again = f", started again {count} time{'' if count == 1 else 's'}" if count else ""
    text = f": {ended['message'].strip()}" if ended.get("message") else ""
    why = " (it took more memory than memory_max)" if reason == "OOMKilled" else ""
    return f"{container['name']} ended with {ended.get('exitCode')}, {reason}{why}{again}{text}"
