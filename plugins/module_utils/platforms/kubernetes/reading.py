# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a cluster tells of a fleet to a reading of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    DRAINING,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Asked, NotAllowed
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import FleetState
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pausing import pause_of
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.usages import Usage, Usages
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import (
    Status,
    StatusUnknown,
    require_fresh,
)

BY_HEARTBEATS = "its worker is not asked; its heartbeats tell"


def reading_of(state: FleetState, place: str, at: float, usages: Usages, asked: Asked) -> FleetReading:
    """Return the reading of a fleet.

    :param place: the namespace and its cluster.
    :param at: seconds since the epoch.
    :param asked: what the workers say of themselves; those that are not in it were not asked.
    """
    if not state.exists:
        return FleetReading(place, at, None, f"{place} has no fleet {state.fleet}", exists=False)
    workers = tuple(_worker(pod, at, usages, asked) for pod in state.pods)
    try:
        pause = pause_of(state, place)
    except OperationError as error:
        # Where that is unknown, so is all that would be decided on.
        return FleetReading(place, at, None, str(error), exists=True)
    return FleetReading(
        place,
        at,
        workers,
        exists=True,
        wanted_workers=state.replicas,
        pause=pause,
        scaled_by=state.scaled_by,
        lost={pod.node: pod.state for pod in state.lost},
    )


def _worker(pod: Pod, at: float, usages: Usages, asked: Asked) -> WorkerReading:
    for_seconds = None if pod.since is None else max(at - pod.since, 0.0)
    if pod.phase == DOWN:
        return WorkerReading(
            name=pod.node,
            phase=DOWN,
            life=pod.life,
            down_for=for_seconds,
            # The kubelet, or the scheduler, tries for ever.
            retried=True,
            restarts=pod.restarts,
            state=pod.state,
            why=f"it does not run ({pod.state})",
            id=pod.name,
        )
    own = _own_account(asked.get(pod.name))
    used = usages.by_pod.get(pod.name, Usage())
    return WorkerReading(
        name=pod.node,
        phase=pod.phase,
        life=pod.life,
        active=own.active,
        reserved=own.reserved,
        started=own.started,
        taken=own.taken,
        cpu_rate=used.cores,
        cores=pod.cores,
        memory=used.memory,
        memory_allowed=pod.memory,
        since=for_seconds if pod.phase == CONSUMING and not pod.not_ready else None,
        silent=own.silent or bool(pod.not_ready),
        restarts=pod.restarts,
        why="; ".join(filter(None, (pod.not_ready, pod.beside, own.why, *_unknown(pod, used, usages)))),
        concurrency=own.concurrency,
        scheduled=own.scheduled,
        id=pod.name,
    )


def _unknown(pod: Pod, used: Usage, usages: Usages) -> Iterator[str]:
    if None in (used.cores, used.memory) and pod.phase != DRAINING:
        yield f"what it uses is not known: {usages.why}"
    lacking = [name for name, allowed in (("CPU", pod.cores), ("memory", pod.memory)) if allowed is None]
    if lacking:
        of = " and ".join(lacking)
        yield f"its container has no request and no limit of {of}, so its use in per cent is not known"


def _own_account(said: Status | StatusUnknown | None) -> WorkerReading:
    """Return what a worker says of itself, in the fields of a reading that it fills."""
    if said is None:
        return WorkerReading("", "", why=BY_HEARTBEATS)
    if isinstance(said, StatusUnknown):
        return WorkerReading("", "", silent=not isinstance(said, NotAllowed), why=str(said))
    try:
        # It answers from another thread than that which takes messages, and says when it did by its own clock.
        require_fresh(said.monotonic, said.monotonic if said.written is None else said.written)
    except StatusUnknown as reason:
        return WorkerReading("", "", taken=said.taken, silent=True, why=str(reason), concurrency=said.concurrency)
    return WorkerReading(
        "",
        "",
        active=said.active,
        reserved=said.reserved,
        started=said.begun,
        taken=said.taken,
        concurrency=said.concurrency,
        scheduled=said.scheduled,
    )
