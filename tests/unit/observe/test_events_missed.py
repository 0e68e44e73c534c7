# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts that heartbeats count and task events do not tell of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.missed import BUFFERED, MissedStarts
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.tally import Tally

NODE = "web-1@host"


def beat(processed: int, pid: int = 7) -> dict[str, object]:
    return {"type": "worker-heartbeat", "hostname": NODE, "pid": pid, "active": 0, "processed": processed}


def start(number: int) -> dict[str, object]:
    return {"type": "task-started", "hostname": NODE, "uuid": f"t{number}", "pid": 7}


def test_nothing_is_missed_by_who_hears_all():
    watch = MissedStarts()
    watch.heartbeat(100, True)
    for processed in range(101, 200):
        watch.started()
        assert watch.heartbeat(processed, True) == 0


def test_what_was_missed_shows_when_the_worker_rests():
    watch = MissedStarts()
    watch.heartbeat(100, True)
    assert [watch.heartbeat(processed, True) for processed in (103, 103, 103)] == [0, 3, 0]
    assert watch.missed == 3


def test_what_was_missed_shows_under_load_but_for_what_may_be_on_its_way():
    watch = MissedStarts()
    watch.heartbeat(0, True)
    told = []
    for turn in range(1, 6):
        for _start in range(1000 if turn != 2 else 400):
            watch.started()
        told.append(watch.heartbeat(1000 * turn, True))
    assert told == [0, 0, 600 - BUFFERED, 0, 0]
    assert watch.heartbeat(5000, True) == BUFFERED


def test_events_that_come_after_their_heartbeat_are_not_missed():
    watch = MissedStarts()
    watch.heartbeat(0, True)
    assert watch.heartbeat(20, True) == 0
    for _start in range(20):
        watch.started()
    assert watch.heartbeat(20, True) == 0


def test_starts_counted_before_we_listened_do_not_hide_later_ones():
    watch = MissedStarts()
    watch.heartbeat(100, True)
    for _start in range(10):
        watch.started()
    assert watch.heartbeat(100, True) == 0
    watch.heartbeat(105, True)
    assert watch.heartbeat(105, True) == 5


def test_a_worker_that_sends_no_task_events_misses_none():
    tally = Tally({"web": ["celery"]})
    for processed in (10, 50, 50, 50):
        tally.take(beat(processed), 0.0)
    worker = tally.fleets(0.0)["web"].workers[NODE]
    assert (worker.missed, worker.sends_task_events) == (0, False)


def test_a_restarted_worker_begins_at_nothing():
    tally = Tally({"web": ["celery"]})
    tally.take([start(1), beat(100), beat(40, pid=8), start(2), beat(41, pid=8)], 0.0)
    tally.take(beat(41, pid=8), 0.0)
    found = tally.fleets(0.0)["web"]
    assert (found.missed, found.workers[NODE].missed, found.workers[NODE].started) == (40, 40, 41)


def test_a_count_that_falls_is_another_life_too():
    tally = Tally({"web": ["celery"]})
    tally.take([start(1), beat(100), beat(3), beat(3)], 0.0)
    assert tally.fleets(0.0)["web"].missed == 3


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, BUFFERED)), max_size=20),
    st.integers(0, 1000),
)
def test_never_more_is_missed_than_was_and_in_the_end_all(turns, base):
    """Each turn: starts that are heard, starts that are lost, and how many of those heard come after the heartbeat."""
    watch = MissedStarts()
    watch.heartbeat(base, True)
    processed, lost, late = base, 0, 0
    for heard, dropped, delayed in turns:
        processed += heard + dropped
        lost += dropped
        # A worker that starts nothing has nothing to hold back for as long as an interval.
        now = max(0, heard + late - (delayed if heard + dropped else 0))
        late = heard + late - now
        for _start in range(now):
            watch.started()
        watch.heartbeat(processed, True)
        assert watch.missed <= lost
    for _start in range(late):
        watch.started()
    watch.heartbeat(processed, True)
    watch.heartbeat(processed, True)
    assert watch.missed == lost
