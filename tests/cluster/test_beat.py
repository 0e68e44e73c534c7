# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook beat on a real cluster: one pod that ticks, gone before the next one comes."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from broker_servers import RedisServer

from muejam_bed.shell import run
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

SECRET = "not-a-real-secret-9876543210"


@dataclass
class Beaten:
    """A namespace of the cluster with the beat of a fleet, whose workers are none: what is sent waits in its queue."""

    cluster: Cluster
    namespace: str
    redis: RedisServer
    scratch: Path
    beats: list[dict[str, Any]] = field(default_factory=lambda: [{"fleet": "web"}])

    def play(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        each_second = {"task": "celery_demo.tasks.work", "schedule": 1, "args": [0, "x", 0]}
        fleet = {
            "name": "web",
            "image": DEMO,
            "app": "celery_demo",
            "workers": 0,
            "broker_url": self.redis.url,
            "environment": {"DEMO_SECRET": SECRET},
            "celery_settings": {"beat_schedule": {"each-second": each_second}, "task_default_queue": "waiting"},
        }
        host = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "celery_worker_platform": "kubernetes",
            "celery_worker_kubeconfig": str(self.cluster.kubeconfig),
            "celery_worker_namespace": self.namespace,
            "celery_worker_fleets": [fleet],
            "celery_beats": self.beats,
        }
        inventory = self.scratch / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"celery_workers": {"hosts": {"cluster": host}}}), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
        return run([*command, "muejam.celery.beat", *arguments], check=check, env={"ANSIBLE_NOCOLOR": "1"})

    def there(self, kinds: str) -> list[dict[str, Any]]:
        selector = "app.kubernetes.io/name=celery-beat"
        found: list[dict[str, Any]] = self.cluster.get("--namespace", self.namespace, kinds, "--selector", selector)[
            "items"
        ]
        return found

    def sent(self) -> int:
        # One list for each priority.
        redis = self.redis.client()
        return sum(int(redis.llen(key)) for key in redis.keys("waiting*"))


@pytest.fixture
def beaten(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path) -> Beaten:
    return Beaten(cluster, namespace, redis, tmp_path)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    [number] = re.findall(r"^cluster .*changed=(\d+)", done.stdout, re.M)
    return int(number)


def test_beat_is_one_pod_that_ticks_and_is_gone_before_the_next_one(beaten: Beaten) -> None:
    rehearsal = beaten.play("--check", "--diff")
    assert changed(rehearsal) > 0
    assert beaten.there("deployments") == []

    first = beaten.play("-vvv", "--diff")
    for output in (rehearsal, first):
        assert SECRET not in output.stdout + output.stderr
    [pod] = beaten.there("pods")
    assert pod["status"]["containerStatuses"][0]["ready"]
    wait_until(lambda: beaten.sent() >= 3, 30)
    assert changed(beaten.play()) == 0
    assert changed(beaten.play("--check")) == 0

    # Another configuration is another pod; that it is alone is the strategy's business.
    beaten.beats = [{"fleet": "web", "log_level": "WARNING"}]
    assert changed(beaten.play()) > 0
    [deployment] = beaten.there("deployments")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    names = {one["metadata"]["name"] for one in beaten.there("pods")}
    assert len(names) == 1
    assert names != {pod["metadata"]["name"]}
    before = beaten.sent()
    wait_until(lambda: beaten.sent() >= before + 3, 30)

    beaten.beats = []
    assert changed(beaten.play()) > 0
    assert beaten.there("deployments,pods,secrets,configmaps,serviceaccounts") == []
    assert changed(beaten.play()) == 0
