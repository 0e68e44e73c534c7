# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which Redis is read."""

from __future__ import annotations

import copy
import pickle
from bisect import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muejam_celery_lifecycle.priorities import HighFirst


@given(st.sets(st.integers(0, 255), min_size=1), st.integers(0, 255))
def test_high_first_reads_downwards_and_files_as_before(steps: set[int], priority: int) -> None:
    plain = sorted(steps)
    high_first = HighFirst(steps)
    assert list(high_first) == list(reversed(plain))
    assert bisect(high_first, priority) == bisect(plain, priority)
    assert [high_first[index] for index in range(len(plain))] == plain
    assert high_first[-1] == plain[-1]
    assert len(high_first) == len(plain)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda steps: pickle.loads(pickle.dumps(steps))])
def test_high_first_survives_copies(again: object) -> None:
    copied = again(HighFirst([0, 3, 6, 9]))  # type: ignore[operator]
    assert isinstance(copied, HighFirst)
    assert list(copied) == [9, 6, 3, 0]
    assert copied[0] == 0
    assert list(HighFirst(copied)) == [9, 6, 3, 0]
