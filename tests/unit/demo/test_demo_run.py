# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows and concludes."""

from __future__ import annotations

import math

import pytest
import run
from ansible.plugins.filter.core import FilterModule
from jinja2 import Environment
from muejam_demo import alerts, board, ending, host, plan, playbooks
from muejam_demo.recording import Change

CALM = {"done": 3, "waiting": {"0": 0, "9": 0}, "unacknowledged": 0, "workers": [{"state": "consuming", "active": 0}]}
WAITS = {"count": 1, "mean": 1.0, "p50": 1.0, "p95": 1.0}


def test_priorities_are_looked_up_in_the_lists_that_take_them():
    seen = {"waiting": {"0": 1, "3": 5, "6": 6, "9": 9}}
    assert board.waiting_by_priority(seen) == {9: "9", 5: "5", 1: "1"}


@pytest.mark.parametrize("seen", [{}, {"waiting": None, "workers": None, "autoscaler": None}])
def test_what_is_not_known_is_no_zero(seen: dict):
    assert board.waiting_by_priority(seen) == {9: "?", 5: "?", 1: "?"}
    assert board.running(seen) == board.states_text(seen) == board.wait_text(seen) == "?"
    workers = [{"state": "draining", "active": 1}, {"state": "consuming", "active": None}]
    assert board.running({"workers": workers}) == "?"


@pytest.mark.parametrize("state", ["starting", "draining"])
def test_a_worker_on_its_way_up_or_out_may_be_silent(state: str):
    workers = [{"state": state, "active": None}, {"state": "consuming", "active": 2}]
    assert board.running({"workers": workers}) == "2"


def test_where_no_worker_is_asked_the_broker_tells_what_runs():
    workers = [{"state": "consuming", "active": None}] * 2
    assert board.running({"workers": workers, "unacknowledged": 2}) == "2 unacknowledged"
    assert board.running({"workers": workers, "unacknowledged": None}) == "?"


def test_workers_are_counted_by_state():
    seen = {"workers": [{"state": s, "active": 0} for s in ("consuming", "draining", "consuming", "down")]}
    assert board.states_text(seen) == "0 starting, 2 consuming, 1 draining, 1 down"


def decided(at: float, before: int, after: int, *reasons: str) -> dict:
    return {"at": at, "action": "hold" if before == after else "up", "from": before, "to": after, "reasons": reasons}


def test_decisions_in_words():
    assert board.change_text({}, -1) == board.decision_text({}) == "none yet"
    # A fleet that is only looked at.
    assert board.decision_text({"autoscaler": {"fleet": "demo", "at": 1.0, "metrics": {}}}) == "none yet"
    changes = [decided(10, 2, 4, "wait_time 5.123 is above 5", "a"), decided(14, 4, 6, "b")]
    seen = {"at": 15.0, "changes": changes, "autoscaler": decided(15, 6, 6, "no scale-up")}
    assert board.change_text(seen, -1) == "4 -> 6, 1 s ago: b"
    assert board.change_text(seen, -2) == "2 -> 4, 5 s ago: wait_time 5.1 is above 5; a"
    assert board.decision_text(seen) == "hold at 6: no scale-up"


def test_the_board_is_shown_without_a_terminal(capsys):
    shown = board.Board(100)
    with shown:
        for changes in ([], [decided(1.0, 2, 4, "a")], [decided(1.0, 2, 4, "a"), decided(2.0, 4, 6, "b")]):
            shown.show({**CALM, "at": 1.0, "autoscaler": {"metrics": {"wait_time": 1.26}}, "changes": changes}, 5)
    printed = capsys.readouterr().out
    assert printed.count("the autoscaler: 2 -> 4: a") == printed.count("the autoscaler: 4 -> 6: b") == 1
    assert "the oldest 1.3 s" in printed


def test_the_table_has_everything_with_and_without_knowledge():
    shown = board.Board(100)
    for seen in (
        {},
        {"at": 1.0, "problem": "[no] broker"},
        {**CALM, "at": 2.0, "changes": [decided(1.0, 2, 4, "[a]")]},
    ):
        shown.show(seen, 5)
        with shown.console.capture() as captured:
            shown.console.print(shown._table())
        text = captured.get()
        assert ("[no] broker" in text) == ("problem" in seen)
    assert "2 -> 4, 1 s ago: [a]" in text


@pytest.mark.parametrize(
    "still",
    [
        {"done": 2},
        {"waiting": None},
        {"waiting": {"0": 0, "9": 1}},
        {"unacknowledged": None},
        {"unacknowledged": 1},
        {"workers": [{"state": "draining", "active": 1}]},
        {"workers": [{"state": "consuming", "active": None}]},
        {"workers": None},
    ],
)
def test_it_ends_when_all_is_known_to_be_done(still: dict):
    assert run.finished(CALM, 3)
    assert not run.finished({**CALM, **still}, 3)


def test_tasks_that_are_acknowledged_late_tell_themselves_when_all_is_done():
    silent = {**CALM, "workers": [{"state": "consuming", "active": None}]}
    assert ending.acknowledged(silent, 3)
    assert not run.finished(silent, 3)
    for still in ({"done": 2}, {"waiting": None}, {"unacknowledged": None}, {"unacknowledged": 1}):
        assert not ending.acknowledged({**silent, **still}, 3)


def test_calm_is_the_minimum_with_nobody_on_the_way():
    workers = [{"state": "consuming", "active": 0}] * 2
    assert run.calm({"workers": workers}, 2)
    assert not run.calm({"workers": workers}, 1)
    assert not run.calm({"workers": [*workers, {"state": "draining", "active": 0}]}, 2)
    assert not run.calm({"workers": None}, 2)


def outcome(**changed: object) -> dict:
    waits = {p: {**WAITS, "mean": m} for p, m in (("9", 1.0), ("5", 2.0), ("1", 3.0))}
    return {"lost": [], "twice": [], "unknown": [], "waits_by_priority": waits, **changed}


UP, DOWN = Change(1.0, 2, 4, ("a",)), Change(2.0, 4, 2, ("b",))


def test_there_are_no_faults_when_all_went_well():
    assert run.faults(outcome(), [UP, DOWN], 2) == ""


@pytest.mark.parametrize("key", ["lost", "twice", "unknown"])
def test_faults_name_tasks(key: str):
    assert f"1 {key}: ['a']" in run.faults(outcome(**{key: ["a"]}), [UP, DOWN], 2)


@pytest.mark.parametrize("means", [{"9": 3.0, "5": 2.0, "1": 1.0}, {"9": 1.0}, {"9": 1.0, "5": math.nan, "1": 2.0}])
def test_it_is_a_fault_when_higher_priorities_do_not_wait_less(means: dict):
    waits = {p: {**WAITS, "mean": m} for p, m in means.items()}
    assert "did not wait less" in run.faults(outcome(waits_by_priority=waits), [UP, DOWN], 2)


@pytest.mark.parametrize(
    ("changes", "said"), [([], "never grown"), ([UP], "not brought back"), ([DOWN], "never grown")]
)
def test_it_is_a_fault_when_the_fleet_does_not_grow_and_shrink(changes: list[Change], said: str):
    assert said in run.faults(outcome(), changes, 2)


@pytest.mark.parametrize(
    ("alerted", "said"),
    [
        (None, ""),
        (alerts.Watched(20, (), (alerts.Alert("CeleryNoWorker", {}),), ()), ""),
        (alerts.Watched(20, (alerts.Alert("CeleryNoWorker", {"fleet": "demo"}),), (), ()), "1 alerts fired"),
        (alerts.Watched(20, (), (), ("CeleryNoWorker: err",)), "not evaluated"),
        (alerts.Watched(0, (), (), ()), "no alerts loaded"),
    ],
)
def test_it_is_a_fault_when_an_alert_fired_or_could_not_have(alerted: alerts.Watched | None, said: str):
    wrong = run.faults(outcome(), [UP, DOWN], 2, alerted)
    assert said in wrong
    assert bool(wrong) == bool(said)


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


def test_the_inventory_knows_the_container_of_this_checkout():
    described = plan.load_document(str(playbooks.INVENTORY), "an inventory")["all"]["hosts"]
    jinja = Environment()
    jinja.filters.update(FilterModule().filters())
    named = jinja.from_string(described[host.HOSTNAME]["ansible_docker_host"])
    assert named.render(inventory_dir=str(playbooks.INVENTORY.parent)) == host.NAME
