# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/kubernetes-first-fleet.md, done as it stands there, with the demo's application for the reader's."""

from __future__ import annotations

import base64
import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_servers import RedisServer

from muejam_bed.collection import collections_path
from muejam_bed.exercises import AS_A_READER, Step, do, exercises
from muejam_bed.shell import CHECKOUT, checkout_key
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO

PASSWORD = "not-a-real-password-4711"
SECTIONS = list(exercises(CHECKOUT / "docs/kubernetes-first-fleet.md"))
*MIDDLE, LAST = [step for section in SECTIONS for step in section.steps]


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace that the page makes, not the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_there_are_ten_commands() -> None:
    typed = "".join(step.commands for step in MIDDLE)
    programs = re.findall(r"(?m)^(?:docker|kubectl|ansible-playbook|cat) .*$", typed)
    assert len(programs) == 10, programs


def test_the_page_goes_as_it_is_written(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path) -> None:
    if not cluster.own:
        pytest.skip("the image of the autoscaler is given to the cluster of the checkout alone")
    redis.client().config_set("requirepass", PASSWORD)
    url = redis.url.replace("redis://", f"redis://:{PASSWORD}@")
    readers = {
        "registry.example/celery-autoscaler:1.0": f"muejam-first-fleet:{checkout_key()}",
        "registry.example/shop:1.4": DEMO,
        "shop.celery:app": "celery_demo",
        "from shop.celery import": "from celery_demo.app import",
        '"shop.tasks.work", [1.0]': '"celery_demo.tasks.work", [1.0, "x", 0]',
        "redis://:not-a-real-password@10.0.0.5:6379/0": url,
        "namespace shop": f"namespace {namespace}",
        "celery_worker_namespace: shop": f"celery_worker_namespace: {namespace}",
        "inventory.yml": str(tmp_path / "inventory.yml"),
    }
    # No registry is there; the node takes images from the engine.
    to_the_node = f'docker() {{ if [ "$1" = push ]; then {_load()} "$2"; else command docker "$@"; fi; }}\n'
    # A reader sees which command of several fails.
    shell = f'set -e\n{AS_A_READER}{to_the_node}kubectl() {{ {cluster.program} "$@"; }}\n'
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_NOCOLOR": "1",
    }
    printed = [do(shell, _given(step, readers), **environment) for step in MIDDLE]
    shown = "".join(printed)
    assert PASSWORD not in shown
    assert base64.b64encode(url.encode()).decode() not in shown
    do(shell, _given(LAST, readers), **environment)


def _load() -> str:
    return shlex.join([str(CHECKOUT / ".venv/bin/python"), str(CHECKOUT / "tests/cluster/cluster.py"), "load-image"])


def _given(step: Step, readers: dict[str, str]) -> Step:
    """A step with what the reader of the page puts in the place of its examples."""
    commands = step.commands
    for written, own in readers.items():
        commands = commands.replace(written, own)
    return Step(commands, step.prints)
