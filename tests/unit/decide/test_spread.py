# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the workers of a fleet go, when it has several hosts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.spread import Spread, spread

HOSTS = ("web1", "web2", "web3", "web4")


@dataclass(frozen=True)
class Question:
    total: int
    current: dict[str, int]
    capacities: dict[str, int] = field(default_factory=dict)
    out_of_reach: frozenset[str] = frozenset()

    @property
    def answer(self) -> Spread:
        return spread(self.total, self.current, self.capacities, self.out_of_reach)

    @property
    def reached(self) -> list[str]:
        return [host for host in self.current if host not in self.out_of_reach]


@st.composite
def questions(draw: st.DrawFn, most: int = 12, hosts: int = 4) -> Question:
    names = draw(st.permutations(HOSTS[: draw(st.integers(1, hosts))]))
    current = {host: draw(st.integers(0, most)) for host in names}
    capacities = {host: draw(st.integers(0, most)) for host in names if draw(st.booleans())}
    unreached = frozenset(host for host in names if draw(st.integers(0, 3)) == 0)
    return Question(draw(st.integers(0, most * len(names))), current, capacities, unreached)


def moves(current: dict[str, int], workers: dict[str, int]) -> int:
    return sum(abs(workers[host] - current[host]) for host in current)


@given(questions())
def test_the_sum_is_the_total_or_what_is_left_over_is_told(asked: Question) -> None:
    answer = asked.answer
    assert set(answer.workers) == set(asked.current)
    assert sum(answer.workers.values()) + answer.left_over == asked.total
    if answer.left_over > 0:
        assert all(answer.workers[host] >= asked.capacities[host] for host in asked.reached)
    if answer.left_over < 0:
        assert not any(answer.workers[host] for host in asked.reached)


@given(questions())
def test_never_over_a_capacity_never_below_zero_and_out_of_reach_is_left_alone(asked: Question) -> None:
    answer = asked.answer
    for host, workers in answer.workers.items():
        assert workers >= 0
        if host in asked.out_of_reach:
            assert workers == asked.current[host]
        elif host in asked.capacities:
            assert workers <= asked.capacities[host]


@given(questions())
def test_growing_shrinks_no_host_and_shrinking_grows_none(asked: Question) -> None:
    fitting = {host: min(n, asked.capacities.get(host, n)) for host, n in asked.current.items()}
    asked = Question(asked.total, fitting, asked.capacities, asked.out_of_reach)
    changes = [asked.answer.workers[host] - fitting[host] for host in fitting]
    assert all(change >= 0 for change in changes) or all(change <= 0 for change in changes)
    if asked.total == sum(fitting.values()):
        assert not any(changes)


@given(questions(most=4, hosts=3))
def test_no_other_way_moves_fewer_or_is_more_even(asked: Question) -> None:
    answer = asked.answer
    ways = []
    for numbers in itertools.product(
        *(
            [asked.current[host]]
            if host in asked.out_of_reach
            else range(min(asked.capacities.get(host, 12), asked.total + 4) + 1)
            for host in asked.current
        )
    ):
        if sum(numbers) == asked.total - answer.left_over:
            way = dict(zip(asked.current, numbers))
            ways.append((moves(asked.current, way), sum(n * n for n in numbers)))
    mine = dict(answer.workers)
    assert (moves(asked.current, mine), sum(n * n for n in mine.values())) == min(ways)


@given(questions(), st.randoms(use_true_random=False))
def test_the_order_in_which_hosts_are_named_does_not_matter(asked: Question, random: object) -> None:
    names = list(asked.current)
    random.shuffle(names)  # type: ignore[attr-defined]
    again = Question(asked.total, {host: asked.current[host] for host in names}, asked.capacities, asked.out_of_reach)
    assert again.answer == asked.answer


@given(questions())
def test_asked_again_nothing_moves(asked: Question) -> None:
    there = dict(asked.answer.workers)
    again = spread(sum(there.values()), there, asked.capacities, asked.out_of_reach)
    assert (dict(again.workers), again.left_over) == (there, 0)


def test_an_empty_fleet_is_filled_evenly() -> None:
    assert spread(5, {"b": 0, "a": 0}).workers == {"a": 3, "b": 2}


def test_the_host_with_most_workers_gives_first() -> None:
    assert spread(4, {"a": 5, "b": 2, "c": 2}).workers == {"a": 2, "b": 1, "c": 1}
    assert spread(6, {"a": 5, "b": 2, "c": 2}).workers == {"a": 2, "b": 2, "c": 2}


def test_a_capacity_that_was_lowered_moves_workers_elsewhere() -> None:
    assert spread(6, {"a": 4, "b": 2}, {"a": 3}) == Spread({"a": 3, "b": 3})
    assert spread(6, {"a": 4, "b": 2}, {"a": 3, "b": 2}) == Spread({"a": 3, "b": 2}, left_over=1)


def test_with_a_number_unknown_every_host_keeps_what_it_has() -> None:
    assert spread(9, {"a": 2, "b": None, "c": 3}) == Spread({"a": 2, "c": 3})


def test_workers_out_of_reach_count() -> None:
    assert spread(6, {"a": 2, "b": 2}, out_of_reach={"b"}) == Spread({"a": 4, "b": 2})
    assert spread(1, {"a": 2, "b": 2}, out_of_reach={"b"}) == Spread({"a": 0, "b": 2}, left_over=-1)


def test_no_host_at_all() -> None:
    assert spread(3, {}) == Spread({}, left_over=3)


@pytest.mark.parametrize(
    ("total", "current", "capacities"), [(-1, {"a": 1}, {}), (1, {"a": -1}, {}), (1, {"a": 1}, {"a": -1})]
)
def test_numbers_below_zero_are_refused(total: int, current: dict[str, int], capacities: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="below 0"):
        spread(total, current, capacities)
