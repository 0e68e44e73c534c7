# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of many fleets goes into one ConfigMap, which has room for a mebibyte, and comes out of it as it was."""

from __future__ import annotations

import base64
import gzip
import random

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import (
    ASIDE,
    KEY,
    PACKED,
    ConfigMapStore,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    to_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import TASKS_PROCESSED
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Comparison, Condition
from ansible_collections.muejam.celery.plugins.module_utils.decide.runs import Run
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from fake_cluster import FakeCluster

STATE = "/api/v1/namespaces/muejam/configmaps/celery-autoscaler-state"


def memories(fleets: int, counts: int = 100) -> dict[str, Remembered]:
    """What is remembered of so many fleets, some 4 KiB each."""
    finished = Condition(TASKS_PROCESSED, Comparison.EQUALS, 0, 600)
    return {f"fleet-{number}": Remembered(state(finished, number, counts)) for number in range(fleets)}


def state(condition: Condition, fleet: int, counts: int) -> State:
    at = 1_767_225_600.25 + fleet
    # Such as no policy has, so that it cannot be packed well.
    chance = random.Random(fleet)
    counted = tuple((at + 5.001 * number, float(chance.randrange(10**9))) for number in range(counts))
    return State(at=at, last_up=at, runs_down=(Run(condition, at, counted),))


def store(cluster: FakeCluster) -> ConfigMapStore:
    return ConfigMapStore(cluster, cluster.namespace)


def test_the_state_of_300_fleets_is_kept_and_found_again() -> None:
    cluster, many = FakeCluster(), memories(300)
    assert len(to_text(many)) > 1024 * 1024
    store(cluster).save(many)
    kept = cluster.objects[STATE]
    assert list(kept["binaryData"]) == [PACKED]
    assert KEY not in kept["data"]
    assert store(cluster).load() == many
    # People read it with what they have.
    assert gzip.decompress(base64.b64decode(kept["binaryData"][PACKED])).decode() == to_text(many)


def test_few_are_text_and_one_form_takes_the_place_of_the_other() -> None:
    cluster = FakeCluster()
    first = store(cluster)
    first.save(memories(3))
    assert "binaryData" not in cluster.objects[STATE]
    first.save(memories(300))
    first.save(memories(4))
    assert (list(cluster.objects[STATE]["data"]), cluster.objects[STATE].get("binaryData")) == ([KEY], None)
    assert store(cluster).load() == memories(4)


def test_what_somebody_else_has_written_since_is_not_overwritten_in_either_form() -> None:
    cluster = FakeCluster()
    late = store(cluster)
    late.save(memories(300))
    other = store(cluster)
    other.load()
    other.save(memories(301))
    with pytest.raises(OperationError) as caught:
        late.save(memories(300))
    assert caught.value.details["conflict"]


@pytest.mark.parametrize("broken", ["bm90IHBhY2tlZA==", "%%%", "short"])
def test_a_packed_state_that_makes_no_sense_is_set_aside(broken: str) -> None:
    cluster = FakeCluster()
    store(cluster).save(memories(300))
    whole = cluster.objects[STATE]["binaryData"][PACKED]
    cluster.objects[STATE]["binaryData"][PACKED] = whole[:1000] if broken == "short" else broken
    found = store(cluster)
    with pytest.raises(StateUnusable):
        found.load()
    found.set_aside()
    found.save(memories(300))
    assert cluster.objects[STATE]["data"][ASIDE]
    assert store(cluster).load() == memories(300)


def test_one_that_has_no_room_when_it_is_packed_is_told() -> None:
    cluster = FakeCluster()
    with pytest.raises(OperationError, match="Spread the fleets over several namespaces"):
        store(cluster).save(memories(60, 5000))
    assert STATE not in cluster.objects
