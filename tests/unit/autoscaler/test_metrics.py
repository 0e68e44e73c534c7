# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is served: one series for each thing, nothing for what is unknown, and no login."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import FleetMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform

URL = "redis://user:not-a-real password@broker:6379/0?x=y"
AT = 1_767_225_600.0


class Given:
    """A queue that can be read, or not."""

    def __init__(self, waiting: int | None) -> None:
        self.waiting = waiting

    def read(self, queues: object, marks: object = None) -> QueuesReading:
        if self.waiting is None:
            return QueuesReading(AT, None, problem="no answer")
        return QueuesReading(AT, {"celery": self.waiting}, 1, by_priority={"celery": {"0": self.waiting}})

    def close(self) -> None:
        pass


class Host(FakePlatform):
    """A host as it was read."""

    def __init__(self, reading: FleetReading) -> None:
        super().__init__()
        self.reading = reading

    def read(self, fleet: str) -> FleetReading:
        return self.reading


LIMITS = {"limits": {"min_workers": 1, "max_workers": 9}}


def registry(
    folder: Path,
    waiting: int | None,
    rules: Mapping[str, Any] = MappingProxyType({}),
    pause: Pause | None = None,
) -> CollectorRegistry:
    policy = parse_policy({**LIMITS, **rules})
    # Two fleets take from one queue.
    fleets = tuple(WatchedFleet(name, URL, policy=policy) for name in ("web", "mail"))
    configuration = Configuration(mode="advise", state=str(folder / "s"), status=str(folder / "t"), fleets=fleets)
    workers = (
        WorkerReading(
            "web-1@a",
            "consuming",
            "1:1",
            active=1,
            reserved=0,
            started=8,
            taken={"celery": 8},
            memory=3e8,
            memory_allowed=5e8,
        ),
        WorkerReading("web-2@a", "consuming", "2:1", active=0, reserved=0, started=3, taken={"celery": 3}),
        WorkerReading("web-3@a", "consuming", "3:1", why="silent"),
        WorkerReading("web-4@a", "draining", "4:1", active=2, reserved=0, started=5, taken={"celery": 5}),
    )
    daemon = Daemon(
        load=lambda: configuration,
        platform=Host(FleetReading("a", AT, workers, cores=2.0, memory=4e9, pause=pause)),
        tell=lambda line: None,
        notifier=Notifier({}),
        clock=Clock(lambda: AT, lambda: 5.0),
        link=lambda fleet, seconds: Given(waiting),
    )
    daemon.begin()
    daemon.run_cycles()
    served = CollectorRegistry()
    served.register(FleetMetrics(daemon))
    return served


def test_every_series_is_there_once_and_without_the_login(tmp_path: Path) -> None:
    samples = [sample for family in registry(tmp_path, 7).collect() for sample in family.samples]
    named = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(named) == len(set(named))
    assert "not-a-real" not in str(named)
    assert "broker:6379/0" in str(named)


def test_numbers(tmp_path: Path) -> None:
    served = registry(tmp_path, 7)
    broker = {"broker": "redis://broker:6379/0"}
    assert served.get_sample_value("celery_queue_length", {"queue": "celery", **broker}) == 7
    assert served.get_sample_value("celery_queue_priority_length", {"queue": "celery", "priority": "0", **broker}) == 7
    for name, value in (("active", 1), ("idle", 1), ("unknown", 1), ("stuck", 0)):
        assert served.get_sample_value(f"celery_workers_{name}", {"fleet": "web"}) == value
    assert served.get_sample_value("celery_workers", {"fleet": "web", "state": "draining"}) == 1
    assert served.get_sample_value("celery_autoscaler_broker_blocked", {"fleet": "web"}) == 0
    assert served.get_sample_value("celery_autoscaler_current_workers", {"fleet": "web"}) == 3
    assert served.get_sample_value("celery_autoscaler_desired_workers", {"fleet": "web"}) == 3
    assert served.get_sample_value("celery_autoscaler_max_workers", {"fleet": "web"}) == 9
    assert served.get_sample_value("celery_autoscaler_paused", {"fleet": "web"}) == 0
    done = {"fleet": "web", "worker": "web-1@a"}
    assert served.get_sample_value("celery_worker_tasks_processed_total", done) == 7
    assert served.get_sample_value("celery_worker_memory_bytes", done) == 3e8
    assert served.get_sample_value("celery_worker_memory_limit_bytes", done) == 5e8
    # One without a limit has none.
    assert served.get_sample_value("celery_worker_memory_limit_bytes", {**done, "worker": "web-2@a"}) is None
    assert served.get_sample_value("celery_autoscaler_decisions_total", {"fleet": "web", "action": "hold"}) == 1
    assert served.get_sample_value("celery_autoscaler_interval_seconds") == 5


@pytest.mark.parametrize(
    ("rules", "promised", "needed"),
    [
        ({}, 30, {"queue_depth", "cpu", "memory", "wait_time", "processed_total"}),
        ({"target": {"wait_time": "45s"}}, 45, {"queue_depth", "running", "processed_total"}),
        (
            {
                "scale_up": {"any": [{"metric": "cpu", "above": 80}], "add": {"workers": 1}},
                "scale_down": {"all": [{"metric": "cpu", "below": 30}], "remove": {"workers": 1}},
            },
            None,
            {"cpu"},
        ),
    ],
)
def test_what_a_policy_promises_and_needs(
    tmp_path: Path, rules: Mapping[str, Any], promised: float | None, needed: set[str]
) -> None:
    served = registry(tmp_path, 7, rules)
    assert served.get_sample_value("celery_autoscaler_promised_wait_seconds", {"fleet": "web"}) == promised
    samples = [sample for family in served.collect() for sample in family.samples]
    assert needed == {
        sample.labels["metric"]
        for sample in samples
        if sample.name == "celery_autoscaler_metric_needed" and sample.labels["fleet"] == "web"
    }


def test_what_is_unknown_is_absent(tmp_path: Path) -> None:
    served = registry(tmp_path, None)
    names = {sample.name for family in served.collect() for sample in family.samples}
    assert "celery_queue_length" not in names
    assert "celery_task_wait_seconds" not in names
    assert "celery_autoscaler_broker_blocked" not in names
    unknown = {"fleet": "web", "metric": "queue_depth"}
    assert served.get_sample_value("celery_autoscaler_metric_unknown", unknown) == 1


def test_a_pause_is_floor_and_ceiling_while_it_holds(tmp_path: Path) -> None:
    for until, values in ((AT + 1, (1, 12, 12)), (AT, (0, 1, 9))):
        served = registry(tmp_path, 7, pause=Pause(12, until))
        names = ("paused", "min_workers", "max_workers")
        found = (served.get_sample_value(f"celery_autoscaler_{name}", {"fleet": "web"}) for name in names)
        assert tuple(found) == values
