# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a broker through kombu and read its queues, whichever of the supported kinds it is."""

from __future__ import annotations

import contextlib
import ssl as tls
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import hide_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import QueueReading, Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.queues import AmqpQueues
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.queues import RedisQueues
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.tls import tls_settings
from ansible_collections.muejam.celery.plugins.module_utils.brokers.transport_options import prepared
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of, normal
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide, shown

try:
    import kombu
except ImportError:
    kombu = None

try:
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    # Not needed for RabbitMQ.
    NoBackoff = Retry = None

# Closing politely is a courtesy to the broker's log, not worth more of anybody's time.
_CLOSE_SECONDS = 1.0

_SOCKET = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")


class Broker:
    """An open connection to a broker, made by C(open_broker).

    C(connection) is kombu's, for what else a caller has to ask. C(url) can be shown,
    and C(hide) masks this broker's secrets in what a library says. Not for use by
    several threads at once.
    """

    def __init__(self, connection: Any, url: str, timeout: float, reader: RedisQueues | AmqpQueues, hide: Hide) -> None:
        self.connection = connection
        self.url = shown(url)
        self.hide = hide
        self.timeout = timeout
        self.reader = reader

    @property
    def driver_type(self) -> str:
        """C(redis) or C(amqp)."""
        return str(self.connection.transport.driver_type)

    @property
    def skips_verification(self) -> bool:
        """Whether TLS is on and any certificate is accepted."""
        settings = self.connection.ssl
        return isinstance(settings, dict) and settings.get("ssl_cert_reqs") == tls.CERT_NONE

    def close(self) -> None:
        """Close the connection, within a second even where the broker does not answer."""
        self.reader.close()
        with contextlib.suppress(Exception):
            TimeLimit(_CLOSE_SECONDS).run(self.connection.release)
            return
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word, which also ends a read that waits in another thread."""
        self.reader.abort()
        with contextlib.suppress(Exception):
            TimeLimit(_CLOSE_SECONDS).run(lambda: self.connection.collect(socket_timeout=_CLOSE_SECONDS))


@contextlib.contextmanager
def open_broker(
    url: str,
    transport_options: Mapping[str, Any] | None = None,
    ssl: bool | Mapping[str, Any] | None = None,
    timeout: float = 5.0,
    management_url: str | None = None,
    warn: Warn = lambda text: None,
) -> Iterator[Broker]:
    """Connect to a broker for the length of a with block.

    :param url: as Celery's C(broker_url); several joined by C(;) are tried in turn.
    :param transport_options: as Celery's C(broker_transport_options).
    :param ssl: as Celery's C(broker_use_ssl); names with and without C(ssl_) both do.
    :param timeout: seconds for connecting; also what C(read_queues) takes when not told otherwise.
    :param management_url: RabbitMQ's management API with its login, for what AMQP does not tell.
    :param warn: called with a sentence on what is legal but unwise.
    :raises OperationError: with what is wrong and what to do, when the broker cannot be reached or refuses.
    """
    tried = f"connect to the broker {shown(url)}"
    hide = hide_of(url, transport_options, ssl, management_url)
    fault = fault_of(url)
    if fault:
        # Before a library sees it, which would take a part of the password for something else, and show it.
        raise OperationError(tried, f"broker_url {fault.why}", fault.next_step)
    if kombu is None:
        raise OperationError(tried, "the Python library kombu is missing", "Install celery for this interpreter.")
    try:
        options = prepared(transport_options)
    except ValueError as error:
        raise OperationError(tried, f"transport_options.{error}", "Correct what is named there.") from error
    limit = TimeLimit(timeout)
    try:
        broker = limit.run(
            lambda: _connect(normal(url), options, ssl, timeout, management_url, hide),
            undo=Broker.close,
        )
    except Exception as error:
        raise explain(error, tried, opening=True, hide=hide) from error
    if ssl is None and broker.skips_verification:
        warn(
            "The broker's certificate is not verified, as is kombu's default for rediss://. Set ssl to true, or give "
            "ca_certs in it, so that nobody can pose as the broker."
        )
    try:
        yield broker
    finally:
        broker.close()


def read_queues(
    broker: Broker, names: Sequence[str] | None = None, *, timeout: float | None = None, warn: Warn = lambda text: None
) -> list[QueueReading]:
    """Read queues, in the order of C(names); with None all that the broker knows, by name.

    Changes nothing at the broker.

    :param timeout: seconds for the whole reading, by default the broker's.
    :param warn: called with a sentence for each thing that could not be learned (and is None in the reading).
    :raises OperationError: when the broker cannot be read; there is then no reading at all.
    """
    limit = TimeLimit(broker.timeout if timeout is None else timeout)
    wanted = None if names is None else list(dict.fromkeys(names))
    try:
        readings = limit.run(lambda: broker.reader.read(wanted, limit, lambda text: warn(broker.hide(text))))
    except Exception as error:
        broker.abort()
        raise explain(error, f"read the queues of the broker {broker.url}", opening=False, hide=broker.hide) from error
    if names is None:
        return readings
    by_name = {reading.name: reading for reading in readings}
    return [by_name[name] for name in names]


def publishers_blocked(
    broker: Broker, names: Sequence[str], *, timeout: float | None = None, warn: Warn = lambda text: None
) -> str:
    """Return why the broker takes no tasks at present, the empty text when it does or this user may not ask.

    Changes nothing at the broker. Queues of one that blocks may be empty only because nothing comes in.

    :param timeout: seconds, by default the broker's.
    :param warn: called with a sentence, once for this connection, where this user may not ask.
    :raises OperationError: when the broker does not answer.
    """
    limit = TimeLimit(broker.timeout if timeout is None else timeout)
    try:
        return limit.run(lambda: broker.reader.blocked(names, lambda text: warn(broker.hide(text))))
    except Exception as error:
        broker.abort()
        raise explain(
            error, f"see whether the broker {broker.url} takes tasks", opening=False, hide=broker.hide
        ) from error


def _connect(
    url: str,
    options: dict[str, Any],
    ssl: bool | Mapping[str, Any] | None,
    timeout: float,
    management_url: str | None,
    hide: Hide,
) -> Broker:
    alternatives = len(list(filter(None, url.split(";"))))
    # One dead address must leave time for the next.
    each = timeout / alternatives
    connection = kombu.Connection(url, transport_options=options, connect_timeout=each)
    driver = connection.transport.driver_type
    if driver == "redis":
        if management_url:
            raise OperationError(
                f"use management_url with the broker {shown(url)}", "only RabbitMQ has one", "Leave management_url out."
            )
        options.update(
            socket_timeout=min(timeout, float(options.get("socket_timeout") or timeout)),
            socket_connect_timeout=min(each, float(options.get("socket_connect_timeout") or each)),
        )
    if connection.transport_cls == "sentinel":
        # The sentinels are asked in turn within one attempt, and the master has to answer after them.
        each = timeout / (alternatives + 1)
        options["sentinel_kwargs"] = _asked_once(options, each)
        alternatives = 1
    settings = tls_settings(ssl, driver)
    if settings is not None:
        connection.ssl = settings
    try:
        connection.ensure_connection(
            # Each address once: trying again is for those who wait for a broker, not for those who ask how it is.
            max_retries=alternatives - 1,
            interval_start=0,
            interval_step=0,
            reraise_as_library_errors=False,
        )
        channel = connection.channel()
        reader = RedisQueues(channel) if driver == "redis" else AmqpQueues(connection, channel, management_url)
    except BaseException:
        with contextlib.suppress(Exception):
            connection.collect(socket_timeout=_CLOSE_SECONDS)
        raise
    return Broker(connection, url, timeout, reader, hide)


def _asked_once(options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return how to connect with a sentinel: redis-py tries again with pauses, for which nobody here has the time."""
    # redis-py takes those of the master where there are none.
    own = options.get("sentinel_kwargs", {name: options[name] for name in _SOCKET if name in options})
    limits = {
        name: min(seconds, float(own.get(name) or seconds)) for name in ("socket_timeout", "socket_connect_timeout")
    }
    return {**own, **limits, "retry": Retry(NoBackoff(), 0)}
