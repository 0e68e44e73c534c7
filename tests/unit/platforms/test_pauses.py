# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses where they stand: files of a host, annotations of Deployments."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import PauseUnusable
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.pauses import Pauses
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import PAUSE
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform
from fake_cluster import FakeCluster

NIGHT = Pause(3, 1796126400.0, "alice")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "pauses"


@pytest.fixture
def pauses(folder: Path) -> Pauses:
    return Pauses(str(folder))


def test_a_pause_is_a_file_that_everybody_reads(pauses: Pauses, folder: Path) -> None:
    assert pauses.read("web") is None
    old = os.umask(0o077)
    try:
        pauses.write("web", NIGHT)
    finally:
        os.umask(old)
    assert json.loads(pauses.path("web").read_text(encoding="utf-8")) == {
        "workers": 3,
        "until": "2026-12-01T12:00:00+00:00",
        "by": "alice",
    }
    assert (folder.stat().st_mode & 0o777, pauses.path("web").stat().st_mode & 0o777) == (0o755, 0o644)
    assert pauses.read("web") == NIGHT
    pauses.write("web", Pause(0))
    assert (pauses.read("web"), pauses.read("mail")) == (Pause(0), None)
    pauses.write("web", None)
    pauses.write("web", None)
    assert pauses.read("web") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 2000, "no JSON"),
        ("3", "not a mapping"),
        ('{"workers": -1}', "pause.workers is -1"),
        ('{"workers": 1, "by": 3}', "pause.by is 3"),
        ('{"workers": 1, "until": "soon"}', "pause.until is 'soon'"),
        ("x" * 5000, "larger than"),
    ],
)
def test_what_makes_no_sense_is_no_pause_and_no_freedom(pauses: Pauses, text: str, says: str) -> None:
    pauses.write("web", NIGHT)
    pauses.path("web").write_text(text, encoding="utf-8")
    with pytest.raises(PauseUnusable, match=says):
        pauses.read("web")


def test_what_others_could_have_written_is_not_followed(pauses: Pauses, folder: Path) -> None:
    pauses.write("web", NIGHT)
    folder.chmod(0o777)
    with pytest.raises(PauseUnusable, match="others than root may write"):
        pauses.read("web")
    with pytest.raises(OperationError, match="others than root may write"):
        pauses.write("web", NIGHT)
    folder.chmod(0o755)
    other = pauses.path("web").rename(folder / "other")
    pauses.path("web").symlink_to(other)
    with pytest.raises(PauseUnusable, match="it is a link"):
        pauses.read("web")


class Lost(FakePlatform):
    """A host that cannot tell whether a fleet is paused."""

    def paused(self, fleet: str) -> Pause | None:
        raise PauseUnusable("read whether it is paused", "it is a link", "Remove it.")


def test_a_reading_has_the_pause_and_without_it_nothing_is_known() -> None:
    platform = FakePlatform(1, 2)
    assert platform.read("web").pause is None
    platform.pause("web", NIGHT)
    assert platform.read("web").pause == NIGHT
    platform.pause("web", None)
    assert platform.read("web").pause is None
    reading = Lost(1, 2).read("web")
    assert (reading.workers, "it is a link" in reading.problem) == (None, True)
    with pytest.raises(OperationError, match="has no fleet mail"):
        platform.require_sizable("mail", "pause fleet mail")


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("web", 2)
    cluster.add("mail", 1)
    return cluster


def in_a_cluster(cluster: FakeCluster, **values: Any) -> KubernetesPlatform:
    return KubernetesPlatform(cluster, clock=cluster.time.clock, **values)


def readings(platform: KubernetesPlatform) -> dict[str, FleetReading]:
    return {fleet: platform.read(fleet) for fleet in ("web", "mail")}


def test_a_pause_is_an_annotation_of_the_deployment(cluster: FakeCluster) -> None:
    one, other = in_a_cluster(cluster), in_a_cluster(cluster)
    assert one.paused("web") is None
    one.pause("web", NIGHT)
    assert json.loads(cluster.deployments["web"].annotations[PAUSE])["until"] == "2026-12-01T12:00:00+00:00"
    assert cluster.deployments["web"].generation == 1
    for platform in (one, other):
        found = readings(platform)
        assert (found["web"].pause, found["mail"].pause, platform.paused("web")) == (NIGHT, None, NIGHT)
    one.pause("web", None)
    assert (other.read("web").pause, PAUSE in cluster.deployments["web"].annotations) == (None, False)


def test_an_annotation_that_makes_no_sense_holds_that_fleet_as_it_is(cluster: FakeCluster) -> None:
    cluster.deployments["web"].annotations[PAUSE] = "3"
    found = readings(in_a_cluster(cluster))
    assert (found["web"].workers, found["web"].exists) == (None, True)
    assert "remove the annotation of the Deployment celery-worker-web" in found["web"].problem
    assert found["mail"].wanted == 1
    with pytest.raises(PauseUnusable):
        in_a_cluster(cluster).paused("web")


def test_what_something_else_sizes_is_not_paused(cluster: FakeCluster) -> None:
    platform = in_a_cluster(cluster)
    platform.require_sizable("web", "pause fleet web")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "celery-worker-web"}
    cluster.hpas = [{"metadata": {"name": "by-cpu"}, "spec": {"scaleTargetRef": target}}]
    with pytest.raises(OperationError, match="HorizontalPodAutoscaler by-cpu"):
        platform.require_sizable("web", "pause fleet web")
    with pytest.raises(OperationError, match="has no fleet bulk"):
        platform.require_sizable("bulk", "pause fleet bulk")
