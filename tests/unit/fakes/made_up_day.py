# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of ten busy fleets, for what the autoscaler's page costs."""

from __future__ import annotations

import random
from typing import Any

from made_up_service import MONDAY

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.calendar import Weeks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import History
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.page import Shown
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

FLEETS = 10
POLICY: dict[str, Any] = {
    "limits": {"min_workers": 2, "max_workers": 50, "cooldown_up": "10s", "cooldown_down": "20s"},
    "target": {"wait_time": 30},
    "schedule": {
        "timezone": "Europe/Berlin",
        "windows": [
            {"name": "office", "days": ["mon", "tue", "wed", "thu", "fri"], "time": "08:00-18:00", "min_workers": 4},
            {"name": "campaign", "from": "2026-01-07 10:00", "until": "2026-01-07 20:00", "min_workers": 10},
        ],
    },
}
QUEUES = ("celery", "mail", "reports")


def fleet_at(at: float, name: str, workers: int, chance: random.Random) -> dict[str, Any]:
    """Return a fleet's part of the status, as it is about to grow by one."""
    waiting = {str(step): chance.randint(0, 500) for step in (0, 3, 6, 9)}
    depth = sum(waiting.values())
    return {
        "fleet": name,
        "policy": True,
        "at": at,
        "workers": workers,
        "starting": workers // 4,
        "draining": workers // 5,
        "metrics": {"queue_depth": depth, "wait_time": chance.random() * 60},
        "unknown": {},
        "sources": {},
        "blocked": "",
        "action": "up",
        "from": workers,
        "to": workers + 1,
        "reasons": [f"queue_depth {depth} is above 20 for {workers} workers"] * 3,
        "stuck": {},
        "errors": {},
        "decisions": {},
        "queues": dict.fromkeys(QUEUES, depth // len(QUEUES)),
        "waiting_by_priority": dict.fromkeys(QUEUES, waiting),
        "window": {"name": "office", "min_workers": 2, "max_workers": 50},
        "next_edge": {"at": "2026-01-05T17:00:00Z", "name": "", "min_workers": 1, "max_workers": 50},
        "pause": None,
    }


class BusyDay:
    """Ten fleets after a day in which what waits was never the same for two points in a row."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._sizes = [self._chance.randint(2, 40) for _number in range(FLEETS)]
        self._history, self._weeks = History(), Weeks()
        self._policies = {f"fleet {number}": parse_policy(POLICY) for number in range(FLEETS)}
        self.at = MONDAY
        # Each step fills the points of one span.
        for at in sorted({MONDAY - step * number for step in (3, 12, 72, 288) for number in range(300)}):
            self._look(at)

    def after_a_look(self) -> Shown:
        """Look once more, 3 s later, and return what the page shows then."""
        self.at += 3
        return Shown(self._look(self.at), self._history, self._policies, self._weeks, "host")

    def _look(self, at: float) -> dict[str, Any]:
        chance = self._chance
        self._sizes = [chance.randint(2, 40) if chance.random() < 0.2 else size for size in self._sizes]
        fleets = [fleet_at(at, f"fleet {number}", size, chance) for number, size in enumerate(self._sizes)]
        status = {"at": at, "mode": "act", "interval": 3.0, "fleets": fleets}
        self._history.record(status)
        return status
