# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA makes of the ScaledObjects that policies are translated to: the number it tells, and what follows."""

from __future__ import annotations

import contextlib
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from broker_servers import (
    MissingServer,
    RabbitServer,
    RedisServer,
    make_certificates,
    rabbitmq_running,
    redis_running,
)
from broker_traffic import traffic

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import ManifestOptions, translate
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from muejam_cluster.access import Cluster
from muejam_cluster.images import DEMO
from muejam_cluster.waiting import wait_until

LENGTH = 5
"""Messages for which there is to be a worker."""
# Nothing keeps a wrong number from being seen.
AT_ONCE = {
    "scale_up": {"any": [{"metric": "queue_depth", "above": 10}]},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 2}]},
}
LIMITS = {"max_workers": 9, "scale_up_max": 9, "scale_down_max": 9, "cooldown_up": 0, "cooldown_down": 0}
PRIORITIES = (0, 3, 6, 9)
PASSWORD = "not-a-real-p@ssword:0123"


@dataclass(frozen=True)
class Scaled:
    """A Deployment whose pods no node takes, so that they cost nothing, and KEDA that scales it."""

    cluster: Cluster
    namespace: str

    def apply(self, floor: int = 0, schedule: dict[str, Any] | None = None, **options: Any) -> None:
        """Put it there, with what a policy is translated to."""
        policy = {"limits": {**LIMITS, "min_workers": floor}, **AT_ONCE, "schedule": schedule or {}}
        given = ManifestOptions(
            workload="web",
            namespace=self.namespace,
            secret="login",
            list_length=LENGTH,
            polling_interval=1,
            requested=(),
            windows="triggers",
            **options,
        )
        found = translate(parse_policy(policy), "keda", given, time.time())
        login = {key: b64encode(value.encode()).decode() for key, value in found.secret.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": login}
        self.cluster.apply(self.namespace, [_deployment(), secret, *found.manifests])

    def get(self, *what: str) -> dict[str, Any]:
        return self.cluster.get("--namespace", self.namespace, *what)

    def number(self) -> int:
        return int(self.get("deployment", "web")["spec"]["replicas"])

    def told(self) -> str:
        """What KEDA tells the HPA that it has made, as the API hands it on."""
        scalers = self.get("hpa")["items"]
        if not scalers:
            return "there is no HPA yet"
        [metric] = [each["external"]["metric"] for each in scalers[0]["spec"]["metrics"]]
        labels = ",".join(f"{key}={value}" for key, value in metric["selector"]["matchLabels"].items())
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{self.namespace}/{metric['name']}"
        done = self.cluster.kubectl("get", "--raw", f"{path}?{urlencode({'labelSelector': labels})}", check=False)
        return done.stdout or done.stderr

    def counts(self, number: int) -> None:
        """Wait until KEDA tells a number."""
        wait_until(lambda: _value(self.told()) == number, 60, lambda: f"KEDA tells {number}: {self.told()}, {self}")

    def has(self, number: int) -> None:
        """Wait until there are to be so many pods."""
        wait_until(lambda: self.number() == number, 60, lambda: f"{number} workers, {self.number()}: {self}")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("scaledobject", "web-scaler").get("status") or {}
        return found

    def falls_back(self) -> bool:
        return any(each["type"] == "Fallback" and each["status"] == "True" for each in self.status()["conditions"])

    def failures(self) -> int:
        """How often in a row KEDA could not read what it could read most often."""
        return min(int(each.get("numberOfFailures") or 0) for each in self.status()["health"].values())

    def looks_in_vain(self) -> int:
        """How often KEDA had no number for the HPA."""
        events = self.get("events", "--field-selector=reason=FailedGetExternalMetric")["items"]
        return sum(int(each.get("count") or 1) for each in events)

    def numbers_until(self, condition: Callable[[], bool]) -> set[int]:
        """Wait for something, and tell how many pods there were to be meanwhile."""
        numbers = {self.number()}

        def seen() -> bool:
            come = condition()
            numbers.add(self.number())
            return come

        wait_until(seen, 60, lambda: f"{numbers} workers, {self}")
        return numbers

    def __str__(self) -> str:
        return json.dumps(self.status())


def _value(told: str) -> int | None:
    if not told.startswith("{"):
        return None
    [item] = json.loads(told)["items"]
    return int(item["value"])


def _deployment() -> dict[str, Any]:
    labels = {"app": "web"}
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod = {
        "nodeSelector": {"there-is": "none"},
        "containers": [{"name": "web", "image": DEMO, "securityContext": security}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest.fixture
def scaled(cluster: Cluster, namespace: str) -> Scaled:
    return Scaled(cluster, namespace)


@dataclass(frozen=True)
class Redis:
    """A Redis, and how KEDA is told of it; the test goes by a socket."""

    server: RedisServer
    url: str
    database: int = 0
    options: dict[str, Any] | None = None

    @property
    def socket_url(self) -> str:
        return f"{self.server.socket_url}?virtual_host={self.database}"


@contextlib.contextmanager
def by_a_user_in_database_3(address: str, directory: Path) -> Iterator[Redis]:
    with redis_running(directory, address=address, password="not-a-real-password") as server:
        server.cli("ACL", "SETUSER", "shop:keda", "on", f">{PASSWORD}", "~*", "+@read", "+@connection", "+eval")
        login = f"{quote('shop:keda', safe='')}:{quote(PASSWORD, safe='')}"
        yield Redis(server, f"redis://{login}@{address}:{server.port}/3", 3)


@contextlib.contextmanager
def by_tls(address: str, directory: Path) -> Iterator[Redis]:
    certificates = make_certificates(directory / "tls", address)
    with redis_running(directory, address=address, tls=certificates) as server:
        yield Redis(server, server.url, options={"certificates": {"ca": certificates.authority.read_text()}})


@contextlib.contextmanager
def by_a_sentinel(address: str, directory: Path) -> Iterator[Redis]:
    with redis_running(directory / "master", address=address, password=PASSWORD) as server:
        watched = {
            "sentinel monitor": f"shop {address} {server.port} 1",
            "sentinel auth-pass": f"shop {PASSWORD}",
        }
        own = {"address": address, "password": "not-a-real-password", "settings": watched}
        with redis_running(directory / "sentinel", sentinel=True, **own) as sentinel:
            options = {"master_name": "shop", "sentinel_kwargs": {"password": "not-a-real-password"}}
            url = f"sentinel://:{quote(PASSWORD, safe='')}@{address}:{sentinel.port}/0"
            yield Redis(server, url, options={"transport_options": options})


@pytest.mark.parametrize("way", [by_a_user_in_database_3, by_tls, by_a_sentinel])
def test_every_list_of_redis_and_what_is_not_acknowledged_is_counted(
    scaled: Scaled, tmp_path: Path, way: Callable[[str, Path], AbstractContextManager[Redis]]
) -> None:
    with way(scaled.cluster.gateway, tmp_path) as redis, traffic(redis.socket_url) as app:
        scaled.apply(broker_url=redis.url, **redis.options or {})
        queue = app.declare("celery")
        for priority in PRIORITIES:
            app.send(queue, 3, priority=priority)
        app.take(queue, 2)
        lists = [f"celery\x06\x16{priority}" if priority else "celery" for priority in PRIORITIES]
        waiting = [redis.server.client(redis.database).llen(name) for name in lists]
        assert (sum(waiting), all(waiting)) == (10, True)
        scaled.counts(12)


def test_what_is_not_acknowledged_keeps_workers_alone(scaled: Scaled, redis: RedisServer) -> None:
    scaled.apply(broker_url=redis.url)
    scaled.counts(0)
    assert scaled.number() == 0
    redis.client().hset("unacked", mapping={f"tag{number}": "[]" for number in range(12)})
    scaled.has(3)
    redis.client().hdel("unacked", *(f"tag{number}" for number in range(5)))
    scaled.has(2)


@pytest.fixture(scope="module")
def rabbitmq(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    try:
        with rabbitmq_running(tmp_path_factory.mktemp("rabbitmq"), cluster.gateway) as server:
            yield server
    except MissingServer as error:
        pytest.fail(str(error))


@pytest.mark.parametrize(("by_http", "queues", "number"), [(False, 1, 5), (False, 2, 9), (True, 1, 7), (True, 2, 11)])
def test_queues_of_rabbitmq_are_counted(
    scaled: Scaled, rabbitmq: RabbitServer, by_http: bool, queues: int, number: int
) -> None:
    # KEDA finds no name with a space by HTTP.
    url = rabbitmq.add_vhost(f"{scaled.namespace}/{'shop' if by_http else 'my shop'}")
    names = ("celery", "mail")[:queues]
    given = {"management_url": rabbitmq.management_url} if by_http else {}
    with traffic(url) as app:
        made = [app.declare(name) for name in names]
        scaled.apply(broker_url=url, queues=names, **given)
        app.send(made[0], 7)
        if queues > 1:
            app.send(made[1], 4)
        # AMQP does not tell of those.
        app.take(made[0], 2)
        scaled.counts(number)


def test_queues_that_are_gone_leave_the_number_as_it_is(scaled: Scaled, rabbitmq: RabbitServer) -> None:
    url = rabbitmq.add_vhost(scaled.namespace)
    with traffic(url) as app:
        app.send(app.declare("celery"), 3 * LENGTH)
    scaled.apply(floor=1, broker_url=url, management_url=rabbitmq.management_url)
    scaled.has(3)
    rabbitmq.delete_vhost(scaled.namespace)
    assert scaled.numbers_until(scaled.falls_back) == {3}
    failures = scaled.failures()
    assert scaled.numbers_until(lambda: scaled.failures() > failures + 2) == {3}


def around(begins: float, ends: float) -> str:
    """A time of day, from and to so many hours from now, in UTC."""
    walls = (datetime.fromtimestamp(time.time() + hours * 3600, timezone.utc) for hours in (begins, ends))
    return "-".join(f"{wall:%H:%M}" for wall in walls)


@pytest.mark.parametrize(
    ("window", "floor"),
    [
        pytest.param({"min_workers": 1}, 1, id="always"),
        pytest.param({"min_workers": 1, "time": (-1, 1)}, 1, id="now"),
        pytest.param({"min_workers": 3, "time": (-1, 1)}, 3, id="now, three"),
        pytest.param({"min_workers": 3, "time": (2, 3)}, 0, id="later"),
    ],
)
def test_a_cron_trigger_raises_the_floor_while_its_window_holds(
    scaled: Scaled, redis: RedisServer, window: dict[str, Any], floor: int
) -> None:
    times = {"time": around(*window["time"])} if "time" in window else {}
    scaled.apply(schedule={"windows": [{"name": "peak", **window, **times}]}, broker_url=redis.url)
    scaled.counts(floor * LENGTH)
    scaled.has(floor)


def test_a_broker_that_is_gone_leaves_the_number_as_it_is(scaled: Scaled, redis: RedisServer) -> None:
    redis.client().rpush("celery", *map(str, range(3 * LENGTH)))
    scaled.apply(floor=1, broker_url=redis.url)
    scaled.has(3)
    redis.leave()
    assert scaled.numbers_until(lambda: scaled.looks_in_vain() > 1) == {3}
    redis.come_back()
    redis.client().rpush("celery", *map(str, range(LENGTH)))
    scaled.has(4)
