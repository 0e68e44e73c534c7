# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of an inventory that stands for a namespace of the cluster, with one fleet, and the playbooks on it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from broker_servers import RedisServer

from muejam_bed.shell import CHECKOUT, run
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO


@dataclass
class Place:
    """The host.

    :ivar usual: what the fleet has unless C(fleet) says otherwise.
    :ivar variables: of the host, over the usual ones.
    :ivar groups: of the inventory that the host is in.
    """

    cluster: Cluster
    namespace: str
    redis: RedisServer
    scratch: Path
    usual: dict[str, Any] = field(default_factory=dict)
    fleet: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ("celery_workers",)

    def deploy(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.play("muejam.celery.deploy", *arguments, check=check)

    def play(self, playbook: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        fleet = {
            "name": "web",
            "image": DEMO,
            "app": "celery_demo",
            "queues": ["celery"],
            "concurrency": 1,
            "broker_url": self.redis.url,
            "read_write_paths": ["/var/lib/celery-demo"],
            "start_timeout": 60,
            **self.usual,
            **self.fleet,
        }
        host = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "celery_worker_platform": "kubernetes",
            "celery_worker_kubeconfig": str(self.cluster.kubeconfig),
            "celery_worker_namespace": self.namespace,
            "celery_worker_rollout_timeout": 60,
            "celery_worker_fleets": [fleet],
            **self.variables,
        }
        inventory = self.scratch / "inventory.yml"
        of_groups = {group: {"hosts": {"cluster": host}} for group in self.groups}
        inventory.write_text(yaml.safe_dump(of_groups), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
        return run([*command, playbook, *arguments], check=check, env={"ANSIBLE_NOCOLOR": "1"})

    def get(self, *what: str) -> dict[str, Any]:
        return self.cluster.get("--namespace", self.namespace, *what)

    def deployment(self) -> dict[str, Any]:
        return self.get("deployment", "celery-worker-web")

    def number(self) -> int:
        return int(self.deployment()["spec"]["replicas"])

    def send(self, count: int, seconds: float, priority: int = 5) -> None:
        """Send tasks that run for so long."""
        load = ["--count", str(count), "--min", str(seconds), "--max", str(seconds), "--priority", str(priority)]
        path = {
            "CELERY_BROKER_URL": self.fleet.get("broker_url", self.redis.url),
            "PYTHONPATH": str(CHECKOUT / "demo" / "app"),
        }
        run([sys.executable, "-m", "celery_demo.send", *load], env=path)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks of a playbook changed something."""
    [number] = re.findall(r"^cluster .*changed=(\d+)", done.stdout, re.M)
    return int(number)
