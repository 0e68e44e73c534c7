# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA can ask RabbitMQ for: the length of each queue, by AMQP or by the management API."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.addresses import addresses
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import (
    Backlog,
    NotForKeda,
    Triggers,
    database,
    host_and_port,
    login,
    trigger,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.kind import RABBITMQ


def triggers_of(backlog: Backlog) -> Triggers:
    """Return a trigger for each queue. The management API tells of unacknowledged messages too, AMQP does not.

    :raises NotForKeda: when several brokers are named, of which KEDA takes one.
    """
    if len(addresses(backlog.broker_url)) > 1:
        raise NotForKeda("KEDA takes one address of RabbitMQ; give that of a load balancer or a Service")
    vhost = database(addresses(backlog.broker_url)[0], RABBITMQ.database)
    # KEDA asks the management API for a plus where a name has a space, and never gets an answer.
    spaced = any(" " in name for name in (vhost, *backlog.queues))
    by_http = bool(backlog.whole and backlog.management_url and not spaced)
    url = (backlog.management_url or "") if by_http else _amqp(backlog)
    protocol = "http" if by_http else "amqp"
    metadata = {
        "protocol": protocol,
        "mode": "QueueLength",
        "value": str(backlog.list_length),
        "vhostName": vhost,
    }
    secrets: dict[str, str | None] = {}
    if url.startswith(("amqps:", "https:")) and (backlog.certificates or not backlog.verified):
        # With nothing but a URL, KEDA trusts whom its own image trusts.
        secrets = {**backlog.certificates, "tls": "enable"}
        if not backlog.verified:
            metadata["unsafeSsl"] = "true"
    parameters, secret = login(secrets)
    if addresses(url)[0].login:
        key = "management-url" if by_http else "broker-url"
        parameters["host"], secret[key] = key, url
    else:
        metadata["host"] = url
    found = [
        trigger(
            "rabbitmq",
            {**metadata, "queueName": queue},
            f"queue_{place}" if backlog.whole else "",
            backlog.authentication if parameters else "",
        )
        for place, queue in enumerate(backlog.queues)
    ]
    why = (
        "KEDA finds no name with a space by HTTP" if spaced and backlog.management_url else "no management_url is given"
    )
    unseen = () if by_http else (f"messages that are not acknowledged, as {why}",)
    return Triggers(found, parameters, unseen, secret=secret)


def _amqp(backlog: Backlog) -> str:
    """Return the URL as KEDA takes it, which knows two schemes and no option beside them."""
    address = addresses(backlog.broker_url)[0]
    if address.scheme == "amqps":
        return backlog.broker_url
    rest = backlog.broker_url.partition("://")[2]
    if not backlog.tls:
        return f"amqp://{rest}"
    # Celery stays at the usual port, and KEDA would take another one.
    host = host_and_port(address, RABBITMQ.schemes["amqp"].port or 0)
    path = address.place.partition("/")
    login_part = f"{address.login}@" if address.login else ""
    return f"amqps://{login_part}{host}{path[1]}{path[2]}"
