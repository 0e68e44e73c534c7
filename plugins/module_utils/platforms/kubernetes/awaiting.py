# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the pods of fleets are what their Deployments say."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import (
    REFUSED_FOR,
    Fleets,
    FleetState,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.reports import (
    describe,
    failure_report,
    log_command,
)

EVERY = 2.0
"""Seconds between two looks."""


def rolled_out(
    fleets: Fleets, wanted: Sequence[str], ready_within: float, drained_within: float, clock: Clock
) -> dict[str, str]:
    """Wait until all pods of the fleets consume with their present configuration, and the others have ended.

    :param wanted: names of fleets.
    :param ready_within: seconds without progress of a fleet after which its rollout has failed.
    :param drained_within: seconds that pods then have to end.
    :return: how each fleet stands, for people.
    :raises OperationError: when a rollout does not go on, with what the kubelet says.
    """
    states: dict[str, str] = {}
    since = dict.fromkeys(wanted, clock.monotonic())
    left = list(wanted)
    while True:
        for fleet in list(left):
            state = fleets.read(fleet)
            ready, text = _is_ready(state), _in_words(state)
            if states.get(fleet) != text:
                since[fleet] = clock.monotonic()
            states[fleet] = text
            if ready and not state.draining:
                left.remove(fleet)
                continue
            waited = clock.monotonic() - since[fleet]
            if (not ready and _is_hopeless(fleets, state, waited)) or waited > (
                drained_within if ready else ready_within
            ):
                raise _failed(fleets, state, text)
        if not left:
            return states
        clock.sleep(EVERY)


def _is_ready(state: FleetState) -> bool:
    """Whether all pods that are to be there are of the newest template and consume."""
    well = [pod for pod in state.consuming if not _is_held_up(pod)]
    return state.rolled_out and len(well) == len(state.current) == state.replicas


def _is_hopeless(fleets: Fleets, state: FleetState, waited: float) -> bool:
    """Whether it need not be waited for. Pods of an older template that never came up stay until newer ones consume."""
    if state.refused:
        # What was refused before the change may be told still.
        return waited >= REFUSED_FOR
    hopeless = [pod for pod in state.current if pod.hopeless]
    if not hopeless:
        return False
    try:
        newest = fleets.newest_template(state)
    except OperationError:
        return False
    return any(pod.template == newest for pod in hopeless)


def _in_words(state: FleetState) -> str:
    old = "" if state.rolled_out else ", some of them of an older configuration"
    return f"{len(state.consuming)} of {state.replicas} pods consume{old}, {len(state.draining)} drain"


def _failed(fleets: Fleets, state: FleetState, text: str) -> OperationError:
    tried = f"roll out the fleet {state.fleet} in namespace {fleets.namespace} of {fleets.api.server}"
    if _is_ready(state):
        names = ", ".join(pod.name for pod in state.draining)
        see = log_command(fleets.namespace, state.draining[0])
        return OperationError(
            tried,
            f"{text}, and these do not end: {names}",
            f"Their tasks go on. See {see}, and deploy again when they have ended.",
        )
    held_up = sorted((pod for pod in state.current if _is_held_up(pod)), key=lambda pod: not pod.hopeless)
    reports = [f"no pod could be made: {state.refused}"] if state.refused else []
    reports += [f"{pod.name}: {describe(pod)}" for pod in held_up[1:]]
    if held_up:
        # The log of one is enough: they run the same.
        reports.append(failure_report(fleets.api, fleets.namespace, held_up[0]))
    return OperationError(
        tried,
        "\n".join([text, *(reports or ["no pod made progress"])]),
        "Workers that ran before go on as they were. Correct what is named above, and deploy again.",
    )


def _is_held_up(pod: Pod) -> bool:
    return pod.phase != CONSUMING or bool(pod.not_ready or pod.beside)
