# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until pods that were told to stop are gone, and say how they ended."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import DRAINING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.draining import DRAIN_MARGIN
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Ask
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import KILLED, Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import Status

_MOMENT = 0.1
_POLL_FIRST = 0.2
_POLL_MOST = 1.0


class Draining:
    """Pods on their way out, from when they were told until they are gone."""

    def __init__(self, victims: Mapping[str, Pod], clock: Clock, told_at: float) -> None:
        """Begin to watch.

        :param victims: by name, as they were before.
        :param told_at: when they were told that did not drain before, on the clock that cannot be set.
        """
        self._before = victims
        self._clock = clock
        passed = clock.monotonic() - clock.wall()
        self._told_at = {
            name: pod.since + passed if pod.phase == DRAINING and pod.since is not None else told_at
            for name, pod in victims.items()
        }
        self._seen = dict(victims)
        self._seen_at = dict(self._told_at)

    def wait(self, fleet: str, fleets: Fleets, ask: Ask, tried: str, timeout: float | None) -> list[str]:
        """Wait until they are gone, and return what to warn of.

        :param timeout: seconds, None for as long as their grace periods allow.
        :raises OperationError: when some still drain after that, or were killed.
        """
        if not self._before:
            return []
        longest = max(pod.grace for pod in self._before.values())
        limit = longest + DRAIN_MARGIN if timeout is None else timeout
        deadline = self._clock.monotonic() + limit
        pause = _POLL_FIRST
        while True:
            state = fleets.read(fleet)
            left = [pod for pod in state.pods if pod.name in self._before and pod.uid == self._before[pod.name].uid]
            self._note(left)
            if not left:
                return self._judge(tried)
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                asked = ask(left)
                busy = ", ".join(f"{pod.name} ({_busy(asked.get(pod.name))})" for pod in left)
                raise OperationError(
                    tried,
                    f"{len(left)} of {len(self._before)} stopped workers still drain after {limit:g} s: {busy}",
                    "They take no new tasks, go on draining and end by themselves; what is left at the end of their "
                    "grace period is killed. Wait for them, or give a longer drain_timeout next time.",
                )
            self._clock.sleep(min(pause, max(0.01, remaining), self._until_killed(left)))
            pause = min(_POLL_MOST, pause * 1.5)

    def _until_killed(self, left: list[Pod]) -> float:
        """Seconds until the next one is killed, if it is still there: it is gone a moment later."""
        now = self._clock.monotonic()
        ends = (self._told_at[pod.name] + self._before[pod.name].grace - now for pod in left)
        return min((end for end in ends if end > 0), default=math.inf) + _MOMENT

    def _note(self, left: list[Pod]) -> None:
        for pod in left:
            self._seen[pod.name] = pod
            self._seen_at[pod.name] = self._clock.monotonic()

    def _killed(self, name: str) -> bool:
        """Whether it was killed: it said so, or it was there when its time was over."""
        code, took = self._seen[name].exit_code, self._seen_at[name] - self._told_at[name]
        return code == KILLED or (code is None and took >= self._before[name].grace)

    def _judge(self, tried: str) -> list[str]:
        killed = [name for name in self._before if self._killed(name)]
        if killed:
            raise OperationError(
                tried,
                "the workers are gone, but not all of them got to finish their tasks: "
                + ", ".join(f"{name} was killed{self._by(name)}" for name in killed),
                "Make drain_timeout of the fleet longer than its longest task, and its memory_max large enough.",
                killed=killed,
            )
        return [
            f"{name} ended with exit code {pod.exit_code} while it drained."
            for name, pod in self._seen.items()
            if pod.exit_code
        ]

    def _by(self, name: str) -> str:
        pod = self._seen[name]
        if pod.ended_by == "OOMKilled":
            return " because it ran out of memory"
        return f" at the end of its grace period of {self._before[name].grace:g} s" if pod.exit_code != KILLED else ""


def _busy(said: object) -> str:
    if isinstance(said, Status):
        return f"{said.tasks} task{'' if said.tasks == 1 else 's'} in hand"
    return f"what it does is not known: {said or 'it was not asked'}"
