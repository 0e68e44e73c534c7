# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait of a queue from its counts: the cases by hand."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.observe.flow import (
    EDGE,
    MOST_POINTS,
    TELLING,
    Flow,
    Wait,
    longest,
    look,
    look_at_arrivals,
    wait,
)


def put(place: float) -> float:
    """Return where between two looks the arrival at a place among those between them is put."""
    return EDGE + (1 - 2 * EDGE) * place


def looks(*seen: tuple[float, float, float | None], flow: Flow | None = None) -> Flow:
    """Look several times: (at, waiting, taken)."""
    flow = flow or Flow()
    for at, waiting, taken in seen:
        flow = look(flow, at, waiting, taken)
    return flow


def test_nothing_is_known_before_the_first_look() -> None:
    assert wait(Flow()).seconds is None
    assert wait(looks((0, 5, None))).seconds is None


def test_an_empty_queue_has_no_wait() -> None:
    assert wait(looks((0, 0, 17))) == Wait.exactly(0.0)


def test_a_burst_arrived_between_the_looks_around_it() -> None:
    flow = looks((0, 0, 0), (5, 600, 0), (10, 500, 100), (15, 400, 200))
    # The 201st of 600 that came between 0 and 5 s.
    assert wait(flow).seconds == pytest.approx(15 - 5 * put(200.5 / 600))


def test_an_only_task_is_put_halfway_between_the_looks() -> None:
    assert wait(looks((0, 0, 0), (5, 1, 0))).seconds == pytest.approx(2.5)
    assert wait(looks((0, 0, 0), (5, 1, 0), (65, 1, 0))).seconds == pytest.approx(62.5)


def test_a_steady_queue_waits_as_long_as_it_is_deep() -> None:
    # 10 arrive and 10 are taken per second, 50 wait: 5 seconds.
    flow = looks(*((float(at), 50.0, 10.0 * at) for at in range(0, 60)))
    assert wait(flow).seconds == pytest.approx(5.0, abs=0.2)


def test_what_waited_at_the_first_look_gives_a_lower_bound() -> None:
    flow = looks((100, 10, 3), (105, 20, 4), (110, 20, 4))
    assert wait(flow).seconds is None
    assert (wait(flow).at_least, wait(flow).at_most) == (10, None)
    flow = looks((115, 19, 13), flow=flow)
    # All ten of the first look are gone; the oldest now came between 100 and 105.
    assert 10 <= (wait(flow).seconds or 0) <= 15


def test_purged_messages_are_departures() -> None:
    flow = looks((0, 0, 0), (5, 1000, 0), (10, 0, 0))
    assert wait(flow).seconds == 0
    flow = looks((15, 3, 0), flow=flow)
    assert wait(flow).seconds == pytest.approx(5 - 5 * put(0.5 / 3)), "they came after the purge"
    flow = looks((20, 5, 3), (25, 2, 6), flow=flow)
    assert wait(flow).seconds == pytest.approx(25 - (15 + 5 * put(3.5 / 5)))


def test_the_wait_is_of_now_when_a_quiet_queue_gets_tasks_after_uncounted_departures() -> None:
    flow = looks((0, 0, 0), (5, 5, 0), (10, 0, 3), (3600, 0, 3), (3605, 4, 3))
    assert (wait(flow).seconds or 99) <= 5


def test_counts_that_come_late_are_no_arrivals() -> None:
    # A burst of 1000 is worked off at 100 a second; the counts lag by up to a quarter of a second.
    seen = [(0.0, 0.0, 0.0), (1.0, 1000.0, 0.0)]
    late = [0, 20, 5, 25, 0, 10, 25, 1]
    seen += [(1.0 + n, 1000.0 - 100 * n, 100.0 * n - late[n]) for n in range(1, 8)]
    flow = looks(*seen)
    assert flow.points[-1][1] == 1000
    assert flow.uncounted == 0
    assert wait(flow).seconds == pytest.approx(8 - 0.7, abs=0.1)


def test_messages_that_come_back_arrive_again() -> None:
    flow = looks((0, 0, 0), (5, 10, 0), (10, 0, 10), (15, 4, 10))
    assert (wait(flow).seconds or 99) <= 5


def test_nothing_is_made_of_a_look_whose_counts_are_unknown_unless_nothing_waits() -> None:
    flow = looks((0, 0, 0), (5, 10, 0))
    assert looks((10, 12, None), flow=flow) == flow
    assert wait(looks((10, 0, None), flow=flow)).seconds == 0
    later = looks((10, 0, None), (15, 2, 14), flow=flow)
    assert (wait(later).seconds or 99) <= 5


def test_a_gap_between_two_looks_is_bridged() -> None:
    flow = looks((0, 0, 0), (5, 10, 0), (65, 40, 30))
    # The 31st of 70, 60 of which came in the gap of a minute: at any time in it.
    assert wait(flow) == Wait(0.0, 60.0, "the two looks between which it arrived are 60 s apart")
    assert wait(flow).seconds == 60
    flow = looks((70, 35, 35), (75, 30, 40), flow=flow)
    assert (wait(flow).at_least, wait(flow).at_most, wait(flow).seconds) == (10, 70, 70)
    # What came since is known again.
    assert wait(looks((80, 3, 70), flow=flow)).exact


def test_far_apart_is_a_matter_of_the_wait() -> None:
    burst = looks((0, 0, 0), (60, 10, 0), (660, 10, 0))
    assert wait(burst).exact
    assert wait(burst).seconds == pytest.approx(630, abs=25)
    assert not wait(looks((0, 0, 0), (60, 10, 0), (360, 10, 0))).exact


def test_what_is_between_the_bounds_is_the_truth() -> None:
    # A task every 2 s, taken 3 s later, and looks a minute apart.
    flow = looks(*((60.0 * turn, 1.0, 30.0 * turn - 1) for turn in range(1, 9)))
    told = wait(flow)
    assert told.at_least <= 3 <= (told.at_most or 0)
    assert not told.exact


def test_a_queue_that_stands_still_gets_older() -> None:
    flow = looks((0, 0, 0), *((float(at), 3.0, 0.0) for at in range(5, 3605, 5)))
    assert wait(flow).seconds == pytest.approx(3600 - 5 * put(0.5 / 3), abs=5)
    assert len(flow.points) < 5


def test_a_clock_that_is_set_moves_what_is_remembered() -> None:
    flow = looks((1000, 0, 0), (1005, 4, 0), (1010, 4, 0))
    before = wait(flow).seconds
    assert wait(flow.shifted(3600)).seconds == before
    # Not told of: what has waited has still waited.
    assert wait(looks((910, 4, 0), flow=flow)).seconds == before


def test_memory_is_bounded_and_thinned_where_it_is_old() -> None:
    flow = Flow()
    for second in range(20000):
        flow = look(flow, float(second), float(second // 2), float(second // 2))
    assert len(flow.points) <= MOST_POINTS
    # Half of what arrives at one a second is taken: the oldest came when half the time was over.
    assert wait(flow).seconds == pytest.approx(10000, rel=0.05)


def test_the_longest_wait_of_several_queues() -> None:
    assert longest([("a", Wait.exactly(3.0)), ("b", Wait.exactly(5.0))]) == Wait.exactly(5.0)
    assert longest([]) == Wait.exactly(0.0)
    unknown = longest([("a", Wait.exactly(3.0)), ("b", Wait(why="no counts"))])
    assert unknown.seconds is None
    assert "b: no counts" in unknown.why
    told = longest([("a", Wait.exactly(3.0)), ("b", Wait(TELLING + 1, why="waited at the first look"))])
    assert (told.seconds, told.at_least, told.at_most) == (TELLING + 1, TELLING + 1, None)
    assert longest([("a", Wait.exactly(50.0)), ("b", Wait(why="no counts"))]).seconds == 50


def test_a_queue_with_bounds_beside_one_that_is_known() -> None:
    far = Wait(2.0, 62.0, "60 s apart")
    assert longest([("a", Wait.exactly(3.0)), ("b", far)]) == Wait(3.0, 62.0, "b: 60 s apart")
    assert longest([("a", Wait.exactly(70.0)), ("b", far)]) == Wait.exactly(70.0)
    assert longest([("a", far), ("b", Wait(40.0, why="waited before"))]).seconds == 40


def arrivals(*seen: tuple[float, float, float | None]) -> Flow:
    """Look several times where the broker counts arrivals: (at, waiting, arrived)."""
    flow = Flow()
    for at, waiting, arrived in seen:
        flow = look_at_arrivals(flow, at, waiting, arrived)
    return flow


def test_arrivals_tell_whoever_takes_the_messages() -> None:
    # 600 came between 0 and 5 s; 200 of them were taken, nobody knows by whom.
    assert wait(arrivals((0, 0, None), (5, 600, 600), (10, 450, 50))).seconds == pytest.approx(
        10 - 5 * put(200.5 / 600)
    )


def test_a_list_that_is_new_throughout_is_younger_than_the_last_look() -> None:
    assert wait(arrivals((0, 500, None), (5, 3, 3))).seconds == pytest.approx(5 - 5 * put(0.5 / 3))
    far = wait(arrivals((0, 500, None), (60, 3, 3)))
    assert (far.at_least, far.at_most) == (0, 60)


def test_what_waited_at_the_first_look_at_arrivals_gives_a_lower_bound() -> None:
    told = wait(arrivals((100, 10, None), (105, 20, 11), (110, 20, 4)))
    assert (told.at_least, told.at_most) == (10, None)


def test_arrivals_that_are_not_known_leave_the_bound_of_the_oldest_before() -> None:
    told = wait(arrivals((0, 0, None), (5, 10, 10), (65, 5000, None)))
    assert told.at_least == 0
    assert told.at_most == 65
    # What came since is known again.
    assert wait(arrivals((0, 0, None), (5, 10, 10), (65, 5000, None), (70, 100, 120))).exact
    assert wait(arrivals((0, 8, None), (5, 9, None))).at_most is None


def test_messages_that_come_back_to_the_front_shift_nothing() -> None:
    flow = arrivals((0, 0, None), (5, 10, 10), (10, 5, 0), (15, 9, 0))
    assert wait(flow).seconds == pytest.approx(15 - 5 * put(5.5 / 10))
    flow = look_at_arrivals(flow, 20, 5, 0)
    assert wait(flow).seconds == pytest.approx(20 - 5 * put(5.5 / 10))
