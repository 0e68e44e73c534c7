# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets of the demo's application in a namespace, put there by the playbook deploy, and the tasks they are sent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import CLUSTER_NAME
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING, WorkerReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place, ScaleRequest
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import object_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import (
    KubernetesPlatform,
    open_kubernetes,
)
from muejam_bed.shell import CHECKOUT, run

from .access import Cluster
from .images import DEMO
from .waiting import wait_until

if TYPE_CHECKING:
    from broker_servers import RedisServer

LEDGER = "celery-demo-ledger"
"""List of Redis in which the application notes what ran."""


@dataclass
class Load:
    """Tasks for one fleet, whose name is also that of its queue, and what became of them.

    :ivar database: of the ledger's Redis.
    """

    fleet: str
    broker_url: str
    ledger: RedisServer
    database: int
    sent: list[str] = field(default_factory=list)

    @property
    def ledger_url(self) -> str:
        """Where pods note what ran."""
        return f"{self.ledger.url.rpartition('/')[0]}/{self.database}"

    def send(self, count: int, shortest: float, longest: float) -> None:
        """Publish so many tasks of three priorities; lengths in seconds."""
        length = ["--min", str(shortest), "--max", str(longest), "--count", str(count), "--seed", str(len(self.sent))]
        environment = {"CELERY_BROKER_URL": self.broker_url, "PYTHONPATH": str(CHECKOUT / "demo" / "app")}
        command = [sys.executable, "-m", "celery_demo.send", "--queue", self.fleet, *length]
        self.sent += [json.loads(line)["id"] for line in run(command, env=environment).stdout.splitlines()]

    def runs(self) -> list[dict[str, Any]]:
        """What ran, in the order in which it ended."""
        return [json.loads(line) for line in self.ledger.client(self.database).lrange(LEDGER, 0, -1)]

    def left(self) -> int:
        """The number of tasks that were sent and did not come to their end yet."""
        return len(set(self.sent) - {one["id"] for one in self.runs()})

    def all_in_the_middle(self, workers: int, seconds: float) -> bool:
        """Whether so many workers each have fetched a task of that length, and none is about to fetch the next.

        Only with such tasks, of which each worker has done one.
        """
        ended = {one["node"]: one["ended"] for one in self.runs()}
        since = [time.time() - at for at in ended.values()]
        return len(since) == workers and all(0.5 < ago < seconds - 1.0 for ago in since)

    def twice(self) -> dict[str, int]:
        """How often those ran that did so more than once."""
        return {task: times for task, times in Counter(one["id"] for one in self.runs()).items() if times > 1}


@dataclass
class Deployed:
    """A namespace with fleets, their autoscaler where they have a policy, and their broker.

    :ivar ledger: a Redis of its own, which stays when the broker goes.
    """

    cluster: Cluster
    namespace: str
    broker: RedisServer
    ledger: RedisServer
    scratch: Path
    _loads: dict[str, Load] = field(default_factory=dict)

    def load(self, fleet: str) -> Load:
        """The tasks of a fleet."""
        if fleet not in self._loads:
            self._loads[fleet] = Load(fleet, self.broker.url, self.ledger, len(self._loads))
        return self._loads[fleet]

    def deploy(
        self, *fleets: Mapping[str, Any], arguments: tuple[str, ...] = (), check: bool = True, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """Deploy fleets, each given by its keys; the defaults are those of a small one.

        :param variables: of the inventory's host.
        """
        host = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "celery_worker_platform": "kubernetes",
            "celery_worker_kubeconfig": str(self.cluster.kubeconfig),
            "celery_worker_namespace": self.namespace,
            "celery_worker_rollout_timeout": 180,
            "celery_worker_fleets": [self._whole(fleet) for fleet in fleets],
            **variables,
        }
        inventory = self.scratch / "inventory.yml"
        # JSON is YAML.
        inventory.write_text(json.dumps({"celery_workers": {"hosts": {"cluster": host}}}), encoding="utf-8")
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [program, "-i", str(inventory), "muejam.celery.deploy", *arguments]
        return run(command, check=check, env={"ANSIBLE_NOCOLOR": "1"})

    def _whole(self, fleet: Mapping[str, Any]) -> dict[str, Any]:
        name = fleet["name"]
        return {
            "image": DEMO,
            "app": "celery_demo",
            "queues": [name],
            "broker_url": self.broker.url,
            "concurrency": 1,
            "prefetch_multiplier": 1,
            "acks_late": True,
            "time_limit": 60,
            "drain_timeout": 120,
            "start_timeout": 120,
            "requests": {"cpu": "20m", "memory": "64M"},
            **fleet,
            "environment": {"DEMO_LEDGER": self.load(name).ledger_url, **fleet.get("environment", {})},
        }

    @cached_property
    def platform(self) -> KubernetesPlatform:
        """What reads and scales the fleets."""
        return open_kubernetes(Place(str(self.cluster.kubeconfig), namespace=self.namespace))

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl in the namespace and return what it printed."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, check=check).stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object of the namespace, or a list of them."""
        return self.cluster.get("--namespace", self.namespace, *arguments)

    def workers(self, fleet: str) -> tuple[WorkerReading, ...]:
        """Return the workers of a fleet, none where they cannot be read."""
        return self.platform.read(fleet).workers or ()

    def consuming(self, fleet: str) -> list[str]:
        """Return the pods of a fleet that consume."""
        return [worker.id for worker in self.workers(fleet) if worker.phase == CONSUMING]

    def wanted(self, fleet: str) -> int:
        """Return how many workers a fleet is to have."""
        return int(self.get("deployment", object_name(fleet))["spec"]["replicas"])

    def scale(self, fleet: str, workers: int) -> None:
        """Scale a fleet, until the new ones consume and the old ones are gone."""
        result = self.platform.scale(ScaleRequest(fleet, workers, wait_timeout=300))
        if (result.after, result.draining, result.warnings) != (workers, [], []):
            raise AssertionError(f"scaled to {workers}: {result}")

    def autoscalers(self) -> list[str]:
        """Return the pods of the autoscaler that are not told to go."""
        found = self.get("pods", f"--selector=app.kubernetes.io/name={CLUSTER_NAME}")["items"]
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """Return the pod of the autoscaler that leads; empty where none does."""
        found = self.kubectl("get", "lease", CLUSTER_NAME, "--output=json", check=False)
        holder = str(json.loads(found)["spec"].get("holderIdentity") or "") if found.strip() else ""
        return holder.partition("_")[0]

    def wait_for_leader(self, seconds: float = 60) -> str:
        """Return the pod of the autoscaler that leads, as soon as one of those that there are does."""
        wait_until(lambda: self.leader() in self.autoscalers(), seconds, "an autoscaler leads")
        return self.leader()

    def log(self, *pods: str) -> list[dict[str, Any]]:
        """Return what pods of the autoscaler wrote down, all of them unless they are named, in order of time.

        What one wrote before it was started anew is among it.
        """
        lines = []
        for pod in pods or self.autoscalers():
            for before in (("--previous",), ()):
                text = self.kubectl("logs", pod, *before, check=False)
                lines += [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return sorted(lines, key=lambda line: float(line["at"]))

    def decisions(self, *pods: str) -> list[dict[str, Any]]:
        """Return the decisions among what was written down."""
        return [line for line in self.log(*pods) if "action" in line]

    def metrics(self, pod: str) -> str:
        """Return the metrics that a pod of the autoscaler serves."""
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9541/proxy/metrics")

    def restarts(self, pod: str) -> int:
        """Return how often the kubelet has started the container of a pod anew."""
        statuses = self.get("pod", pod)["status"].get("containerStatuses") or ()
        return sum(int(status["restartCount"]) for status in statuses)
