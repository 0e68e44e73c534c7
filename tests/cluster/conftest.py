# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes, with KEDA and metrics-server, for the tests here. A failed test shows the pods of its namespace.

C(cluster): a L(Cluster): its kubeconfig, kubectl, images. C(kubectl_image): the name of an image for CronJobs that it
has. C(namespace): the name of a fresh namespace that takes only restricted pods. C(redis): a fresh redis-server that
the test and pods reach at the same URL. C(deployed): a L(Deployed), with a namespace, a broker and a ledger of its own.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from muejam_bed.shell import BedError
from muejam_cluster.access import Cluster, of_the_user, of_this_checkout
from muejam_cluster.deployed import Deployed
from muejam_cluster.kubectl_image import ensure_kubectl

# Tests are imported by path (importmode=importlib), so modules of other folders must be put on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "broker"))

from broker_servers import MissingServer, RedisServer, redis_running


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The user's cluster where MUEJAM_KUBECONFIG names one, else that of this checkout, which stays up."""
    kubeconfig = os.environ.get("MUEJAM_KUBECONFIG")
    return of_the_user(kubeconfig) if kubeconfig else of_this_checkout()


@pytest.fixture(scope="module")
def kubectl_image(cluster: Cluster) -> str:
    """The name of an image with kubectl that the cluster has."""
    image = ensure_kubectl(cluster.program)
    cluster.load_image(image)
    return image


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace for one test, in which only pods of the restricted standard are let run."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(name, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])
    # A pod is refused until it is there.
    cluster.kubectl("wait", "--namespace", name, "--for=create", "serviceaccount/default", "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def redis(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for one test, at an address of this machine that pods reach too."""
    try:
        with redis_running(tmp_path_factory.mktemp("redis"), address=cluster.gateway) as server:
            yield server
    except MissingServer as error:
        pytest.fail(str(error))


@pytest.fixture
def deployed(
    cluster: Cluster, namespace: str, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> Iterator[Deployed]:
    """A namespace to deploy fleets to; what runs of their tasks is noted in another Redis than their broker."""
    with redis_running(tmp_path_factory.mktemp("ledger"), address=cluster.gateway) as ledger:
        yield Deployed(cluster, namespace, redis, ledger, tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what is in the test's namespace to the report of a test that failed."""
    report = yield
    given = getattr(item, "funcargs", {})
    if report.failed and "namespace" in given:
        cluster, name = given["cluster"], given["namespace"]
        for title, arguments in (
            ("objects", ("get", "all", "--output=wide")),
            ("events", ("get", "events", "--sort-by=.lastTimestamp")),
        ):
            try:
                told = cluster.kubectl("--namespace", name, *arguments, check=False).stdout
            except BedError as error:
                told = str(error)
            report.sections.append((f"{title} in {name}", told))
    return report
