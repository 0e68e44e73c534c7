# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis, opened."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker, EventSink, addresses_in
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.events import follow
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.kind import REDIS
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import link_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.queues import RedisQueues
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.remote_control import RedisRemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.roll_call import call_everybody
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.writes import RedisWrites
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Found
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide

try:
    import hiredis
except ImportError:
    # Only the autoscaler follows events, and its environment has it.
    hiredis = None

try:
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    # Whoever has no redis-py has another broker.
    NoBackoff = Retry = None

_SOCKET = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")


class RedisBroker(Broker):
    """An open connection to Redis or Valkey, or through sentinels to the one that is the master."""

    kind = REDIS

    def __init__(self, connection: Any, url: str, timeout: float, hide: Hide, management_url: str | None) -> None:
        super().__init__(connection, url, timeout, hide, management_url)
        channel = connection.channel()
        self._pool = channel.client.connection_pool
        self._queues = RedisQueues(channel)
        self._prefix, self._sep = channel.global_keyprefix or "", channel.sep
        self._writes = RedisWrites()

    @classmethod
    def prepare(cls, url: str, options: dict[str, Any], timeout: float) -> int:
        addresses = addresses_in(url)
        options.update(
            socket_timeout=_at_most(timeout, options.get("socket_timeout")),
            socket_connect_timeout=_at_most(timeout / addresses, options.get("socket_connect_timeout")),
        )
        if not url.startswith("sentinel://"):
            return addresses
        # The sentinels are asked in turn within one attempt, and the master has to answer after them.
        options["sentinel_kwargs"] = _asked_once(options, timeout / (addresses + 1))
        return 1

    def follow_events(self, exchange: str, sink: EventSink, stop: threading.Event) -> None:
        if hiredis is None:
            raise OperationError(
                f"listen to the events of the broker {self.url}",
                "the Python library hiredis is missing",
                "Install redis[hiredis] for this interpreter.",
            )
        # Connections that kombu opened for commands are of no use here.
        self._pool.disconnect()
        follow(self.connection.channel(), self.url, exchange, sink, stop)

    def remote_control(self, exchange: str) -> RedisRemoteControl:
        return RedisRemoteControl(self.connection, exchange)

    def call_everybody(
        self, names: Collection[str], control_exchange: str, event_exchange: str, deadline: float
    ) -> Found:
        with self.remote_control(control_exchange) as control:
            return call_everybody(control, deadline)

    def _publishers_blocked(self, names: Sequence[str], warn: Warn) -> str:
        with link_of(self._pool) as link:
            return self._writes.refused(link, f"{self._prefix}{names[0] if names else ''}{self._sep}", warn)

    def abort(self) -> None:
        self._pool.disconnect()
        super().abort()


def _at_most(seconds: float, wanted: Any) -> float:
    return min(seconds, float(wanted or seconds))


def _asked_once(options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return how to connect with a sentinel: redis-py tries again with pauses, for which nobody here has the time."""
    # redis-py takes those of the master where there are none.
    own = options.get("sentinel_kwargs", {name: options[name] for name in _SOCKET if name in options})
    limits = {name: _at_most(seconds, own.get(name)) for name in ("socket_timeout", "socket_connect_timeout")}
    return {**own, **limits, "retry": Retry(NoBackoff(), 0)}
