# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status says of a policy's bounds: those in force, and those that come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import InForce, in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of


@dataclass
class Coming:
    """Looks for the next edge when the last one that was found is over, and not at each look."""

    _policy: Policy | None = None
    _since: float = 0.0
    _now: InForce | None = None
    _next: InForce | None = None

    def at(self, policy: Policy, at: float) -> dict[str, Any]:
        """Return C(window), what holds at C(at) until when, and C(next_edge), what then holds; None is for ever.

        A pause does not change them: they are those of the policy.
        """
        now, following = self._now, self._next
        if now is None or policy is not self._policy or at < self._since or (now.until and at >= now.until):
            now = in_force(policy, at)
            following = None if now.until is None else in_force(policy, now.until)
            self._policy, self._since, self._now, self._next = policy, at, now, following
        until = None if now.until is None else written(now.until, zone_of(policy.schedule.timezone))
        return {
            "window": {**_bounds(now), "until": until},
            "next_edge": None if following is None else {"at": until, **_bounds(following)},
        }


def _bounds(held: InForce) -> dict[str, Any]:
    return {"name": held.window, "min_workers": held.min_workers, "max_workers": held.max_workers}
