# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of tasks and names stays bounded, and gaps are accounted for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.gaps import Gaps
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.labels import Labels
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.recent import Recent
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import StreamHealth


@given(st.lists(st.tuples(st.sampled_from(["put", "pop"]), st.integers(0, 30)), max_size=200))
def test_the_last_half_is_remembered_and_the_number_is_bounded(steps):
    recent: Recent[int] = Recent(10)
    put: list[tuple[int, int]] = []
    gone: set[int] = set()
    for turn, (what, key) in enumerate(steps):
        if what == "put":
            recent.put(key, turn)
            put.append((key, turn))
            gone.discard(key)
        else:
            recent.pop(key)
            gone.add(key)
            assert recent.get(key) is None
        assert len(recent) <= 10
        for last, value in dict(put[-5:]).items():
            assert recent.get(last) == (None if last in gone else value)


def test_equal_labels_are_one_object_also_beyond_the_limit():
    labels = Labels(2)
    first = labels.of("".join(["ad", "d"]), "celery")
    assert labels.of("add", "celery") is first
    for number in range(10):
        assert labels.of(f"t{number}", "q") == (f"t{number}", "q")
    assert len(labels._known) <= 2


def test_a_gap_counts_from_its_begin_and_ends_with_joining():
    gaps = Gaps()
    assert gaps.lost(1.0, "refused") is None
    assert gaps.health(2.0, 0, 0, 0) == StreamHealth(problem="refused")
    gaps.joined(3.0)
    assert gaps.health(5.0, 1, 2, 3) == StreamHealth(connected_for=2.0, events=1, foreign=2, garbage=3)
    assert gaps.lost(10.0, "gone") == 7.0
    assert gaps.lost(12.0, "refused") is None
    health = gaps.health(13.0, 0, 0, 0)
    assert (health.gaps, health.gap_seconds, health.last_gap_seconds) == (1, 3.0, None)
    assert (health.problem, health.connected) == ("refused", False)
    gaps.joined(14.0)
    gaps.lost(20.0, "gone")
    gaps.joined(22.0)
    health = gaps.health(30.0, 0, 0, 0)
    assert (health.gaps, health.gap_seconds, health.last_gap_seconds, health.connected_for) == (2, 6.0, 2.0, 8.0)
    assert health.problem == ""
