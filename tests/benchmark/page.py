# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the page for people cost? Ten busy fleets, a day of history, every span of the charts.

The page is made once after each look, as the service makes it, and the median of CPU times is judged. Ends with 1 when
one span took more than 50 ms.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "fakes"))

from muejam_bed.collection import collections_path

sys.path.insert(0, str(collections_path()))

from made_up_day import FLEETS, BusyDay

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import SPANS
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.page import page

MILLISECONDS = 50.0
TIMES = 50


def milliseconds(day: BusyDay, span: str) -> float:
    """Return the CPU time of making the page after another look."""
    shown = day.after_a_look()
    begun = time.thread_time()
    page(shown, day.at, span)
    return 1000 * (time.thread_time() - begun)


def main() -> int:
    """Measure and judge."""
    day, slowest = BusyDay(1), 0.0
    # The week is worked out once a day.
    milliseconds(day, "1h")
    for span in SPANS:
        took = [milliseconds(day, span) for _time in range(TIMES)]
        slowest = max(slowest, statistics.median(took))
        print(f"{FLEETS} fleets, the last {span}: {statistics.median(took):.1f} ms, {max(took):.1f} ms at most")
    kept = slowest <= MILLISECONDS
    print(f"{slowest:.1f} ms (allowed {MILLISECONDS:.0f}): {'kept' if kept else 'BROKEN'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
