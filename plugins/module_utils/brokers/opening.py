# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a broker through kombu, whichever kind it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from ssl import CERT_NONE
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import CLOSE_SECONDS, Broker, addresses_in
from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import hide_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.broker import RabbitmqBroker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.broker import RedisBroker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
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

BROKERS: tuple[type[Broker], ...] = (RedisBroker, RabbitmqBroker)


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
    :param timeout: seconds for connecting; also what a reading takes when not told otherwise.
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
    (of_kind,) = (one for one in BROKERS if one.kind is kind_of(url))
    if management_url and not of_kind.kind.managed:
        raise OperationError(
            f"use management_url with the broker {shown(url)}", "only RabbitMQ has one", "Leave management_url out."
        )
    limit = TimeLimit(timeout)
    try:
        broker = limit.run(
            lambda: _connect(of_kind, normal(url), options, ssl, timeout, management_url, hide),
            undo=lambda late: late.close(),
        )
    except Exception as error:
        raise explain(error, tried, opening=True, hide=hide) from error
    tls = broker.connection.ssl
    if ssl is None and isinstance(tls, dict) and tls.get(f"{broker.kind.tls_prefix}cert_reqs") == CERT_NONE:
        warn(
            "The broker's certificate is not verified, as is kombu's default for rediss://. Set ssl to true, or give "
            "ca_certs in it, so that nobody can pose as the broker."
        )
    try:
        yield broker
    finally:
        broker.close()


def _connect(
    of_kind: type[Broker],
    url: str,
    options: dict[str, Any],
    ssl: bool | Mapping[str, Any] | None,
    timeout: float,
    management_url: str | None,
    hide: Hide,
) -> Broker:
    attempts = of_kind.prepare(url, options, timeout)
    # One dead address must leave time for the next.
    each = timeout / addresses_in(url)
    connection = kombu.Connection(url, transport_options=options, connect_timeout=each)
    settings = tls_settings(ssl, of_kind.kind)
    if settings is not None:
        connection.ssl = settings
    try:
        connection.ensure_connection(
            # Each address once: trying again is for those who wait for a broker, not for those who ask how it is.
            max_retries=attempts - 1,
            interval_start=0,
            interval_step=0,
            reraise_as_library_errors=False,
        )
        return of_kind(connection, url, timeout, hide, management_url)
    except BaseException:
        with contextlib.suppress(Exception):
            connection.collect(socket_timeout=CLOSE_SECONDS)
        raise
