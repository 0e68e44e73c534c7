# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo records, and the report that it makes of that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from muejam_demo import plan, recording, report

from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Sample

BEGIN = 1000.0


def entry(number: int, sent: float, started: float, seconds: float = 1.0) -> str:
    times = {"sent": BEGIN + sent, "started": BEGIN + started, "ended": BEGIN + started + seconds}
    return json.dumps({"id": str(number), "priority": 5, **times})


def reading(at: float, waiting: int | None, *states: str) -> dict:
    return {
        "at": BEGIN + at,
        "waiting": None if waiting is None else {"0": waiting, "9": 0},
        "workers": [{"state": state} for state in states] or None,
    }


def decision(at: float, before: int | None, after: int | None, action: str = "up") -> str:
    return json.dumps({"at": BEGIN + at, "action": action, "from": before, "to": after, "reasons": ["because"]})


def message(at: float, kind: str, unit: str) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": str(int((BEGIN + at) * 1e6)), "MESSAGE_ID": kind, "UNIT": unit})


LEDGER = [entry(1, 0, 1), entry(2, 1, 5), entry(3, 2, 3), entry(3, 2, 9)]
READINGS = [
    reading(-1, 9, "consuming"),
    reading(0, 1, "consuming", "consuming"),
    reading(2, 2, "consuming", "consuming", "starting", "down"),
    reading(4, None),
    reading(6, 0, "consuming", "consuming", "draining"),
    reading(8, 0, "consuming", "consuming"),
]
LOG = [
    decision(-5, 1, 2),
    decision(1, 2, 3),
    decision(3, 3, 3, "hold"),
    decision(4, None, None, "hold"),
    json.dumps({"at": BEGIN + 4, "event": "scaled", "before": 2, "after": 3}),
    decision(5, 3, 2, "down"),
]
JOURNAL = [
    message(-9, recording.STARTING, "a@1"),
    message(-7, recording.STARTED, "a@1"),
    message(1, recording.STARTING, "a@3"),
    message(1.5, recording.STARTING, "a@4"),
    message(3, recording.STARTED, "a@3"),
    message(4.5, recording.STARTED, "a@4"),
    json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": "something else"}),
]


@pytest.fixture(scope="module")
def recorded() -> recording.Recording:
    return recording.record(LEDGER, READINGS, LOG, JOURNAL)


def test_times_are_from_the_first_publishing(recorded: recording.Recording):
    assert [(task.sent, task.started) for task in recorded.tasks] == [(0, 1), (1, 5), (2, 3)]
    assert [sample.at for sample in recorded.samples] == [0, 2, 4, 6, 8]
    assert (recorded.end, recorded.all_done) == (8, 6)


def test_workers_on_their_way_up_and_out_count(recorded: recording.Recording):
    assert [sample.workers for sample in recorded.samples] == [2, 3, None, 3, 2]
    assert [sample.waiting for sample in recorded.samples] == [1, 2, None, 0, 0]


def test_what_is_not_known_costs_as_before(recorded: recording.Recording):
    assert recorded.worker_seconds == 2 * 2 + 2 * 3 + 2 * 3 + 2 * 3


def test_only_changes_of_the_run_are_kept(recorded: recording.Recording):
    assert [str(change) for change in recorded.changes] == [
        "from 2 to 3 workers: because",
        "from 3 to 2 workers: because",
    ]


def test_starts_are_measured_by_systemds_own_messages(recorded: recording.Recording):
    assert recorded.start_seconds == pytest.approx((2, 3))
    assert recorded.start == pytest.approx(2.5)


def test_waits_in_order_of_arrival(recorded: recording.Recording):
    assert recorded.waits_in_order() == [1, 2, 3]
    assert [recorded.oldest_wait(at) for at in (0.5, 1, 2.5, 4, 5, 7)] == [0.5, 0, 1.5, 2, 0, 0]


def test_numbers_in_reasons_are_shortened():
    assert recording.in_short(["wait_time 5.0312 is above 5", "cpu 3.5"]) == "wait_time 5.0 is above 5; cpu 3.5"


def test_the_inventory_has_a_sound_policy_of_steps():
    fleet = plan.fleet()
    assert 1 <= fleet.floor < fleet.ceiling
    bounds, more, fewer = plan.in_words(fleet.policy)
    assert bounds == f"from {fleet.floor} to {fleet.ceiling} workers"
    assert more.startswith("more when queue_depth is above ")
    assert fewer.startswith("fewer when queue_depth is below ")


@pytest.mark.parametrize(
    ("queue", "when"),
    [([(0, 1), (1, 0), (2, 9), (3, None), (4, 0), (5, 1)], 4), ([(0, 1), (1, 9), (2, 8)], None), ([(0, 0)], 0)],
)
def test_a_queue_is_empty_after_its_longest(queue: list, when: float | None):
    assert report.emptied([Sample(at, waiting, None, None) for at, waiting in queue]) == when


@pytest.mark.parametrize(
    ("workers", "when"), [([(0, 2), (1, 5), (2, None), (3, 2)], 2), ([(0, 2)], 0.0), ([(0, 2), (1, 3)], None)]
)
def test_when_a_fleet_is_back(workers: list, when: float | None):
    assert report.last_above(2, [Sample(at, None, number, None) for at, number in workers]) == when


def found(recorded: recording.Recording) -> dict:
    waits = {"count": 3, "mean": 2.0, "p50": 2.0, "p95": 3.0}
    by_priority = {"9": waits, "5": waits, "1": waits}
    return {"sent": 3, "done": 3, "lost": [], "twice": [], "waits": waits, "waits_by_priority": by_priority}


def test_the_report_compares_what_was_asked_for(recorded: recording.Recording, tmp_path: Path):
    made = report.Report(recorded, plan.fleet())
    page, picture = made.write(found(recorded), LOG, tmp_path)
    text = page.read_text()
    for name in (
        "this run",
        "target: 15s",
        "fixed 2",
        "fixed 10",
        "fixed 20",
        "=20,4",
        "listLength 50",
        "listLength 5",
    ):
        assert name in text
    assert "3 tasks: 0 lost, 0 run twice" in text
    assert "After 1 s from 2 to 3 workers: because." in text
    assert "shortened for the demo" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("report.html", "report.png", "tasks.jsonl", "decisions.jsonl", "policy.json")
    }


def test_a_simulated_fixed_fleet_costs_what_it_is(recorded: recording.Recording):
    made = report.Report(recorded, plan.fleet())
    fixed = {series.name: series.summary for series in made.series()}["fixed 10"]
    assert float(fixed["worker-seconds"]) == pytest.approx(made.cost_of_ceiling())
    assert fixed["back at 2"] == "never"


def test_decisions_are_made_again_from_the_log(recorded: recording.Recording):
    calm = {"workers": 2, "metrics": {"queue_depth": 3.0, "wait_time": 0.0}}
    answers = report.replay(plan.fleet().policy, [json.dumps({"at": BEGIN, **calm})])
    log = [json.dumps({"at": BEGIN, "event": "started"})]
    log += [json.dumps({**calm, **json.loads(answer)}) for answer in answers]
    made = report.Report(recorded, plan.fleet())
    assert made.decided_again(log) == (1, 1)
    wrong = json.dumps({**json.loads(log[1]), "action": "up"})
    assert made.decided_again([log[0], wrong]) == (0, 1)
