# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workers go when a fleet gets fewer, and how the cluster is told."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING, DOWN, STARTING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.placement import stop_rank
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Asked
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import DELETION_COST, pods
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import Status

GOES = -1
"""What it costs to delete a pod that is to go; others cost nothing, as those do that nobody gave a cost."""

_PHASES = {DOWN: Phase.DOWN, STARTING: Phase.STARTING, CONSUMING: Phase.RUNNING}


def stop_order(current: Iterable[Pod], asked: Asked) -> list[Pod]:
    """Return pods, the one to be stopped first in front; of equal ones the youngest.

    :param asked: what those that consume say of themselves.
    """

    def rank(pod: Pod) -> tuple[tuple[int, int], float, str]:
        said = asked.get(pod.name)
        # The cluster deletes one that is not ready before any that is, whatever it costs.
        phase = Phase.STARTING if pod.not_ready else _PHASES[pod.phase]
        return stop_rank(phase, said.tasks if isinstance(said, Status) else None), -(pod.created or 0.0), pod.name

    return sorted(current, key=rank)


def prefer(victims: Iterable[Pod], current: Iterable[Pod], fleets: Fleets) -> None:
    """Have the cluster delete the victims before all other pods, by what each costs. Only what differs is changed.

    :raises OperationError: when a pod may not be changed.
    """
    names = {pod.name for pod in victims}
    for pod in current:
        if pod.phase != CONSUMING or pod.not_ready:
            continue
        # One that was to go once, and stayed, must not go in place of these.
        cost = min(pod.cost, GOES) if pod.name in names else max(pod.cost, 0)
        if cost != pod.cost:
            _set_cost(pod, cost, fleets)


def _set_cost(pod: Pod, cost: int, fleets: Fleets) -> None:
    body = {"metadata": {"annotations": {DELETION_COST: str(cost)}}}
    try:
        fleets.api.patch(pods(fleets.namespace, pod.name), body)
    except Refused as error:
        if error.status != 404:
            raise
