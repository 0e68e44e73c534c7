# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods do by what was heard of them, for whoever chooses which ones are to go: nobody is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Ask, Asked
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import Status, StatusUnknown

UNHEARD = StatusUnknown("no heartbeat of it was heard recently")


def ask_heartbeats(heartbeats: Callable[[str], Heartbeats]) -> Ask:
    """Return what tells of pods by their heartbeats, which are a few seconds old at most.

    They say what runs and not what is held besides: an idle one holds nothing but what waits for its time.

    :param heartbeats: what the workers of a fleet last said of themselves.
    """

    def ask(pods: Iterable[Pod]) -> Asked:
        return {pod.name: _told(*heartbeats(pod.fleet).get(pod.node, (None, None))) for pod in pods}

    return ask


def _told(active: int | None, started: int | None) -> Status | StatusUnknown:
    if active is None:
        return UNHEARD
    return Status(pid=0, state="consuming", active=active, reserved=0, monotonic=0.0, started=started)
