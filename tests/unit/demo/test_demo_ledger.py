# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger and what is concluded from it."""

from __future__ import annotations

import threading

import pytest
from celery_demo import ledger, send, summary
from celery_demo.tasks import BY_PRIORITY


def entry(name: str, priority: int = 5, wait: float = 1.0, sent: float = 100.0) -> ledger.Entry:
    return ledger.Entry(name, "t", sent, sent + wait, sent + wait + 0.5, "n@h", priority)


def test_what_is_lost_twice_and_unknown_is_named():
    found = summary.summarise(["a", "b", "c"], [entry("a"), entry("b"), entry("b"), entry("x")])
    assert (found.sent, found.done) == (3, 2)
    assert (found.lost, found.twice, found.unknown) == (["c"], ["b"], ["x"])
    assert not found.exactly_once


def test_every_task_once_is_exactly_once():
    assert summary.summarise(["a", "b"], [entry("b"), entry("a")]).exactly_once


def test_nothing_run_is_all_lost():
    found = summary.summarise(["a"], [])
    assert found.lost == ["a"]
    assert found.waits.count == 0


def test_seconds_are_from_the_first_publishing_to_the_last_end():
    found = summary.summarise(["a", "b"], [entry("a", sent=100, wait=1), entry("b", sent=103, wait=2)])
    assert found.seconds == pytest.approx(5.5)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_percentile_is_one_of_the_values(share: float, expected: float):
    assert summary.percentile([4.0, 1.0, 3.0, 2.0], share) == expected


@pytest.mark.parametrize(("waits", "expected"), [((1, 2, 3), True), ((2, 1, 3), False), ((1, 3, 2), False)])
def test_high_first_compares_the_mean_waits(waits: tuple[int, int, int], expected: bool):
    entries = [entry(str(p), priority=p, wait=w) for p, w in zip((9, 5, 1), waits)]
    assert summary.summarise(["9", "5", "1"], entries).high_first is expected


def test_many_writers_keep_every_line_whole(tmp_path, monkeypatch):
    path = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("DEMO_LEDGER", str(path))
    writers = [
        threading.Thread(target=lambda n=number: [ledger.append(entry(f"{n}-{i}" * 50)) for i in range(50)])
        for number in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len({e.id for e in ledger.parse(path.read_text().splitlines())}) == 400


def test_a_task_notes_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("DEMO_LEDGER", str(tmp_path / "ledger.jsonl"))
    BY_PRIORITY[9].apply(kwargs={"duration": 0.0, "id": "one", "sent": 1.0})
    (noted,) = ledger.parse((tmp_path / "ledger.jsonl").read_text().splitlines())
    assert (noted.id, noted.task, noted.sent) == ("one", "celery_demo.tasks.critical", 1.0)
    assert noted.ended >= noted.started


def test_the_classes_have_the_priorities_they_are_known_by():
    assert {priority: task.priority for priority, task in BY_PRIORITY.items()} == {9: 9, 5: 5, 1: 1}


def test_a_load_trickles_bursts_and_trickles():
    load = send.Load(count=4, rate=2, before=2, after=3, trickle=0.5)
    assert list(load.instants()) == [0, 2, 4, 4.5, 5, 5.5, 6, 8, 10]


def test_a_burst_without_a_rate_comes_at_once():
    assert list(send.Load(count=3).instants()) == [0, 0, 0]
