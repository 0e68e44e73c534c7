# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the pods of fleets are what their Deployments say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.rollout import Progress, progress

EVERY = 2.0
"""Seconds between two looks."""

_LINES = 15
"""Of a log that are shown."""

_MOST_TEXT = 8 * 1024


def rolled_out(
    api: Api,
    fleets: Sequence[str],
    ready_within: float,
    drained_within: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Wait until all pods of the fleets consume with their present configuration, and the others have ended.

    :param ready_within: seconds without progress of a fleet after which its rollout has failed.
    :param drained_within: seconds that pods then have to end.
    :return: the state of each fleet, for people.
    :raises OperationError: when a rollout does not go on, with what the kubelet says.
    """
    states: dict[str, str] = {}
    since = dict.fromkeys(fleets, clock())
    left = list(fleets)
    while True:
        for fleet in list(left):
            found = _look(api, fleet)
            if found.done:
                left.remove(fleet)
            elif states.get(fleet) != found.state:
                since[fleet] = clock()
            states[fleet] = found.state
            waited = clock() - since[fleet]
            if not found.done and (found.hopeless or waited > (drained_within if found.ready else ready_within)):
                raise _failed(api, fleet, found)
        if not left:
            return states
        sleep(EVERY)


def _look(api: Api, fleet: str) -> Progress:
    deployment = api.get(names.deployments(api.namespace, fleet))
    return progress(deployment, api.list(names.pods(api.namespace), names.selector_text(fleet)))


def _failed(api: Api, fleet: str, found: Progress) -> OperationError:
    tried = f"roll out the fleet {fleet} in namespace {api.namespace} of {api.server}"
    if found.ready:
        return OperationError(
            tried,
            f"{found.state}, and do not end",
            "Their tasks go on. See what they run with `kubectl logs`, and deploy again when they have ended.",
        )
    why = "; ".join(dict.fromkeys(found.problems)) or f"nothing went on: {found.state}"
    logs = "".join(_ends_of_logs(api, found))
    return OperationError(
        tried,
        f"{found.state}. {why}{logs}",
        "Workers that ran before go on as they were. Correct what it names, and deploy again.",
        problems=list(found.problems),
    )


def _ends_of_logs(api: Api, found: Progress) -> Iterator[str]:
    for pod, previous in found.logs[:1]:
        path, of_the_last = names.pods(api.namespace, pod, "log"), "true" if previous else "false"
        try:
            log = api.text(path, _MOST_TEXT, container=names.CONTAINER, tailLines=str(_LINES), previous=of_the_last)
        except OperationError:
            continue
        text = log.decode(errors="replace").strip()
        if text:
            yield f". The log of pod {pod} ends with:\n{text}\n"
