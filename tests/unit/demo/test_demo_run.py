# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows and concludes."""

from __future__ import annotations

import math

import pytest
import run
from muejam_demo import board, playbooks

CALM = {"done": 3, "waiting": {"0": 0, "9": 0}, "unacknowledged": 0, "workers": [{"state": "consuming", "active": 0}]}
WAITS = {"count": 1, "mean": 1.0, "p50": 1.0, "p95": 1.0}


def test_priorities_are_looked_up_in_the_lists_that_take_them():
    seen = {"waiting": {"0": 1, "3": 5, "6": 6, "9": 9}}
    assert board.waiting_by_priority(seen) == {9: "9", 5: "5", 1: "1"}


@pytest.mark.parametrize("seen", [{}, {"waiting": None}])
def test_what_is_not_known_is_no_zero(seen: dict):
    assert board.waiting_by_priority(seen) == {9: "?", 5: "?", 1: "?"}
    assert board.running(seen) == "?"
    assert (
        board.running({"workers": [{"state": "unknown", "active": None}, {"state": "consuming", "active": 1}]}) == "?"
    )


def test_workers_are_counted_by_state():
    seen = {"workers": [{"state": s, "active": 0} for s in ("consuming", "draining", "consuming", "starting")]}
    assert board.states_text(seen) == "2 consuming, 1 draining, 1 starting"


@pytest.mark.parametrize(
    "still",
    [
        {"done": 2},
        {"waiting": None},
        {"waiting": {"0": 0, "9": 1}},
        {"unacknowledged": None},
        {"unacknowledged": 1},
        {"workers": [{"state": "draining", "active": 1}]},
        {"workers": [{"state": "unknown", "active": None}]},
    ],
)
def test_it_ends_when_all_is_known_to_be_done(still: dict):
    assert run.finished(CALM, 3)
    assert not run.finished({**CALM, **still}, 3)


def outcome(**changed: object) -> dict:
    waits = {p: {**WAITS, "mean": m} for p, m in (("9", 1.0), ("5", 2.0), ("1", 3.0))}
    return {"lost": [], "twice": [], "unknown": [], "waits_by_priority": waits, **changed}


def test_the_verdict_is_empty_when_all_went_well():
    assert run.verdict(outcome()) == ""


@pytest.mark.parametrize("key", ["lost", "twice", "unknown"])
def test_the_verdict_names_tasks(key: str):
    assert f"1 {key}: ['a']" in run.verdict(outcome(**{key: ["a"]}))


@pytest.mark.parametrize("means", [{"9": 3.0, "5": 2.0, "1": 1.0}, {"9": 1.0}, {"9": 1.0, "5": math.nan, "1": 2.0}])
def test_the_verdict_wants_higher_priorities_to_wait_less(means: dict):
    waits = {p: {**WAITS, "mean": m} for p, m in means.items()}
    assert "did not wait less" in run.verdict(outcome(waits_by_priority=waits))


def test_messages_are_found_in_a_playbooks_output():
    output = [
        "ok: [h] => {",
        '    "msg": "web on h: 2 -> 6"',
        "}",
        '    "msg": [',
        '        "a  b",',
        '        "c"',
        "    ]",
    ]
    assert playbooks.messages(output) == ["web on h: 2 -> 6", "a  b", "c"]
