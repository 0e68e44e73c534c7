# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service takes from its platform: on a host a helper and a file, in a cluster its API server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.candidate import Candidate
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.leadership import Alone
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.heard_pods import ask_heartbeats
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.places import surroundings
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    read_configuration,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import ConfigMapStore
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import connection, platform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import Pod
from ansible_collections.muejam.celery.plugins.module_utils.platforms.remote import RemotePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import Status


def test_a_host_has_a_helper_a_file_and_nobody_beside_it() -> None:
    around = surroundings(Configuration(), lambda fleet: {})
    assert isinstance(around.platform, RemotePlatform)
    assert isinstance(around.leadership, Alone)
    assert around.store is None


def test_a_cluster_has_its_api_server_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def connect(place: Place) -> connection.Connection:
        places.append(place)
        return connection.Connection("https://cluster", None, lambda attempt: {}, "shop", "a test")

    monkeypatch.setattr(connection, "connect", connect)
    # It may have been loaded before, with the real one.
    monkeypatch.setattr(platform, "connect", connect)
    raw = {"platform": "kubernetes", "place": {"kubeconfig": "/k", "context": "c", "namespace": "shop"}}
    around = surroundings(read_configuration(raw, "a test"), lambda fleet: {})
    assert not isinstance(around.platform, RemotePlatform)
    assert isinstance(around.leadership, Candidate)
    assert isinstance(around.store, ConfigMapStore)
    assert {(place.kubeconfig, place.context, place.namespace) for place in places} == {("/k", "c", "shop")}
    assert not around.leadership.leads()


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"platform": "solaris"}, "platform"),
        ({"platform": "kubernetes", "place": {"cluster": "it"}}, "place.cluster"),
        ({"place": {"namespace": "shop"}}, "place"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(OperationError) as refused:
        read_configuration(raw, "a test")
    assert [fault["path"] for fault in refused.value.details["faults"]] == [path]


def test_pods_are_told_apart_by_their_heartbeats() -> None:
    heard = {"web": {"web@celery-worker-web-1-a": (2, 9), "web@celery-worker-web-1-b": (0, 4)}}
    ask = ask_heartbeats(lambda fleet: heard.get(fleet, {}))
    said = ask(pod(f"celery-worker-web-1-{letter}") for letter in "abc")
    told = {name[-1]: each.tasks if isinstance(each, Status) else str(each) for name, each in said.items()}
    assert told == {"a": 2, "b": 0, "c": "no heartbeat of it was heard recently"}


def pod(name: str) -> Pod:
    return Pod(name=name, fleet="web", phase=CONSUMING, uid=name, life="1")
