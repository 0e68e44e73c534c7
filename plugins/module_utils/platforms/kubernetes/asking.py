# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the workers in pods what they do, by way of the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import status_path
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import (
    Status,
    StatusUnknown,
    parse_status,
)

MOST = 64 * 1024
"""Bytes of an answer that are read; no worker sends as many."""

ANSWER_WITHIN = 3.0
"""Seconds; a worker answers from a thread that has nothing else to do."""

AT_ONCE = 8
"""Workers that are asked at the same time: one that hangs must not hold up all others."""

Asked = Mapping[str, "Status | StatusUnknown"]
"""By the pod's name what its worker said, or why it did not."""

Ask = Callable[[Iterable[Pod]], Asked]


class NotAllowed(StatusUnknown):
    """The worker was not asked, which says nothing about it."""


def ask_by(api: Api, namespace: str) -> Ask:
    """Return what asks workers through an API server."""

    def ask(pods: Iterable[Pod]) -> Asked:
        names = [pod.name for pod in pods]
        if not names:
            return {}
        # Whoever may ask one may ask all: without the right, one call is enough.
        first = _ask(api, namespace, names[0])
        if isinstance(first, NotAllowed) or len(names) == 1:
            return dict.fromkeys(names, first)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            rest = threads.map(lambda name: _ask(api, namespace, name), names[1:])
            return {names[0]: first, **dict(zip(names[1:], rest))}

    return ask


def _ask(api: Api, namespace: str, pod: str) -> Status | StatusUnknown:
    try:
        return parse_status(api.text(status_path(namespace, pod), MOST, ANSWER_WITHIN))
    except StatusUnknown as reason:
        return reason
    except Refused as error:
        if error.status in (401, 403):
            return NotAllowed(f"its worker could not be asked: {error.why}. {error.next_step}")
        if error.status == 404:
            return NotAllowed("its worker tells no status over HTTP")
        return StatusUnknown(f"its worker does not answer: {error.why}")
