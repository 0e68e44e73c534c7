# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is started and who is stopped: the plan, over the whole space of fleets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import unit_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import FleetState, Phase, Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.placement import (
    free_numbers,
    plan_scaling,
    stop_order,
)


def unit(number: int, phase: Phase = Phase.RUNNING, enabled: bool = True, masked: bool = False) -> Unit:
    """A worker of the fleet that the tests here are about."""
    return Unit(unit_name("web", number), number, phase, enabled=enabled, enabled_for_good=enabled, masked=masked)


def fleet(*units: Unit) -> FleetState:
    """A fleet of these workers."""
    return FleetState("web", exists=True, units=units)


def units() -> st.SearchStrategy[Unit]:
    """Any worker, whatever its state."""
    return st.builds(unit, st.integers(1, 12), st.sampled_from(Phase), st.booleans(), st.booleans())


def fleets() -> st.SearchStrategy[FleetState]:
    """Any fleet, each number at most once, by number as they are read."""
    return st.lists(units(), max_size=12, unique_by=lambda one: one.number).map(
        lambda some: fleet(*sorted(some, key=lambda one: one.number))
    )


LOADS = st.dictionaries(st.integers(1, 12), st.none() | st.integers(0, 5))
TARGETS = st.integers(0, 20)


@given(fleets(), TARGETS, LOADS)
def test_reaches_exactly_the_number(state: FleetState, workers: int, load: dict[int, int | None]) -> None:
    plan = plan_scaling(state, workers, load)
    current = {one.number for one in state.current}
    assert plan.before == len(current)
    assert len(plan.after) == len(set(plan.after)) == workers
    assert set(plan.after) == (current - set(plan.stop)) | set(plan.start)


@given(fleets(), TARGETS, LOADS)
def test_never_touches_a_number_that_is_not_free(state: FleetState, workers: int, load: dict[int, int | None]) -> None:
    plan = plan_scaling(state, workers, load)
    held = {one.number for one in state.units if one.leaving or (one.masked and not one.current)}
    assert not held & {*plan.start, *plan.stop, *plan.enable, *plan.after}
    assert not {one.number for one in state.units if one.masked} & {*plan.start, *plan.enable}


@given(fleets(), TARGETS, LOADS)
def test_takes_the_lowest_free_numbers(state: FleetState, workers: int, load: dict[int, int | None]) -> None:
    plan = plan_scaling(state, workers, load)
    new = [number for number in plan.start if number not in {one.number for one in state.current}]
    assert new == free_numbers(state, len(new))


@given(fleets(), TARGETS, LOADS)
def test_stops_only_to_shrink_and_never_starts_what_it_stops(
    state: FleetState, workers: int, load: dict[int, int | None]
) -> None:
    plan = plan_scaling(state, workers, load)
    assert len(plan.stop) == max(0, plan.before - workers)
    assert not set(plan.stop) & set(plan.start)
    assert set(plan.stop) <= {one.number for one in state.current}


@given(fleets(), TARGETS, LOADS)
def test_stops_the_less_busy_first(state: FleetState, workers: int, load: dict[int, int | None]) -> None:
    def cost(one: Unit) -> float:
        idle = {Phase.DOWN: -4, Phase.ENDING: -3, Phase.STARTING: -2}
        tasks = load.get(one.number)
        return idle.get(one.phase, -1 if tasks is None else tasks)

    plan = plan_scaling(state, workers, load)
    stopped = [one for one in state.current if one.number in plan.stop]
    kept = [one for one in state.current if one.number not in plan.stop]
    for gone in stopped:
        for stays in kept:
            assert (cost(gone), -gone.number) < (cost(stays), -stays.number)


@given(fleets(), TARGETS, LOADS)
def test_everyone_that_stays_runs_and_comes_back_after_a_reboot(
    state: FleetState, workers: int, load: dict[int, int | None]
) -> None:
    plan = plan_scaling(state, workers, load)
    by_number = {one.number: one for one in state.units}
    for number in plan.after:
        before = by_number.get(number)
        up = before is not None and before.current and before.phase in (Phase.RUNNING, Phase.STARTING)
        assert (number in plan.start) is not up
        assert number in plan.enable or (before is not None and (before.enabled_for_good or before.masked))


@given(fleets(), TARGETS, LOADS)
def test_second_time_nothing_is_left_to_do(state: FleetState, workers: int, load: dict[int, int | None]) -> None:
    plan = plan_scaling(state, workers, load)
    by_number = {one.number: one for one in state.units}
    done = fleet(
        *(
            unit(
                number,
                enabled=not (number in by_number and by_number[number].masked),
                masked=number in by_number and by_number[number].masked,
            )
            for number in plan.after
        )
    )
    assert not plan_scaling(done, workers, load).changes


def test_draining_worker_keeps_its_number() -> None:
    plan = plan_scaling(fleet(unit(1), unit(2, Phase.DRAINING), unit(3)), 4, {})
    assert plan.before == 2
    assert plan.start == (4, 5)


def test_masked_worker_keeps_its_number() -> None:
    assert plan_scaling(fleet(unit(1, Phase.DOWN, masked=True)), 1, {}).start == (2,)


def test_failed_worker_is_started_again() -> None:
    plan = plan_scaling(fleet(unit(1), unit(2, Phase.DOWN)), 2, {})
    assert (plan.before, plan.start, plan.stop, plan.enable) == (2, (2,), (), ())
    assert plan.changes


def test_worker_started_by_hand_counts_and_is_enabled() -> None:
    plan = plan_scaling(fleet(unit(1), unit(7, enabled=False)), 2, {})
    assert (plan.before, plan.start, plan.enable) == (2, (), (7,))


def test_worker_on_its_way_up_is_waited_for_and_is_no_change() -> None:
    plan = plan_scaling(fleet(unit(1), unit(2, Phase.STARTING)), 2, {})
    assert plan.await_start == (2,)
    assert not plan.changes


def test_order_of_stopping() -> None:
    workers = [unit(1), unit(2), unit(3), unit(4, Phase.STARTING), unit(5), unit(6, Phase.DOWN), unit(7)]
    assert stop_order(workers, {1: 0, 2: 3, 3: 0, 5: None, 7: 3}) == [6, 4, 5, 3, 1, 7, 2]


def test_a_worker_that_does_not_answer_is_not_kept_in_place_of_one_that_does() -> None:
    hung, busy, idle = unit(1), unit(2), unit(3)
    assert plan_scaling(fleet(hung, busy, idle), 2, {1: None, 2: 4, 3: 0}).stop == (1,)
    assert plan_scaling(fleet(hung, busy, idle), 2, {2: 4, 3: 0}).stop == (1,)


def test_workers_that_all_do_not_answer_go_from_the_highest_number_down() -> None:
    assert plan_scaling(fleet(unit(1), unit(2), unit(3)), 1, {}).stop == (3, 2)


def test_a_worker_that_crashed_stays_wanted_and_is_started() -> None:
    plan = plan_scaling(fleet(unit(1), unit(2, Phase.ENDING)), 2, {})
    assert (plan.before, plan.start, plan.stop, plan.disable) == (2, (2,), (), ())


def test_a_worker_that_ends_and_is_not_wanted_holds_its_number() -> None:
    assert plan_scaling(fleet(unit(1, Phase.ENDING, enabled=False)), 1, {}).start == (2,)


def test_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 0"):
        plan_scaling(fleet(), -1, {})


def test_one_stopped_by_hand_is_not_wanted_any_more() -> None:
    plan = plan_scaling(fleet(unit(1), unit(2, Phase.DRAINING)), 1, {})
    assert (plan.start, plan.stop, plan.disable) == ((), (), (2,))
    assert plan_scaling(fleet(unit(1), unit(2, Phase.DRAINING, enabled=False)), 1, {}).disable == ()
