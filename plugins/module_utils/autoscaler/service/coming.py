# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status says of a policy's bounds: those in force, and those that come next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import Edge, edges_from
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of


@dataclass
class Coming:
    """Looks for the next edge when the last one that was found is over, and not at each look."""

    _policy: Policy | None = None
    _edges: tuple[Edge, Edge | None] | None = field(default=None)

    def at(self, policy: Policy, at: float) -> dict[str, Any]:
        """Return C(window), what holds at C(at) until when, and C(next_edge), what then holds; None is for ever.

        A pause does not change them: they are those of the policy.
        """
        known = self._edges
        if known is None or policy is not self._policy or at < known[0].at or (known[1] and at >= known[1].at):
            known = edges_from(policy, at)
            self._policy, self._edges = policy, known
        zone = zone_of(policy.schedule.timezone)
        now, following = known
        until = None if following is None else written(following.at, zone)
        return {
            "window": {**_bounds(now), "until": until},
            "next_edge": None if following is None else {"at": until, **_bounds(following)},
        }


def _bounds(edge: Edge) -> dict[str, Any]:
    return {"name": edge.window, "min_workers": edge.floor, "max_workers": edge.ceiling}
