# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to which everything happens that the page has to show, and pictures of it.

`page_scene.py FOLDER` draws them into a folder: light and dark, on a desk and on a phone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ("bed", "unit/fakes"))

from muejam_bed.collection import collections_path

sys.path.append(str(collections_path()))

from made_up_service import MadeUpFleet, MadeUpService

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.answering import PageOfDaemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics_server import serve
from muejam_bed.browser import Tab, tab_running

WINDOWS = [
    {"name": "office", "days": ["mon", "tue", "wed", "thu", "fri"], "time": "08:00-18:00", "min_workers": 4},
    {"name": "night", "time": "22:00-05:00", "max_workers": 6},
    {"name": "campaign", "from": "2026-01-07 10:00", "until": "2026-01-07 20:00", "min_workers": 10},
]
POLICY: dict[str, Any] = {
    "limits": {"min_workers": 2, "max_workers": 12, "cooldown_up": "30s", "cooldown_down": "60s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 40}, {"metric": "wait_time", "above": "20s"}]},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 10, "for": "30s"}]},
    "schedule": {"timezone": "Europe/Berlin", "windows": WINDOWS},
}
STEADY: dict[str, Any] = {"limits": {"min_workers": 2, "max_workers": 8}}
MINUTES = 12


class Scene:
    """A fleet that a burst grows, one whose broker goes away, one at its ceiling, and one without a policy."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.fleets = {
            "web": MadeUpFleet("web", {"celery": dict.fromkeys("0369", 0), "mail": dict.fromkeys("0369", 0)}, 4),
            "billing": MadeUpFleet("billing", {"billing": {"0": 3}}, 3, busy=2, policy=STEADY),
            "video": MadeUpFleet("video", {"video": {"0": 900}}, 8, busy=8, policy=STEADY),
            "legacy": MadeUpFleet("legacy", {"legacy": {"0": 0}}, 1, policy=None),
        }
        self.fleets["web"].policy = POLICY
        self.service = MadeUpService(folder, list(self.fleets.values()), **settings)
        self.port = serve("127.0.0.1", 0, (), documents={"/": PageOfDaemon(self.service.daemon).document})
        self.looks = 0

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def look(self) -> None:
        """Let things happen, and have the service look."""
        self.looks += 1
        web, billing = self.fleets["web"], self.fleets["billing"]
        minute = self.looks * 5 / 60
        assert web.waiting is not None
        queue = web.waiting["celery"]
        for number, priority in enumerate("0369"):
            if 2 <= minute < 4:
                queue[priority] += 3 + 2 * number
        left = web.workers or 0
        web.busy = min(left, sum(queue.values()))
        for priority in "0369":
            done = min(queue[priority], 2 * left)
            queue[priority] -= done
            left -= (done + 1) // 2
        web.draining = 1 if self.service.made_up["web"].workers and 7 < minute < 9 else 0
        billing.waiting = None if 5 <= minute < 6.5 or minute >= 10.5 else {"billing": {"0": 3 + self.looks % 4}}
        self.service.look()

    def play(self, minutes: float = MINUTES) -> None:
        """Let some minutes pass."""
        for _look in range(int(minutes * 12)):
            self.look()


def draw(tab: Tab, url: str, folder: Path) -> None:
    """Write the pictures."""
    for name, width, dark in (("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)):
        tab.show(width, 900, dark=dark)
        tab.open(url)
        tab.picture(folder / f"page-{name}.png")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        scene = Scene(Path(scratch))
        scene.play()
        with tab_running(Path(scratch)) as opened:
            draw(opened, scene.url, out)
            print(*opened.complaints, sep="\n")
