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
    trigger,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.kind import RABBITMQ


def triggers_of(backlog: Backlog) -> Triggers:
    """Return a trigger for each queue. The management API tells of unacknowledged messages too, AMQP does not.

    :raises NotForKeda: when several brokers are named, of which KEDA takes one.
    """
    if len(addresses(backlog.broker_url)) > 1:
        raise NotForKeda("KEDA takes one address of RabbitMQ; give that of a load balancer or a Service")
    url = backlog.management_url if backlog.whole and backlog.management_url else backlog.broker_url
    protocol = "http" if url == backlog.management_url else "amqp"
    metadata = {
        "protocol": protocol,
        "mode": "QueueLength",
        "value": str(backlog.list_length),
        "vhostName": database(addresses(backlog.broker_url)[0], RABBITMQ.database),
    }
    if addresses(url)[0].login:
        parameters = {"host": "management-url" if protocol == "http" else "broker-url"}
    else:
        parameters = {}
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
    unseen = () if protocol == "http" else ("messages that are not acknowledged, as no management_url is given",)
    return Triggers(found, parameters, unseen)
