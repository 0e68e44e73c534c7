# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service asks the API for all fleets of a namespace at once in each cycle, however long their brokers take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import ConfigMapStore
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from fake_cluster import FakeCluster

WORKERS = 4
POLICY = parse_policy(
    {
        "limits": {"min_workers": 1, "max_workers": 9},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 20}], "add": {"workers": 1}},
    }
)
READS = Counter({"list deployments": 1, "list pods": 2})
"""One for the fleets, one for their pods, and one for what these use."""


class Service:
    """A daemon whose brokers take so many seconds for each answer, or to give none.

    :ivar waiting: tasks in each queue; None where brokers do not answer.
    """

    def __init__(self, folder: Path, fleets: int, broker_seconds: float) -> None:
        self.cluster = FakeCluster()
        self.broker_seconds = broker_seconds
        self.waiting: int | None = None
        self.lines: list[dict[str, Any]] = []
        names = [f"fleet-{number}" for number in range(fleets)]
        for name in names:
            self.cluster.add(name, WORKERS)
        clock = self.cluster.time.clock
        configuration = Configuration(
            mode="act",
            status=str(folder / "status.json"),
            fleets=tuple(WatchedFleet(name, "redis://localhost/0", policy=POLICY) for name in names),
        )
        self.daemon = Daemon(
            load=lambda: configuration,
            platform=KubernetesPlatform(self.cluster, ask_workers=False, clock=clock),
            tell=lambda line: self.lines.append(dict(line)),
            notifier=Notifier({}),
            clock=clock,
            link=lambda fleet, seconds: self,
            store=ConfigMapStore(self.cluster, self.cluster.namespace),
        )
        self.daemon.begin()

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        self.cluster.time.pass_by(self.broker_seconds)
        at = self.cluster.time.clock.wall()
        if self.waiting is None:
            return QueuesReading(at, None, problem="timed out")
        return QueuesReading(at, dict.fromkeys(queues, self.waiting), 0)

    def close(self) -> None:
        pass

    def calls(self) -> Counter[str]:
        """Run a cycle, and return how often it asked for what."""
        self.cluster.calls.clear()
        self.daemon.run_cycles()
        self.cluster.time.pass_by(5)
        return Counter(self.cluster.calls)

    def workers(self) -> set[int | None]:
        return {line["workers"] for line in self.lines if "action" in line}


@pytest.mark.parametrize("broker_seconds", [0.0, 2.0, 30.0])
def test_many_fleets_take_as_many_calls_as_one(tmp_path: Path, broker_seconds: float) -> None:
    one, many = Service(tmp_path, 1, broker_seconds), Service(tmp_path, 50, broker_seconds)
    for _cycle in range(3):
        of_one, of_many = one.calls(), many.calls()
        assert of_many == of_one
        assert of_many & READS == READS
    assert many.workers() == {WORKERS}


def test_who_scales_does_not_have_the_others_read_anew(tmp_path: Path) -> None:
    service = Service(tmp_path, 50, 0.5)
    service.waiting = 100
    calls = service.calls()
    assert calls["patch deployments/scale"] == 50
    # Whoever scales looks at the fleet itself first; nobody reads the whole namespace again.
    assert calls["list deployments"] == 1
    assert {deployment.replicas for deployment in service.cluster.deployments.values()} == {WORKERS + 1}


def test_a_cycle_knows_nothing_of_the_cycle_before(tmp_path: Path) -> None:
    service = Service(tmp_path, 3, 2.0)
    service.calls()
    service.cluster.deployments["fleet-2"].replicas = WORKERS + 2
    service.cluster.settle()
    service.cluster.time.pass_by(60)
    service.lines.clear()
    service.calls()
    workers = {line["fleet"]: line["workers"] for line in service.lines if "action" in line}
    assert workers["fleet-2"] == WORKERS + 2


def test_a_namespace_that_cannot_be_read_is_asked_for_once_in_a_cycle(tmp_path: Path) -> None:
    service = Service(tmp_path, 50, 2.0)
    service.cluster.refuses["list deployments"] = (0, "timed out")
    assert service.calls()["list deployments"] == 1
    assert service.workers() == {None}
