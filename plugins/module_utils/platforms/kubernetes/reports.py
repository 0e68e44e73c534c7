# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is told of a pod that does not come up."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import CONTAINER, pods
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable

_LINES = 10
_LINE = 300


def describe(pod: Pod | None) -> str:
    """A pod's state in a few words for a message."""
    if pod is None:
        return "gone"
    wrong = pod.state or pod.not_ready or pod.beside
    return f"{pod.phase} ({wrong})" if wrong else pod.phase


def log_command(namespace: str, pod: Pod | str) -> str:
    """What a person runs to see what a pod is about."""
    name = pod if isinstance(pod, str) else pod.name
    if isinstance(pod, Pod) and not pod.restarts and (pod.state or pod.beside):
        return f"`kubectl -n {namespace} describe pod {name}`"
    previous = " --previous" if isinstance(pod, Pod) and pod.restarts else ""
    return f"`kubectl -n {namespace} logs {name}{previous}`"


def failure_report(api: Api, namespace: str, pod: Pod) -> str:
    """What the kubelet says of a pod that did not come up, and its last words, on several lines."""
    return "\n".join([f"{pod.name}: {describe(pod)}", *(f"    {line}" for line in _last_words(api, namespace, pod))])


def _last_words(api: Api, namespace: str, pod: Pod) -> list[str]:
    path = pods(namespace, pod.name, "log")
    # Of one that crashes, the next attempt has nothing to say yet.
    for previous in ("true", "false") if pod.restarts else ("false",):
        try:
            said = api.text(path, container=CONTAINER, tailLines=str(_LINES), previous=previous)
        except Refused:
            continue
        lines = said.decode(errors="replace").strip().splitlines()
        if lines:
            return [printable(line)[:_LINE] for line in lines]
    return []
