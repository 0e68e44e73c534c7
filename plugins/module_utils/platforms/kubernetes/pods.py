# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's pod, as the API tells of it: in which phase of a worker's life it is, and what the kubelet says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    STARTING,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    CONTAINER,
    DELETION_COST,
    HASH_LABEL,
    fleet_of_labels,
    node_name,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.quantities import quantity

USUAL_GRACE = 30.0
"""Seconds that a pod has to end where it names no others, by Kubernetes' default."""

KILLED = 137
"""Exit code of a process that was killed, by the kubelet at the end of the grace period or for want of memory."""

_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits without anything being wrong; with any other one the kubelet tries again."""

_MAY_PASS = frozenset({"ErrImagePull", "RunContainerError"})
"""Reasons that the kubelet gives at the first failure, before it waits longer and says so."""

_OVER = frozenset({"Failed", "Succeeded"})
"""Phases of a pod that has ended for good. One that is evicted has succeeded where its worker drained in time."""

_WORDS = 300


@dataclass(frozen=True)
class Pod:
    """One pod.

    :ivar life: changes with the container.
    :ivar phase: of the worker in it, as readings have it.
    :ivar over: whether it has ended for good and is no worker any more; nobody starts it again.
    :ivar lost: whether it is over though nobody told it to go, as one that was evicted for want of memory.
    :ivar state: what is wrong with it, in the words of kubelet and scheduler; empty where nothing is.
    :ivar hopeless: whether waiting alone is not expected to help: it crashes, or its image or its settings are missing.
    :ivar not_ready: why it is not ready although it was before; empty where it is ready, or was not yet.
    :ivar beside: what is wrong with a container beside the worker's, which itself goes on; empty where nothing is.
    :ivar since: when the phase began, in seconds since the epoch by the clock of the cluster; None where not told.
    :ivar created: likewise.
    :ivar start_seconds: how long it took from its creation until it was ready; None where it is not.
    :ivar grace: seconds that it has to end.
    :ivar cost: what it costs to delete it, as the controller of its ReplicaSet sees it.
    :ivar template: which version of the Deployment's template it is of.
    :ivar exit_code: of the worker, where it has ended; C(ended_by) is the kubelet's word for that.
    :ivar cores: CPU time that it asks for, else may use; memory likewise, in bytes.
    """

    name: str
    uid: str
    fleet: str
    life: str
    phase: str
    over: bool = False
    lost: bool = False
    state: str = ""
    hopeless: bool = False
    not_ready: str = ""
    beside: str = ""
    since: float | None = None
    created: float | None = None
    start_seconds: float | None = None
    grace: float = USUAL_GRACE
    cost: int = 0
    template: str = ""
    restarts: int = 0
    exit_code: int | None = None
    ended_by: str = ""
    cores: float | None = None
    memory: float | None = None

    @property
    def current(self) -> bool:
        """Whether it counts as a worker."""
        return not self.over and self.phase != DRAINING

    @property
    def node(self) -> str:
        """Celery's name of the worker."""
        return node_name(self.fleet, self.name)


def parse_pod(values: Mapping[str, Any]) -> Pod | None:
    """Return a pod of the API, None for one that is no worker of a fleet."""
    metadata, spec, status = (values.get(key) or {} for key in ("metadata", "spec", "status"))
    labels = metadata.get("labels") or {}
    fleet = fleet_of_labels(labels)
    if fleet is None:
        return None
    container = _of_worker(spec.get("containers"))
    told = _of_worker(status.get("containerStatuses"))
    restarts = _count(told.get("restartCount"))
    condition = _condition(status, "Ready")
    life = _phase(metadata, spec, status, told, condition)
    created, ready_at = instant(metadata.get("creationTimestamp")), instant(condition.get("lastTransitionTime"))
    ended = _terminated(told)
    came_up = life.phase == CONSUMING and not life.not_ready and not restarts and created and ready_at
    return Pod(
        name=str(metadata.get("name")),
        uid=str(metadata.get("uid")),
        fleet=fleet,
        life=f"{metadata.get('uid')}:{restarts}",
        phase=life.phase,
        over=status.get("phase") in _OVER,
        lost=status.get("phase") in _OVER and metadata.get("deletionTimestamp") is None,
        state=life.state,
        hopeless=life.hopeless,
        not_ready=life.not_ready,
        beside=life.beside,
        since=life.since,
        created=created,
        start_seconds=max((ready_at or 0.0) - (created or 0.0), 0.0) if came_up else None,
        grace=float(_count(spec.get("terminationGracePeriodSeconds"), int(USUAL_GRACE))),
        cost=_cost((metadata.get("annotations") or {}).get(DELETION_COST)),
        template=str(labels.get(HASH_LABEL) or ""),
        restarts=restarts,
        exit_code=ended.get("exitCode"),
        ended_by=str(ended.get("reason") or ""),
        cores=_allowed(container, "cpu"),
        memory=_allowed(container, "memory"),
    )


def instant(text: object) -> float | None:
    """Return a time of the API in seconds since the epoch, None for what is none."""
    try:
        # Before Python 3.11 the letter was not understood.
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True)
class _Life:
    phase: str
    since: float | None = None
    state: str = ""
    hopeless: bool = False
    not_ready: str = ""
    beside: str = ""


def _phase(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    told: Mapping[str, Any],
    ready: Mapping[str, Any],
) -> _Life:
    created = instant(metadata.get("creationTimestamp"))
    if status.get("phase") in _OVER:
        return _Life(DOWN, created, _why_over(status))
    deleted = instant(metadata.get("deletionTimestamp"))
    if deleted is not None:
        # It is the time at which the grace period is over.
        return _Life(DRAINING, deleted - _count(metadata.get("deletionGracePeriodSeconds")))
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        wrong = _words(scheduled.get("reason"), scheduled.get("message"))
        return _Life(DOWN, instant(scheduled.get("lastTransitionTime")) or created, wrong)
    if ready.get("status") == "True":
        return _Life(CONSUMING, instant(ready.get("lastTransitionTime")))
    state = told.get("state") or {}
    began = instant((state.get("running") or {}).get("startedAt"))
    beside, crashes = _beside(status)
    if told.get("ready") is True and beside:
        # The pod is not ready for want of another container. This one takes tasks all the same.
        return _Life(CONSUMING, began or created, hopeless=crashes, beside=beside)
    waiting = next(_waiting(status), None)
    if waiting is not None:
        return _Life(DOWN, _ended_at(told) or created, _trouble(waiting, told), waiting.get("reason") not in _MAY_PASS)
    if state.get("terminated"):
        return _Life(DOWN, instant(state["terminated"].get("finishedAt")) or created, _end(state["terminated"]))
    changed = instant(ready.get("lastTransitionTime"))
    if began is not None and changed is not None and changed > began:
        # It became so while this container ran: it was ready before.
        why = _words(ready.get("reason"), ready.get("message")) or "it is not ready any more"
        return _Life(CONSUMING, changed, not_ready=f"it is not ready any more ({why})")
    return _Life(STARTING, began or created, beside=beside)


def _why_over(status: Mapping[str, Any]) -> str:
    # The reason of a pod that was evicted may go when its worker has drained. This condition stays.
    disrupted = _condition(status, "DisruptionTarget")
    for found in (status, disrupted if disrupted.get("status") == "True" else {}):
        words = _words(found.get("reason"), found.get("message"))
        if words:
            return words
    return "it has ended"


def _waiting(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what the worker and containers before it wait for that does not come by itself, those before it first."""
    own = _of_worker(status.get("containerStatuses"))
    for each in (*(status.get("initContainerStatuses") or ()), *([own] if own else ())):
        waiting = (each.get("state") or {}).get("waiting")
        if waiting and str(waiting.get("reason") or "") not in _ON_ITS_WAY:
            yield waiting


def _beside(status: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what is wrong with a container beside the worker's, and whether waiting is not expected to help."""
    for each in status.get("containerStatuses") or ():
        if each.get("name") == CONTAINER or each.get("ready") is True:
            continue
        state = each.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting and str(waiting.get("reason") or "") not in _ON_ITS_WAY:
            return f"container {each.get('name')}: {_trouble(waiting, each)}", waiting.get("reason") not in _MAY_PASS
        if state.get("terminated"):
            return f"container {each.get('name')}: {_end(state['terminated'])}", False
    return "", False


def _trouble(waiting: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    last = (told.get("lastState") or {}).get("terminated")
    text = _words(waiting.get("reason"), waiting.get("message"))
    return f"{text}; before that {_end(last)}" if last else text


def _end(terminated: Mapping[str, Any]) -> str:
    reason = terminated.get("reason")
    why = f", {reason}" if reason not in (None, "Error", "Completed") else ""
    return f"it ended with exit code {terminated.get('exitCode')}{why}"


def _terminated(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return (told.get("state") or {}).get("terminated") or {}


def _ended_at(told: Mapping[str, Any]) -> float | None:
    return instant(((told.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))


def _of_worker(containers: object) -> Mapping[str, Any]:
    named = [each for each in containers or () if each.get("name") == CONTAINER] if isinstance(containers, list) else []
    return named[0] if named else {}


def _condition(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each.get("type") == name), {})


def _allowed(container: Mapping[str, Any], name: str) -> float | None:
    """Over what it asks for, as an HPA reckons; where it asks for nothing, the API itself takes the limit for it."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        found = quantity((resources.get(kind) or {}).get(name))
        if found:
            return found
    return None


def _words(reason: object, message: object) -> str:
    return ": ".join(str(each) for each in (reason, message) if each)[:_WORDS]


def _count(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def _cost(value: object) -> int:
    try:
        return int(str(value)) if value is not None else 0
    except ValueError:
        return 0
