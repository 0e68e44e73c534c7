# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that start real brokers.

C(redis_server): a fresh redis-server for one test. C(start_redis): a function that
starts further ones (password, TLS, own settings). C(rabbitmq_server): one RabbitMQ
node for the whole run. C(rabbitmq_vhost): a broker URL with a fresh virtual host of
that node. C(broker_url): either of the two. C(certificates): a throw-away authority
and server certificate.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from broker_servers import (
    Certificates,
    MissingServer,
    RabbitServer,
    RedisServer,
    make_certificates,
    rabbitmq_running,
    redis_running,
)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority and a server certificate for localhost and 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """A function that starts a redis-server (password=, tls=, settings=, sentinel=), ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            try:
                return stack.enter_context(redis_running(tmp_path_factory.mktemp("redis"), **options))
            except MissingServer as error:
                pytest.fail(str(error))

        yield start


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """A fresh redis-server for one test."""
    return start_redis()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """One RabbitMQ node for the whole run; take C(rabbitmq_vhost) where a test declares queues."""
    try:
        with rabbitmq_running(tmp_path_factory.mktemp("rabbitmq")) as server:
            yield server
    except MissingServer as error:
        pytest.fail(str(error))


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitServer) -> Iterator[str]:
    """Broker URL of a fresh virtual host, deleted after the test."""
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    yield rabbitmq_server.add_vhost(vhost)
    rabbitmq_server.delete_vhost(vhost)


@pytest.fixture(params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh broker, of each kind in turn, or of the kind that the test's parameter names."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return str(request.getfixturevalue("rabbitmq_vhost"))
