# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), ("90", 90), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("1h", 3600), (0, 0), (0.5, 0.5), ("1h5s", 3605)],
)
def test_reads_what_people_write(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "1h30",
        "1m30",
        "٣s",
        "2 minutes",
        "m2",
        "30s1m",
        "-5s",
        -1,
        True,
        None,
        [],
        float("nan"),
        float("inf"),
        "1.5h",
    ],
)
def test_refuses_anything_else(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.integers(min_value=0, max_value=10**7))
def test_writes_what_it_reads(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
