# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA can ask any broker for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import Backlog, NotForKeda, Triggers
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq import keda as rabbitmq
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.kind import RABBITMQ
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis import keda as redis
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.kind import REDIS
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of

_BY_KIND: Mapping[str, Callable[[Backlog], Triggers]] = {
    REDIS.name: redis.triggers_of,
    RABBITMQ.name: rabbitmq.triggers_of,
}


def triggers_of(backlog: Backlog) -> Triggers:
    """Return the triggers for a backlog.

    :raises NotForKeda: when KEDA cannot read such a broker.
    """
    kind = kind_of(backlog.broker_url)
    if kind is None:
        raise NotForKeda("broker_url is no URL of Redis, Valkey or RabbitMQ")
    if kind.name not in _BY_KIND:
        raise NotForKeda(f"this collection cannot tell KEDA how to read {kind.name}")
    return _BY_KIND[kind.name](backlog)
