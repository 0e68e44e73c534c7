# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's cluster: this checkout's Kubernetes of one node, a namespace of it, and a Redis that its pods reach."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler_image import ensure_autoscaler_image
from broker_servers import start_redis
from celery_demo import ledger

from muejam_bed import container
from muejam_bed.collection import collections_path
from muejam_bed.shell import cache_dir, checkout_key
from muejam_cluster import node
from muejam_cluster.access import Cluster, of_this_checkout
from muejam_cluster.images import DEMO

from .feed import Feed, running

NAMESPACE = "celery-demo"
HERE = Path(__file__).resolve().parents[1]
INVENTORY = HERE / "cluster.yml"

_FILES = cache_dir("demo", checkout_key())
# Of a Redis that was left running, to find it again. It has a password, so it is for its owner's eyes alone.
_LEFT = _FILES / "redis-url"


@dataclass(frozen=True)
class Bench:
    """What bursts are sent to."""

    cluster: Cluster
    autoscaler_image: str
    broker_url: str
    ledger_url: str

    def variables(self, autoscaling: str) -> dict[str, str]:
        """Return the variables of the environment that the inventory and the programs of the demo take."""
        return {
            "CELERY_BROKER_URL": self.broker_url,
            "DEMO_LEDGER": self.ledger_url,
            "DEMO_KUBECONFIG": str(self.cluster.kubeconfig),
            "DEMO_KUBECTL": str(self.cluster.program),
            "DEMO_NAMESPACE": NAMESPACE,
            "DEMO_AUTOSCALING": autoscaling,
            "DEMO_AUTOSCALER_IMAGE": self.autoscaler_image,
            "DEMO_IMAGE": DEMO,
        }

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl says of the demo's namespace, or why it does not."""
        done = self.cluster.kubectl("--namespace", NAMESPACE, *arguments, check=False)
        return done.stdout + done.stderr

    def evidence(self) -> str:
        """Return what is in the demo's namespace, for a run that failed."""
        asked = (("get", "all", "--output=wide"), ("get", "events", "--sort-by=.lastTimestamp"))
        return "\n".join(self.kubectl(*arguments) for arguments in asked)

    def _program(self, autoscaling: str, *command: str) -> AbstractContextManager[Feed]:
        path = os.pathsep.join((str(HERE / "app"), str(collections_path())))
        environment = {**os.environ, **self.variables(autoscaling), "PYTHONPATH": path}
        return running([sys.executable, *command], environment=environment)

    def watching(self, autoscaling: str) -> AbstractContextManager[Feed]:
        """Run the program that prints a reading every second."""
        return self._program(autoscaling, str(HERE / "cluster_watch.py"), autoscaling)

    def sending(self, autoscaling: str, options: Sequence[str]) -> AbstractContextManager[Feed]:
        """Run the program that publishes tasks."""
        return self._program(autoscaling, "-m", "celery_demo.send", *options)

    def ledger(self) -> list[str]:
        """Return the lines that the pods have written, and begin a new ledger."""
        redis = ledger.of_redis(self.ledger_url)
        lines = [line.decode() for line in redis.lrange(ledger.LIST, 0, -1)]
        redis.delete(ledger.LIST)
        return lines


@contextmanager
def bench(keep: bool = False) -> Iterator[Bench]:
    """Bring up the cluster and a broker for the length of a with block, and leave neither unless it ran before.

    :param keep: whether cluster, fleet and broker are left there afterwards.
    """
    ran_before = is_up()
    try:
        cluster, image = bring_up()
        with broker(cluster.gateway, keep) as (broker_url, ledger_url):
            try:
                yield Bench(cluster, image, broker_url, ledger_url)
            finally:
                if ran_before and not keep:
                    # Before its broker ends, which it drains from.
                    remove_namespace(cluster)
    finally:
        if not keep and not ran_before:
            node.down()


def is_up() -> bool:
    """Say whether the cluster runs already."""
    return container.is_running(node.name())


def bring_up() -> tuple[Cluster, str]:
    """Bring the cluster up, with images and an empty namespace; return it and the name of the autoscaler's image."""
    cluster = of_this_checkout()
    image = ensure_autoscaler_image()
    cluster.load_image(image)
    remove_namespace(cluster)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    cluster.apply(NAMESPACE, [namespace])
    # A pod is refused until it is there.
    cluster.kubectl("wait", "--namespace", NAMESPACE, "--for=create", "serviceaccount/default", "--timeout=60s")
    return cluster, image


def remove_namespace(cluster: Cluster) -> None:
    """Remove the demo's namespace with everything in it; nothing happens when there is none."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


@contextmanager
def broker(address: str, keep: bool) -> Iterator[tuple[str, str]]:
    """Run a Redis on an address of this machine; yield the URLs of the broker and of the ledger.

    :param keep: whether it is left running afterwards.
    """
    end_broker()
    server = start_redis(_FILES / "redis", password=secrets.token_hex(16), address=address)
    _LEFT.touch(mode=0o600)
    _LEFT.write_text(server.url, encoding="utf-8")
    try:
        yield server.url, f"{server.url.removesuffix('/0')}/1"
    finally:
        if not keep:
            server.stop()
            server.socket_path.unlink(missing_ok=True)
            _LEFT.unlink()


def end_broker() -> None:
    """End a Redis that was left running; nothing happens when there is none."""
    import redis

    if not _LEFT.exists():
        return
    # It may have ended by itself, as with this machine.
    with suppress(redis.exceptions.ConnectionError):
        redis.Redis.from_url(_LEFT.read_text(encoding="utf-8")).shutdown(nosave=True)
    _LEFT.unlink()


def remove() -> None:
    """Remove what a demo left in a cluster that runs."""
    end_broker()
    if is_up():
        remove_namespace(Cluster(node.kubeconfig(), node.kubectl(), node.gateway(), own=True))


def summary(sent: Sequence[dict[str, Any]], ran: Sequence[str]) -> dict[str, Any]:
    """Compare what was sent with the lines of the ledger."""
    files = {"sent.jsonl": [json.dumps(task) for task in sent], "ledger.jsonl": ran}
    for name, lines in files.items():
        (_FILES / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "celery_demo.summary", *(str(_FILES / name) for name in files)],
        env={**os.environ, "PYTHONPATH": str(HERE / "app")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the ledger could not be read:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
