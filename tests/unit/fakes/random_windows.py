# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of a policy as they may come, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS

_TIMES = st.integers(0, 24 * 4 - 1).map(lambda quarters: f"{quarters // 4:02}:{quarters % 4 * 15:02}")
WEEKLY = st.builds(
    lambda times, days, floor, room: {
        "time": "-".join(times),
        "days": sorted(days),
        "min_workers": floor,
        "max_workers": floor + room,
    },
    st.lists(_TIMES, min_size=2, max_size=2, unique=True),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.integers(2, 6),
    st.integers(0, 6),
)
"""Windows of the week whose edges are quarters of hours, with a floor of 2 to 6."""
