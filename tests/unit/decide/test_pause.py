# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that somebody holds at a number, and what its rules make of it afterwards."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, Decision, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import (
    Pause,
    as_mapping,
    from_text,
    parse_pause,
    to_text,
    together,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 12, 1, 12, tzinfo=timezone.utc).timestamp()
CALM = {"queue_depth": 0.0, "cpu": 5.0, "memory": 10.0, "wait_time": 0.0, "processed_total": 100.0, "running": 0.0}
BUSY = {**CALM, "queue_depth": 500.0}
STEPS = parse_policy({"limits": {"min_workers": 2}})
TARGET = parse_policy({"target": {"wait_time": "30s"}})
BOTH = pytest.mark.parametrize("policy", [STEPS, TARGET], ids=["steps", "target"])


def look(after: float, workers: int | None, metrics: dict[str, float], **more: Any) -> Observation:
    return Observation(NOON + after, workers, metrics, **more)


def play(policy: Policy, pause: Pause | None, *looks: Observation) -> list[Decision]:
    state, decisions = State(), []
    for seen in looks:
        decision, state = decide(policy, state, seen, pause)
        decisions.append(decision)
    return decisions


@BOTH
@pytest.mark.parametrize("workers", [0, 5, 40])
@pytest.mark.parametrize("metrics", [CALM, BUSY, {}], ids=["calm", "busy", "unread"])
def test_a_fleet_goes_to_the_number_at_once_whatever_its_limits(
    policy: Policy, workers: int, metrics: dict[str, float]
) -> None:
    moved, held = play(policy, Pause(workers), look(0, 4, metrics), look(5, workers, metrics))
    assert (moved.action, moved.before, moved.after) == (Action.BOUNDS, 4, workers)
    assert (held.action, held.after) == (Action.HOLD, workers)
    assert moved.reasons == held.reasons == (f"paused at {workers} until it is lifted",)


@BOTH
def test_an_unknown_count_holds(policy: Policy) -> None:
    (decision,) = play(policy, Pause(3), look(0, None, CALM, unknown={"workers": "systemd did not answer"}))
    assert (decision.action, decision.after) == (Action.HOLD, None)
    assert "systemd did not answer" in decision.reasons[0]


@BOTH
def test_hosts_have_no_more_room_for_a_pause(policy: Policy) -> None:
    (decision,) = play(policy, Pause(6), look(0, 4, BUSY, room=5))
    assert (decision.action, decision.after) == (Action.BOUNDS, 5)
    assert decision.reasons[1] == "6 workers are cut to the ceiling of 5 (the room on the hosts)"


def test_its_end_is_told_on_the_clock_of_the_policy_and_is_the_first_instant_outside() -> None:
    policy = parse_policy({"limits": {"min_workers": 2}, "schedule": {"timezone": "Europe/Berlin"}})
    pause = Pause(0, NOON + 60)
    last, after = play(policy, pause, look(59, 0, CALM), look(60, 0, CALM))
    assert last.reasons == ("paused at 0 until 2026-12-01T13:01:00+01:00",)
    assert (after.action, after.after) == (Action.BOUNDS, 2)
    assert "below the floor of 2 (the limits)" in after.reasons[0]


def test_what_held_during_a_pause_acts_when_it_ends() -> None:
    pause = Pause(4, NOON + 300)
    decisions = play(STEPS, pause, *(look(after, 4, BUSY) for after in range(0, 330, 30)))
    assert [decision.action for decision in decisions] == [*[Action.HOLD] * 10, Action.UP]
    decisions = play(STEPS, pause, *(look(after, 4, CALM) for after in range(0, 330, 30)))
    assert [decision.action for decision in decisions] == [*[Action.HOLD] * 10, Action.DOWN]


def test_what_was_unknown_during_a_pause_begins_anew() -> None:
    unread = {"cpu": 5.0, "memory": 10.0}
    looks = [look(after, 4, unread if after == 270 else BUSY) for after in range(0, 390, 30)]
    decisions = play(STEPS, Pause(4, NOON + 300), *looks)
    assert [decision.action for decision in decisions] == [*[Action.HOLD] * 12, Action.UP]


def test_a_pause_starts_no_cooldown_and_ends_none() -> None:
    grown, state = decide(STEPS, State(), look(0, 4, {**CALM, "wait_time": 31.0}))
    assert grown.action is Action.UP
    paused, state = decide(STEPS, state, look(10, 6, CALM), Pause(2, NOON + 20))
    assert (paused.action, paused.after, state.last_up, state.last_down) == (Action.BOUNDS, 2, NOON, None)
    cooling, state = decide(STEPS, state, look(30, 2, {**CALM, "wait_time": 31.0}))
    assert "scale-up is cooling down for another 30s" in cooling.reasons


def test_a_clock_that_was_set_does_not_move_its_end() -> None:
    _held, state = decide(STEPS, State(), look(0, 0, CALM), Pause(0, NOON + 3600))
    after, _state = decide(STEPS, state.shifted(3600), look(3600, 0, CALM), Pause(0, NOON + 3600))
    assert after.action is Action.BOUNDS


@given(
    st.integers(0, 40),
    st.one_of(st.none(), st.integers(0, 8).map(lambda after: NOON + after * 30)),
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 30)), st.sampled_from([CALM, BUSY, {}])), max_size=8),
    st.sampled_from([STEPS, TARGET]),
)
def test_a_pause_is_all_that_counts_and_rules_see_all_of_it(
    workers: int, until: float | None, seen: list[tuple[int | None, dict[str, float]]], policy: Policy
) -> None:
    pause, state, unpaused = Pause(workers, until), State(), State()
    for place, (count, metrics) in enumerate(seen):
        at = look(place * 30, count, metrics)
        decision, state = decide(policy, state, at, pause)
        _free, unpaused = decide(policy, unpaused, at)
        if pause.holds(at.at):
            assert decision.after == (None if count is None else workers)
            assert (state.runs_up, state.runs_down) == (unpaused.runs_up, unpaused.runs_down)
            assert (state.last_up, state.last_down) == (None, None)


@given(st.integers(0, 10**6), st.one_of(st.none(), st.integers(0, 2**33)))
def test_it_is_kept_and_written_whole(workers: int, until: float | None) -> None:
    pause = Pause(workers, until)
    assert from_json(Pause, json.loads(json.dumps(to_json(pause))), "pause") == pause
    assert parse_pause(json.loads(json.dumps(as_mapping(pause, BERLIN))), timezone.utc) == pause


@pytest.mark.parametrize(
    ("raw", "pause"),
    [
        ({"workers": 0}, Pause(0)),
        ({"workers": 3, "by": "alice"}, Pause(3, by="alice")),
        ({"workers": 3, "until": None}, Pause(3)),
        ({"workers": 3, "until": "2026-12-01 13:00"}, Pause(3, NOON)),
        ({"workers": 3, "until": datetime(2026, 12, 1, 13)}, Pause(3, NOON)),
        ({"workers": 3, "until": "2026-12-01T12:00:00Z"}, Pause(3, NOON)),
    ],
)
def test_people_write_it_as_they_write_windows(raw: object, pause: Pause) -> None:
    assert parse_pause(raw, BERLIN) == pause


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, ["pause is None, not a mapping"]),
        ([], ["not a mapping"]),
        ({}, ["pause.workers is missing"]),
        ({"workers": -1, "until": "soon", "till": 3}, ["pause.workers is -1", "pause.until is 'soon'", "pause.till"]),
        ({"workers": 2.5}, ["pause.workers is 2.5"]),
        ({"workers": 2, "by": ["alice"]}, ["pause.by is ['alice'], not a name"]),
        ({"workers": True}, ["pause.workers is True"]),
        ({"workers": None}, ["pause.workers is None"]),
        ({"workers": 1, "until": 1796126400}, ["pause.until is 1796126400"]),
    ],
)
def test_everything_wrong_with_it_is_told(raw: object, words: list[str]) -> None:
    with pytest.raises(ValueError, match="pause") as refused:
        parse_pause(raw, BERLIN)
    assert all(each in str(refused.value) for each in words)


@pytest.mark.parametrize(
    "raw", [{"workers": -1}, {"workers": 1, "until": 1e20}, {"workers": 1, "until": math.inf}, {"workers": "1"}, {}]
)
def test_a_file_with_no_pause_in_it_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="pause"):
        from_json(Pause, raw, "pause")


def test_it_stands_as_a_text_that_people_read_and_write() -> None:
    assert to_text(Pause(3, NOON, "alice")) == '{"workers": 3, "until": "2026-12-01T12:00:00+00:00", "by": "alice"}'
    assert from_text('{"workers": 0, "until": "2026-12-01 12:00"}') == Pause(0, NOON)
    for wrong in ("", "no", "[", "[1]", '{"workers": "x"}'):
        with pytest.raises(ValueError, match="pause"):
            from_text(wrong)


def test_who_wants_it_is_a_reason_and_no_difference() -> None:
    assert Pause(3, None, "alice").in_words(BERLIN) == "paused at 3 until it is lifted (by alice)"
    assert Pause(3, NOON, "alice").same_as(Pause(3, NOON))
    assert not Pause(3, NOON).same_as(Pause(3))
    assert not Pause(3).same_as(None)


def test_hosts_together_are_held_until_the_first_one_is_not() -> None:
    assert together([]) is None
    assert together([Pause(1, by="alice"), Pause(2, NOON, "bob"), Pause(0, NOON + 1, "alice")]) == Pause(
        3, NOON, "alice, bob"
    )
