# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker is said to leak memory: what goes on growing does, and nothing else that is large or moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from gathered import MIB, NOW, failed, gathered, samples, verdict, worker
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import leak

Size = Callable[[float], float]


def of(found: dict[str, Any]) -> dict[str, Any]:
    return verdict("memory_leak", found)


def noisy(hours: float) -> float:
    return 200 + random.Random(hours).uniform(-20, 20)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (lambda hours: 100 + 20 * hours, "yes"),
        (lambda hours: 100 + 20 * hours + random.Random(hours).uniform(-3, 3), "yes"),
        # 2 % in an hour of what it has in the end, and a little less.
        (lambda hours: 1000 + 22 * hours, "yes"),
        (lambda hours: 1000 + 19 * hours, "no"),
        # So little that it takes days to matter.
        (lambda hours: 50 + 1.9 * hours, "no"),
        (lambda hours: 100.0, "no"),
        (lambda hours: 300 - 20 * hours, "no"),
        (noisy, "no"),
        # It fills its caches, and stays.
        (lambda hours: min(100 + 60 * hours, 170), "no"),
        # One large task in the middle, and one that began late.
        (lambda hours: 900 if 1 < hours < 1.4 else 100, "no"),
        (lambda hours: 100 if hours < 2.9 else 900, "no"),
        # Children are replaced in time.
        (lambda hours: 100 + 80 * (hours % 0.5), "no"),
        # What it takes while it starts is no growth.
        (lambda hours: 5 if hours < 0.1 else 100, "no"),
    ],
)
def test_what_goes_on_growing_leaks(size: Size, expected: str) -> None:
    told = of(gathered(workers=[worker(1)], memory={"web-1@app1": samples(size)}))
    assert told["verdict"] == expected, told
    assert told["evidence"][0].startswith("web-1@app1: ")


def test_each_worker_has_its_slope_and_the_limit_its_hour() -> None:
    memory = {"web-1@app1": samples(lambda hours: 112 + 20 * hours), "web-2@app1": samples(lambda _hours: 100.0)}
    told = of(gathered(memory=memory))
    assert told["says"] == "web-1@app1 grows by 20.0 MiB in an hour and does not stop (1 of 2 workers do)"
    first, second = told["evidence"]
    assert first.startswith("web-1@app1: +20.0 MiB in an hour; the least in each quarter of 2.8 h: 115.3, "), first
    assert "; at its limit of 512.0 MiB in 1" in first
    assert second.startswith("web-2@app1: +0.0 MiB")
    assert "its main process" in told["next_step"]
    both = of(gathered(memory=dict.fromkeys(memory, memory["web-1@app1"])))
    assert "All grow alike" in both["next_step"]


@pytest.mark.parametrize(("hours", "expected"), [(1.0, "cannot tell"), (1.2, "yes")])
def test_an_hour_after_the_start_has_to_be_watched(hours: float, expected: str) -> None:
    found = gathered(workers=[worker(1)], memory={"web-1@app1": samples(lambda each: 100 + 20 * each, hours)})
    assert of(found)["verdict"] == expected


def test_few_samples_over_a_long_time_tell_nothing() -> None:
    few = [[NOW - (6 - each) * 1800, (100 + each * 20) * MIB] for each in range(7)]
    assert of(gathered(workers=[worker(1)], memory={"web-1@app1": few}))["verdict"] == "cannot tell"


def test_what_is_older_than_six_hours_is_not_looked_at() -> None:
    grew_once = samples(lambda hours: min(100 + 100 * hours, 300), hours=12)
    assert of(gathered(workers=[worker(1)], memory={"web-1@app1": grew_once}))["verdict"] == "no"
    slope = leak.slope_of([(at, size) for at, size in grew_once], NOW)
    assert slope is not None
    assert slope.seconds <= leak.LONGEST


def test_workers_that_are_too_young_are_told_and_those_that_are_gone_are_not() -> None:
    memory = {
        "web-1@app1": samples(lambda _hours: 100.0),
        "web-2@app1": samples(lambda _hours: 100.0, hours=0.5),
        "web-9@app1": samples(lambda hours: 100 + 90 * hours),
    }
    told = of(gathered(memory=memory))
    assert told["verdict"] == "no"
    assert "1 worker not watched for long enough" in told["evidence"]
    assert "web-9" not in str(told)


def test_nobody_can_tell() -> None:
    assert of(gathered(history=failed("Could not read it.")))["verdict"] == "cannot tell"
    assert of(gathered(memory={}))["says"] == "no worker was watched"
    cluster = of(gathered(in_cluster=True))
    assert cluster["verdict"] == "cannot tell"
    assert "prometheus_url" in cluster["next_step"]


def series(values: list[list[float]], name: str = "web-1@app1") -> dict[str, Any]:
    return {"metric": {"worker": name}, "values": [[at, str(value)] for at, value in values]}


def answered(*found: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"status": "success", "data": {"result": list(found)}}}


def test_a_prometheus_tells_it_too() -> None:
    grows = series(samples(lambda hours: 100 + 20 * hours))
    counts = series([[at, number] for number, (at, _size) in enumerate(samples(lambda _hours: 0.0))])
    found = gathered(workers=[worker(1)])
    found.update(memory=answered(grows), finished=answered(counts), in_cluster=True)
    assert of(found)["verdict"] == "yes"
    # It started anew half an hour ago: what was before is of another process.
    for point in counts["values"][-6:]:
        point[1] = "1"
    assert of(found)["verdict"] == "cannot tell"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"msg": "Connection refused"}, "Prometheus: Connection refused"),
        ({"json": {"status": "error", "error": "bad data"}}, "Prometheus: bad data"),
        ({"content": "<html>"}, "Prometheus: no answer"),
    ],
)
def test_a_prometheus_that_does_not_tell(answer: dict[str, Any], says: str) -> None:
    found = gathered(workers=[worker(1)])
    found.update(memory=answer, finished=answer, alerts=answer, in_cluster=True)
    assert says in of(found)["says"]
    # On a host there is what the autoscaler keeps.
    found.update(in_cluster=False)
    assert of(found)["verdict"] == "no"


@given(st.lists(st.floats(1e6, 1e10), min_size=0, max_size=80))
def test_any_memory_has_a_verdict(sizes: list[float]) -> None:
    points = [(NOW - (len(sizes) - number) * 300, size) for number, size in enumerate(sizes)]
    slope = leak.slope_of(points, NOW)
    assert (slope is None) == (min(len(sizes), 72) < 15)
