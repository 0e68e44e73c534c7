# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarting in a cluster, and the rights that are asked for before."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollRequest
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from fake_cluster import FakeCluster


def platform(cluster: FakeCluster) -> KubernetesPlatform:
    return KubernetesPlatform(cluster, clock=cluster.time.clock)


def failure(cluster: FakeCluster, **values: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        platform(cluster).roll(RollRequest("web", **values))
    return caught.value


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("web", 3)
    return cluster


def test_one_worker_is_replaced(cluster: FakeCluster) -> None:
    one, *others = cluster.of("web")
    platform(cluster).restart("web", one)
    assert cluster.pods[one].deleted_at is not None
    cluster.time.pass_by(10)
    cluster.settle()
    assert len(cluster.of("web")) == 3
    assert set(others) < set(cluster.of("web"))


def test_only_one_at_a_time_and_only_one_that_runs(cluster: FakeCluster) -> None:
    one, two, _three = cluster.of("web")
    kubernetes = platform(cluster)
    kubernetes.restart("web", one)
    with pytest.raises(OperationError, match="is not up yet"):
        kubernetes.restart("web", two)
    with pytest.raises(OperationError, match="it is draining"):
        kubernetes.restart("web", one)
    with pytest.raises(OperationError, match="it is gone"):
        kubernetes.restart("web", "celery-worker-web-aaaa-99999")
    with pytest.raises(OperationError, match="has no fleet mail"):
        kubernetes.restart("mail", one)


def test_all_are_replaced_one_at_a_time(cluster: FakeCluster) -> None:
    before = cluster.of("web")
    fewest: list[int] = []
    passing = cluster.time.clock.sleep

    def count(seconds: float) -> None:
        passing(seconds)
        cluster.settle()
        fewest.append(sum(pod.ready(cluster.time.now) for pod in cluster.pods.values()))

    clock = type(cluster.time.clock)(cluster.time.clock.wall, cluster.time.clock.monotonic, count)
    result = KubernetesPlatform(cluster, clock=clock).roll(RollRequest("web", only_outdated=False))
    assert (result.restarted, result.unchanged) == (before, [])
    assert not set(before) & set(cluster.of("web"))
    assert min(fewest) == 2


def test_a_replacement_that_crashes_ends_it(cluster: FakeCluster) -> None:
    one, two, three = cluster.of("web")
    cluster.trouble = {"reason": "CrashLoopBackOff", "message": "back-off"}
    error = failure(cluster, only_outdated=False)
    assert f"did not come up in place of {one}" in str(error)
    assert f"Left running as they were: {two}, {three}." in str(error)
    assert "CrashLoopBackOff: back-off" in str(error)
    assert error.details["not_restarted"] == [one, two, three]
    assert (error.details["restarted"], error.details["changed"]) == ([], True)


def test_one_that_is_killed_is_told_and_the_others_go_on(cluster: FakeCluster) -> None:
    one, two, three = cluster.of("web")
    cluster.drain_seconds = {one: 1000.0}
    error = failure(cluster, only_outdated=False)
    assert f"{one} did not drain in time and was killed" in str(error)
    assert (error.details["killed"], error.details["restarted"]) == ([one], [one, two, three])


def test_present_workers_are_left(cluster: FakeCluster) -> None:
    result = platform(cluster).roll(RollRequest("web"))
    assert (result.restarted, sorted(result.unchanged)) == ([], cluster.of("web"))
    assert set(result.reasons.values()) == {"it has the present configuration"}


def test_outdated_workers_are_replaced_by_their_deployment_and_waited_for(cluster: FakeCluster) -> None:
    before = cluster.of("web")
    cluster.roll_out("web", "bbbb")
    foretold = platform(cluster).roll(RollRequest("web"), check=True)
    assert (foretold.restarted, foretold.unchanged) == (before, [])
    for number, name in enumerate(before):
        cluster.later.append((cluster.time.now + 5 * (number + 1), lambda name=name: cluster._end(cluster.pods[name])))
    result = platform(cluster).roll(RollRequest("web"))
    assert result.restarted == before
    assert all(pod.template == "bbbb" for pod in cluster.pods.values())
    assert "delete pods" not in cluster.calls


def test_nobody_is_judged_before_the_cluster_has_seen_the_template(cluster: FakeCluster) -> None:
    deployment = cluster.deployments["web"]
    deployment.observed_at = cluster.time.now + 3
    cluster.later.append((cluster.time.now + 2, lambda: cluster.roll_out("web", "bbbb")))
    assert platform(cluster).roll(RollRequest("web"), check=True).restarted == cluster.of("web")
    # One of the new template that came between the looks is none of the old.
    deployment.replicas = 4
    cluster.settle()
    new = cluster.of("web")[-1]
    assert platform(cluster).roll(RollRequest("web"), check=True).unchanged == [new]
    deployment.observed_at = cluster.time.now + 100
    assert "has not taken note of its Deployment" in str(failure(cluster))


def test_a_paused_or_stuck_rollout_is_told(cluster: FakeCluster) -> None:
    cluster.roll_out("web", "bbbb")
    assert "no worker came up in place of" in str(failure(cluster, wait_timeout=20))
    cluster.deployments["web"].paused = True
    assert "rollout resume deployment celery-worker-web" in str(failure(cluster))


def test_an_absent_fleet(cluster: FakeCluster) -> None:
    result = platform(cluster).roll(RollRequest("mail"), check=True)
    assert "has no fleet mail yet" in result.warnings[0]
    with pytest.raises(OperationError, match="its fleets are: web"):
        platform(cluster).roll(RollRequest("mail"))


def test_rights_are_asked_for_before_and_all_missing_ones_named(cluster: FakeCluster) -> None:
    platform(cluster).require_access("scale fleet web")
    cluster.denied = {"patch deployments/scale", "list pods"}
    with pytest.raises(OperationError) as caught:
        platform(cluster).require_access("scale fleet web")
    assert "this user may not list pods, patch deployments/scale in namespace muejam" in str(caught.value)
    assert '{apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["patch"]}' in str(caught.value)
