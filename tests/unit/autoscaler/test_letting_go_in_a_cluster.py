# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a cluster too a fleet has one owner: the daemon lets go at once, whatever it was about to do, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.candidate import Candidate
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Election, times
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import LeaseObject
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.cluster import ClusterAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import table
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import ConfigMapStore
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleRequest
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import ownership
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import SCALED_BY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from fake_cluster import FakeCluster

POLICY = parse_policy(
    {
        "limits": {"min_workers": 1, "max_workers": 9, "cooldown_up": "0s", "cooldown_down": "0s"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 10}], "add": {"workers": 2}},
        "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "10s"}], "remove": {"workers": 1}},
    }
)
LEASE = "/apis/coordination.k8s.io/v1/namespaces/muejam/leases/celery-autoscaler"


class Service:
    """A daemon that looks every five seconds at the fleets of a cluster, and at queues of so many tasks."""

    def __init__(self, folder: Path, cluster: FakeCluster, mode: str = "act") -> None:
        self.cluster = cluster
        self.waiting = 50
        self.lines: list[dict[str, Any]] = []
        self.configuration = Configuration(
            mode=mode,
            status=str(folder / "status.json"),
            fleets=(
                WatchedFleet("web", "redis://localhost/0", policy=POLICY),
                WatchedFleet("plain", "redis://localhost/0"),
            ),
        )
        clock = cluster.time.clock
        self.candidate = Candidate(Election("one", times(5)), LeaseObject(cluster, cluster.namespace), clock)
        self.daemon = Daemon(
            load=lambda: self.configuration,
            platform=KubernetesPlatform(cluster, ask_workers=False, clock=clock),
            tell=lambda line: self.lines.append(dict(line)),
            notifier=Notifier({}),
            clock=clock,
            link=lambda fleet, seconds: self,
            store=ConfigMapStore(cluster, cluster.namespace),
            leadership=self.candidate,
        )
        self.daemon.begin()

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        return QueuesReading(self.cluster.time.clock.wall(), dict.fromkeys(queues, self.waiting), 0)

    def close(self) -> None:
        pass

    def look(self, times: int = 1) -> list[str]:
        """Look so many times, and return what was decided of C(web)."""
        before = len(self.lines)
        for _time in range(times):
            self.candidate.ask()
            self.daemon.run_cycles()
            self.cluster.time.pass_by(2.5)
            self.candidate.ask()
            self.cluster.time.pass_by(2.5)
        return [line["action"] for line in self.lines[before:] if "action" in line]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines if "event" in line]


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("web", 2)
    cluster.add("plain", 1)
    return cluster


@pytest.fixture
def service(tmp_path: Path, cluster: FakeCluster) -> Service:
    service = Service(tmp_path, cluster)
    service.look()
    assert cluster.scaled == [("web", 4)]
    return service


def autoscaler_of(cluster: FakeCluster, ahead: float = 0.0) -> ClusterAutoscaler:
    clock = cluster.time.clock
    return ClusterAutoscaler(cluster, Clock(lambda: clock.wall() + ahead, clock.monotonic, clock.sleep))


def test_who_asks_learns_which_fleets_it_sizes(cluster: FakeCluster, service: Service) -> None:
    assert autoscaler_of(cluster).sized() == {"web"}
    assert "in namespace muejam" in autoscaler_of(cluster).where
    ownership.note(cluster, "web", "policy")
    assert autoscaler_of(cluster).sized() == {"web"}
    ownership.note(cluster, "web", "keda")
    assert autoscaler_of(cluster).sized() == set()


def test_a_drained_fleet_stays_drained(cluster: FakeCluster, service: Service) -> None:
    assert autoscaler_of(cluster).let_go(["web"], [], check=True) == ["web"]
    assert cluster.deployments["web"].annotations == {}
    assert autoscaler_of(cluster).let_go(["web"], [], check=False) == ["web"]
    KubernetesPlatform(cluster, clock=cluster.time.clock).scale(ScaleRequest("web", 0))
    assert service.look(20) == []
    assert cluster.scaled == [("web", 4), ("web", 0)]
    assert (service.events().count("let_go"), autoscaler_of(cluster).sized()) == (1, set())
    assert autoscaler_of(cluster).let_go(["web"], [], check=False) == []
    assert "none: let go, to none" in table(service.daemon.status(), cluster.time.clock.wall())


def test_it_takes_a_fleet_up_again_and_remembers_what_it_did(cluster: FakeCluster, service: Service) -> None:
    ownership.note(cluster, "web", "none")
    service.look(2)
    ownership.note(cluster, "web", "policy")
    assert service.look() == ["up"]
    assert service.events()[-2:] == ["taken_up_again", "scaled"]


def test_what_it_was_about_to_do_when_it_had_to_let_go_is_not_done(cluster: FakeCluster, service: Service) -> None:
    def noted_meanwhile() -> None:
        cluster.before_patch = None
        ownership.note(cluster, "web", "keda")

    cluster.before_patch = noted_meanwhile
    assert service.look() == ["up"]
    assert cluster.scaled == [("web", 4)]
    [failed] = [line for line in service.lines if line.get("event") == "scale_failed"]
    assert "Deployment notes that keda sets the number" in failed["error"]
    assert service.daemon.watches["web"].remembered.withdrawn
    assert service.look(3) == []
    assert cluster.scaled == [("web", 4)]


def test_whoever_scales_by_hand_has_a_say_where_the_autoscaler_has_none(cluster: FakeCluster) -> None:
    ownership.note(cluster, "web", "none")
    platform = KubernetesPlatform(cluster, clock=cluster.time.clock)
    with pytest.raises(OperationError, match="celery_worker_autoscaling: policy gives it back"):
        platform.scale(ScaleRequest("web", 3, by_daemon=True))
    assert platform.scale(ScaleRequest("web", 3)).after == 3


def test_one_that_only_advises_goes_on_to(tmp_path: Path, cluster: FakeCluster) -> None:
    service = Service(tmp_path, cluster, "advise")
    ownership.note(cluster, "web", "none")
    assert service.look(2) == ["up", "up"]
    assert autoscaler_of(cluster).sized() == set()
    assert autoscaler_of(cluster).let_go(["web"], [], check=False) == []


def test_one_that_has_ended_sizes_nothing_and_is_let_go_of_all_the_same(cluster: FakeCluster, service: Service) -> None:
    cluster.time.pass_by(60)
    assert autoscaler_of(cluster).sized() == set()
    service.look()
    assert autoscaler_of(cluster).sized() == {"web"}
    service.candidate.release()
    assert autoscaler_of(cluster).sized() == set()
    # Another one may come up at any time.
    assert autoscaler_of(cluster).let_go(None, [], check=False) == ["web"]
    assert autoscaler_of(cluster).let_go(None, [], check=False) == []


def test_a_clock_that_differs_makes_no_leader_and_hides_none(cluster: FakeCluster, service: Service) -> None:
    begun = cluster.time.now
    assert autoscaler_of(cluster, ahead=3600).sized() == set(), "nobody renews it while it is watched"
    assert cluster.time.now - begun >= 5
    cluster.later.append((cluster.time.now + 2, service.candidate.ask))
    assert autoscaler_of(cluster, ahead=-3600).sized() == {"web"}


def test_only_what_it_sizes_is_touched(cluster: FakeCluster, service: Service) -> None:
    for fleet, owner in (("keda", "keda"), ("ours", "policy")):
        cluster.add(fleet, 1, annotations={SCALED_BY: owner})
    assert autoscaler_of(cluster).let_go(None, ["ours"], check=True) == ["web"]
    assert autoscaler_of(cluster).let_go(None, [], check=False) == ["ours", "web"]
    assert cluster.deployments["keda"].annotations == {SCALED_BY: "keda"}
    assert cluster.deployments["plain"].annotations == {}


def test_where_that_may_not_be_known_nothing_is_done(cluster: FakeCluster, service: Service) -> None:
    cluster.refuses["get leases"] = (403, 'leases "celery-autoscaler" is forbidden: User "me" cannot get resource')
    with pytest.raises(OperationError, match="leases"):
        autoscaler_of(cluster).sized()
    with pytest.raises(OperationError, match="leases"):
        autoscaler_of(cluster).let_go(["web"], [], check=False)
    ownership.note(cluster, "web", "policy")
    assert autoscaler_of(cluster).let_go(["web"], [], check=False) == ["web"], "the Deployment says it"


def test_without_an_autoscaler_there_is_nothing_to_do(cluster: FakeCluster) -> None:
    assert autoscaler_of(cluster).sized() == set()
    assert autoscaler_of(cluster).let_go(["web"], [], check=False) == []
    assert cluster.deployments["web"].annotations == {}


def test_other_fleets_of_the_lease_are_noted_when_its_configuration_changes(
    cluster: FakeCluster, service: Service
) -> None:
    assert cluster.objects[LEASE]["metadata"]["annotations"] == {"muejam.celery/sizes": "web"}
    service.configuration = Configuration(mode="advise", fleets=service.configuration.fleets)
    service.daemon.reload()
    service.daemon.reload_if_asked()
    service.candidate.ask()
    assert cluster.objects[LEASE]["metadata"]["annotations"] == {"muejam.celery/sizes": ""}
    assert autoscaler_of(cluster).sized() == set()
