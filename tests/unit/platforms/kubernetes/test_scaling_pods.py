# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scaling in a cluster: what is set, who goes, what is waited for, and what is told when it does not come about."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    ScaleRequest,
    ScaleResult,
    nothing_done,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import DELETION_COST
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from fake_cluster import FakeCluster


def platform(cluster: FakeCluster, **values: Any) -> KubernetesPlatform:
    return KubernetesPlatform(cluster, clock=cluster.time.clock, **values)


def scale(cluster: FakeCluster, workers: int, check: bool = False, **values: Any) -> ScaleResult:
    return platform(cluster).scale(ScaleRequest("web", workers, **values), check=check)


def failure(cluster: FakeCluster, workers: int, **values: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        scale(cluster, workers, **values)
    return caught.value


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("web", 2)
    cluster.add("mail", 1)
    return cluster


def test_more_workers_are_made_and_waited_for(cluster: FakeCluster) -> None:
    before = cluster.of("web")
    result = scale(cluster, 4, expected_workers=2)
    assert (result.changed, result.before, result.after, result.stopped, result.draining) == (True, 2, 4, [], [])
    assert result.started == [name for name in cluster.of("web") if name not in before]
    assert result.start_seconds == dict.fromkeys(result.started, 3.0)
    assert result.workers_before == before
    assert sorted(result.workers_after) == cluster.of("web")
    assert (len(cluster.of("mail")), cluster.deployments["mail"].replicas) == (1, 1)
    again = scale(cluster, 4)
    assert (again.changed, again.before, again.after, again.started) == (False, 4, 4, [])


def test_the_idle_ones_go_first_and_are_waited_for() -> None:
    cluster = FakeCluster()
    cluster.add("web", 4)
    one, two, three, four = cluster.of("web")
    cluster.tasks = {one: 0, two: 3, three: 1, four: 2}
    cluster.drain_seconds = {one: 4.0, three: 9.0}
    result = scale(cluster, 2)
    assert (result.before, result.after, sorted(result.stopped), result.started) == (4, 2, [one, three], [])
    assert sorted(cluster.of("web")) == [two, four]
    assert (result.draining, result.warnings, result.unknown) == ([], [], {})
    # Only who is to go is marked, and nobody where all go.
    assert cluster.calls.count("patch pods") == 2
    scale(cluster, 0)
    assert cluster.calls.count("patch pods") == 2


def test_one_that_does_not_tell_goes_before_one_that_is_idle(cluster: FakeCluster) -> None:
    one, two = cluster.of("web")
    cluster.tasks = {two: None, one: 0}
    result = scale(cluster, 1)
    assert result.stopped == [two]
    assert "does not answer" in result.unknown[two]


def test_one_that_was_to_go_once_is_not_marked_any_more(cluster: FakeCluster) -> None:
    one, two = cluster.of("web")
    cluster.pods[one].annotations[DELETION_COST] = "-1"
    cluster.tasks = {one: 5, two: 0}
    assert scale(cluster, 1).stopped == [two]
    assert cluster.pods[one].annotations[DELETION_COST] == "0"


def test_another_choice_of_the_cluster_is_told(cluster: FakeCluster) -> None:
    one, two = cluster.of("web")
    cluster.tasks = {one: 5}
    # It has not heard of what was preferred.
    cluster.before_patch = lambda: cluster.pods[one].annotations.update({DELETION_COST: "-9"})
    result = scale(cluster, 1)
    assert result.stopped == [one]
    assert result.warnings[0].startswith(f"The cluster told {one} to stop in place of {two}, which had less to do.")


def test_one_that_is_not_ready_goes_first(cluster: FakeCluster) -> None:
    two = cluster.of("web")[1]
    cluster.pods[two].unready_at = cluster.time.now - 5
    assert scale(cluster, 1).stopped == [two]
    assert "patch pods" not in cluster.calls


def test_without_the_right_to_ask_workers_it_goes_on(cluster: FakeCluster) -> None:
    cluster.refuses["get pods/proxy"] = (403, 'User "ci" cannot get resource "pods/proxy"')
    result = scale(cluster, 1)
    assert len(result.stopped) == 1
    assert all('resources: ["pods/proxy"]' in why for why in result.unknown.values())
    assert cluster.calls.count("get pods/proxy") == 1, "whoever may not ask one may ask none"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_another_number_than_expected_changes_nothing(cluster: FakeCluster, workers: int) -> None:
    error = failure(cluster, workers, expected_workers=3)
    assert "3 workers were expected, but there are 2" in str(error)
    assert nothing_done(error)
    assert "patch deployments/scale" not in cluster.calls


def test_who_comes_second_decides_again(cluster: FakeCluster) -> None:
    def other() -> None:
        cluster.deployments["web"].replicas = 5
        cluster.deployments["web"].version += 1
        cluster.before_patch = None

    cluster.before_patch = other
    error = failure(cluster, 4, expected_workers=2)
    assert "somebody else set it to 5 workers meanwhile" in str(error)
    assert (error.details["before"], error.details["after"], nothing_done(error)) == (5, 5, True)
    assert cluster.deployments["web"].replicas == 5


def test_a_deployment_that_changed_in_other_ways_is_scaled(cluster: FakeCluster) -> None:
    def other() -> None:
        cluster.deployments["web"].version += 1
        cluster.before_patch = None

    cluster.before_patch = other
    assert scale(cluster, 3).after == 3


def test_it_keeps_what_there_is(cluster: FakeCluster) -> None:
    assert (scale(cluster, 7, keep=True).after, cluster.deployments["web"].replicas) == (2, 2)
    cluster.add("web", 0)
    cluster.pods = {}
    assert scale(cluster, 3, keep=True).after == 3


def test_nobody_is_waited_for_where_that_is_not_asked(cluster: FakeCluster) -> None:
    now = cluster.time.now
    one, two = cluster.of("web")
    cluster.tasks = {one: 1}
    assert (scale(cluster, 3, wait=False).after, cluster.time.now) == (3, now)
    cluster.time.pass_by(10)
    result = scale(cluster, 1, wait=False)
    assert (result.before, result.after, cluster.deployments["web"].replicas) == (3, 1, 1)
    assert len(result.stopped) == 2
    assert two in result.stopped
    assert result.workers_after == [one]


def test_in_check_mode_all_is_told_and_nothing_done(cluster: FakeCluster) -> None:
    result = scale(cluster, 3, check=True)
    assert (result.changed, result.before, result.after, len(result.started)) == (True, 2, 3, 1)
    assert len(result.diff()["after"].splitlines()) == 3
    one, two = cluster.of("web")
    cluster.tasks = {one: 1}
    result = scale(cluster, 1, check=True)
    assert (result.stopped, result.workers_after) == ([two], [one])
    absent = platform(cluster).scale(ScaleRequest("new", 2), check=True)
    assert (absent.changed, absent.before, absent.after) == (True, 0, 2)
    assert "has no fleet new yet" in absent.warnings[0]
    assert not [call for call in cluster.calls if call.startswith(("patch", "delete", "create"))]


def test_an_unknown_fleet_and_an_unknown_namespace_are_told_apart(cluster: FakeCluster) -> None:
    with pytest.raises(OperationError, match="its fleets are: mail, web"):
        platform(cluster).scale(ScaleRequest("new", 2))
    cluster.namespaces = set()
    with pytest.raises(OperationError, match="there is no such namespace"):
        platform(cluster).scale(ScaleRequest("new", 2))


def test_what_crashes_is_taken_back(cluster: FakeCluster) -> None:
    cluster.trouble = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    cluster.logs = {f"celery-worker-web-aaaa-0000{n}": "starting\nNo module named celery_demo\n" for n in (4, 5)}
    began = cluster.time.now
    error = failure(cluster, 4)
    text = str(error)
    assert "2 of its workers did not start. Started: none. Set back to 2 workers" in text
    assert "CrashLoopBackOff: back-off 40s restarting failed container; before that it ended with exit code 1" in text
    assert "    No module named celery_demo" in text
    assert "kubectl -n muejam logs celery-worker-web-aaaa-00004 --previous" in text
    assert cluster.time.now - began < 60, "it does not wait for what does not come"
    assert cluster.deployments["web"].replicas == 2
    assert (error.details["before"], error.details["after"], error.details["changed"]) == (2, 2, False)
    assert error.details["not_started"] == ["celery-worker-web-aaaa-00004", "celery-worker-web-aaaa-00005"]
    assert nothing_done(error)


def test_a_missing_image_is_taken_back_and_named(cluster: FakeCluster) -> None:
    cluster.trouble = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nobody/nothing:1"'}
    text = str(failure(cluster, 3))
    assert 'ImagePullBackOff: Back-off pulling image "nobody/nothing:1"' in text
    assert "describe pod" in text


def test_what_finds_no_node_is_waited_for_until_the_end(cluster: FakeCluster) -> None:
    cluster.unschedulable = "0/1 nodes are available: 1 Insufficient cpu."
    began = cluster.time.now
    error = failure(cluster, 3, wait_timeout=40)
    assert "did not start within 40 s" in str(error)
    assert "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu." in str(error)
    assert cluster.time.now - began >= 40, "a node may come"
    assert cluster.deployments["web"].replicas == 2


def test_what_a_quota_forbids_is_told_and_the_rest_stays(cluster: FakeCluster) -> None:
    cluster.quota = 4
    error = failure(cluster, 5)
    assert "2 of its workers did not start; 2 could not be made: pods is forbidden: exceeded quota" in str(error)
    assert (error.details["after"], len(error.details["started"]), error.details["changed"]) == (3, 1, True)
    assert cluster.deployments["web"].replicas == 3


def test_pods_that_a_quota_forbids_are_not_there_to_go(cluster: FakeCluster) -> None:
    cluster.quota = 3
    cluster.deployments["web"].replicas = 5
    rehearsal = scale(cluster, 4, check=True)
    assert (rehearsal.before, rehearsal.after, rehearsal.stopped) == (5, 4, [])
    assert len(scale(cluster, 1, check=True).stopped) == 1


def test_a_deployment_of_somebody_else_is_no_fleet(cluster: FakeCluster) -> None:
    cluster.add("shop", 2, ours=False)
    with pytest.raises(OperationError, match="has no fleet shop"):
        platform(cluster).scale(ScaleRequest("shop", 1))
    assert cluster.deployments["shop"].replicas == 2


def test_workers_that_crashed_before_are_told_and_left(cluster: FakeCluster) -> None:
    crashed = cluster.of("web")[0]
    cluster.pods[crashed].waits = {"reason": "CrashLoopBackOff", "message": "back-off"}
    error = failure(cluster, 2)
    assert f"These were there before, and the cluster tries them again: {crashed}" in str(error)
    assert (error.details["changed"], cluster.deployments["web"].replicas) == (False, 2)


def test_who_is_killed_at_the_end_of_the_grace_period_is_told(cluster: FakeCluster) -> None:
    cluster.drain_seconds = dict.fromkeys(cluster.of("web"), 1000.0)
    error = failure(cluster, 0)
    assert "was killed at the end of its grace period of 60 s" in str(error)
    assert sorted(error.details["killed"]) == sorted(error.details["stopped"])
    assert (error.details["after"], error.details["draining"]) == (0, [])


def test_an_exit_code_tells_of_a_kill(cluster: FakeCluster) -> None:
    victim = cluster.of("web")[1]
    cluster.pods[victim].exit_code = 137
    cluster.pods[victim].deleted_at, cluster.pods[victim].ends_at = cluster.time.now, cluster.time.now + 5
    assert "was killed" in str(failure(cluster, 0))


def test_who_drains_longer_than_one_waits_is_named_with_his_tasks(cluster: FakeCluster) -> None:
    one, two = cluster.of("web")
    cluster.tasks = {one: 2}
    cluster.drain_seconds = {one: 50.0, two: 1.0}
    error = failure(cluster, 0, drain_timeout=10)
    assert f"1 of 2 stopped workers still drain after 10 s: {one} (2 tasks in hand)" in str(error)
    assert error.details["draining"] == [one]


def test_who_wants_none_waits_for_those_that_others_told(cluster: FakeCluster) -> None:
    (one,) = cluster.of("mail")
    cluster.drain_seconds = {one: 20.0}
    platform(cluster).scale(ScaleRequest("mail", 0, wait=False))
    began = cluster.time.now
    platform(cluster).scale(ScaleRequest("mail", 0))
    assert cluster.time.now - began >= 19


@pytest.mark.parametrize("workers", [1, 5])
def test_it_does_not_fight_an_autoscaler_of_the_cluster(cluster: FakeCluster, workers: int) -> None:
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "celery-worker-web"}}
    cluster.hpas = [{"metadata": {"name": "by-cpu"}, "spec": target}]
    error = failure(cluster, workers)
    assert "the HorizontalPodAutoscaler by-cpu sets the number" in str(error)
    assert "minReplicas and maxReplicas of by-cpu" in str(error)
    assert nothing_done(error)
    assert cluster.deployments["web"].replicas == 2
    assert scale(cluster, 2).after == 2, "nothing is to be changed"
    cluster.hpas = [{"metadata": {"name": "keda-hpa-q", "ownerReferences": [{"kind": "ScaledObject", "name": "q"}]}}]
    cluster.hpas[0]["spec"] = target
    assert "the ScaledObject q of KEDA" in str(failure(cluster, workers))
    cluster.hpas = []
    cluster.scaled_objects = [{"metadata": {"name": "q"}, "spec": {"scaleTargetRef": {"name": "celery-worker-web"}}}]
    assert "paused-replicas" in str(failure(cluster, workers))
    cluster.scaled_objects[0]["metadata"]["annotations"] = {"autoscaling.keda.sh/paused": "true"}
    assert scale(cluster, workers).after == workers


def test_autoscalers_of_others_do_not_matter(cluster: FakeCluster) -> None:
    cluster.hpas = [{"metadata": {"name": "a"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "other"}}}]
    assert scale(cluster, 3).after == 3


def test_a_right_that_is_missing_is_named_as_a_rule(cluster: FakeCluster) -> None:
    cluster.refuses["patch deployments/scale"] = (
        403,
        'deployments.apps "celery-worker-web" is forbidden: User "ci" cannot patch resource "deployments/scale"',
    )
    text = str(failure(cluster, 3))
    assert '{apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["patch"]}' in text
    assert "patch deployments/scale celery-worker-web in namespace muejam of https://cluster.example.com:6443" in text


def test_a_change_without_an_answer_may_have_been_made(cluster: FakeCluster) -> None:
    cluster.refuses["patch deployments/scale"] = (0, "timed out")
    assert not nothing_done(failure(cluster, 3))


def test_more_pods_than_workers_during_a_rollout_are_none_more(cluster: FakeCluster) -> None:
    cluster.roll_out("web", "bbbb")
    extra = cluster._make("web")
    cluster.quota = 0
    cluster.deployments["web"].replicas = 3
    cluster.time.pass_by(5)
    cluster.deployments["web"].replicas = 2
    assert extra.name in cluster.of("web")
    result = scale(cluster, 2)
    assert (result.changed, result.before, result.after) == (False, 2, 2)


def test_who_sets_it_meanwhile_is_noticed(cluster: FakeCluster) -> None:
    cluster.start_seconds = 30

    def other(_seconds: float) -> None:
        cluster.time.pass_by(_seconds)
        cluster.deployments["web"].replicas = 9

    clock = cluster.time.clock
    kubernetes = KubernetesPlatform(cluster, clock=type(clock)(clock.wall, clock.monotonic, other))
    with pytest.raises(OperationError, match="somebody else set it to 9 workers meanwhile") as caught:
        kubernetes.scale(ScaleRequest("web", 3))
    assert caught.value.details["after"] == 9
