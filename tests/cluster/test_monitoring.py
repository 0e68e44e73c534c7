# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook monitoring on a real cluster: first without the kinds of the Prometheus operator, then with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from autoscaler_image import ensure_autoscaler_image
from broker_servers import RedisServer
from place import Place, changed

from muejam_cluster.access import Cluster
from muejam_cluster.programs import PROMETHEUS_OPERATOR, ensure_programs
from muejam_cluster.waiting import wait_until

POLICY = {
    "limits": {"min_workers": 1, "max_workers": 2},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 1000}]},
}
NAME = "celery-autoscaler"
MONITORING = "muejam.celery.monitoring"
OPERATED = "servicemonitors.monitoring.coreos.com,prometheusrules.monitoring.coreos.com"


@pytest.fixture
def place(cluster: Cluster, namespace: str, redis: RedisServer, tmp_path: Path) -> Place:
    """A namespace with a fleet and its autoscaler."""
    image = ensure_autoscaler_image()
    cluster.load_image(image)
    made = Place(cluster, namespace, redis, tmp_path, {"workers": 1, "policy": POLICY})
    made.variables = {"celery_autoscaler_image": image, "celery_autoscaler_interval": "2s"}
    made.groups = ("celery_workers", "celery_monitoring")
    made.deploy()
    return made


@pytest.fixture
def kinds(cluster: Cluster) -> Iterator[Path]:
    """The folder of the operator's kinds, for the test to apply. They go with the test, and all that is of them."""
    if not cluster.own:
        pytest.skip("kinds are the whole cluster's: they are put into that of the checkout alone")
    folder = ensure_programs(PROMETHEUS_OPERATOR) / "prometheus-operator-crd"
    gone = ("delete", "--ignore-not-found", "--filename", str(folder))
    # A run that was killed has left them.
    cluster.kubectl(*gone)
    yield folder
    cluster.kubectl(*gone)


def there(place: Place, what: str) -> set[str]:
    """The names of the objects of these kinds."""
    return {each["metadata"]["name"] for each in place.get(what)["items"]}


def scraped(place: Place) -> str:
    """What the autoscaler's metrics are, asked for by the name of the port, as Prometheus does."""
    path = f"/api/v1/namespaces/{place.namespace}/services/{NAME}:metrics/proxy/metrics"
    return place.cluster.kubectl("get", "--raw", path, check=False).stdout


def lost(written: Any, standing: Any, at: str) -> Iterator[str]:
    """Where an object of the cluster lacks what was written; a kind drops what it has no room for."""
    if isinstance(written, dict) and isinstance(standing, dict):
        for key, value in written.items():
            yield from lost(value, standing.get(key), f"{at}.{key}")
    elif isinstance(written, list) and isinstance(standing, list) and len(written) == len(standing):
        for index, (one, other) in enumerate(zip(written, standing, strict=True)):
            yield from lost(one, other, f"{at}[{index}]")
    elif written != standing:
        yield f"{at}: {written!r} was written, {standing!r} stands there"


def test_the_monitoring_of_a_cluster_finds_the_autoscaler(place: Place, kinds: Path) -> None:
    configured = there(place, "configmaps")
    assert changed(place.play(MONITORING)) > 0
    assert place.get("service", NAME)["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    assert there(place, "configmaps") - configured == {f"{NAME}-rules", f"{NAME}-dashboards"}
    assert changed(place.play(MONITORING)) == 0
    wait_until(lambda: re.search(r'^celery_\w+{.*fleet="web"', scraped(place), re.M), 60, lambda: scraped(place))

    # By the server: one of these kinds is too long for the note that kubectl makes otherwise.
    place.cluster.kubectl("apply", "--server-side", "--filename", str(kinds))
    place.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(kinds))
    assert changed(place.play(MONITORING, "--check", "--diff")) > 0
    assert there(place, OPERATED) == set()
    assert changed(place.play(MONITORING)) > 0
    assert there(place, OPERATED) == {NAME}
    assert there(place, "configmaps") - configured == {f"{NAME}-dashboards"}
    assert "prometheus.io/scrape" not in place.get("service", NAME)["metadata"].get("annotations", {})
    assert changed(place.play(MONITORING)) == 0

    rendered = place.scratch / "rendered"
    place.variables["celery_worker_render_to"] = str(rendered)
    place.play(MONITORING)
    objects = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in rendered.rglob("*.yaml")]
    assert {each["kind"] for each in objects} == {"Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"}
    for written in objects:
        standing = place.get(written["kind"].lower(), written["metadata"]["name"])
        assert list(lost(written, standing, written["kind"])) == []
