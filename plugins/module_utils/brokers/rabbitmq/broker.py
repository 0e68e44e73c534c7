# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RabbitMQ, opened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker, EventSink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.alarm import AmqpAlarm
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.events import follow
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.kind import RABBITMQ
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.queues import AmqpQueues
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.remote_control import RabbitmqRemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.roll_call import call_everybody
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Found
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide


class RabbitmqBroker(Broker):
    """An open connection to RabbitMQ."""

    kind = RABBITMQ

    def __init__(self, connection: Any, url: str, timeout: float, hide: Hide, management_url: str | None) -> None:
        super().__init__(connection, url, timeout, hide, management_url)
        # kombu's own would connect again by itself, and hide that the broker was gone.
        self._amqp = connection.connection
        self._queues = AmqpQueues(connection, management_url)
        self._alarm = AmqpAlarm(connection)

    def follow_events(self, exchange: str, sink: EventSink, stop: threading.Event) -> None:
        follow(self.connection, exchange, sink, stop)

    def remote_control(self, exchange: str) -> RabbitmqRemoteControl:
        return RabbitmqRemoteControl(self.connection, exchange)

    def call_everybody(
        self, names: Collection[str], control_exchange: str, event_exchange: str, deadline: float
    ) -> Found:
        with self.remote_control(control_exchange) as control:
            return call_everybody(control, self.connection, event_exchange, names, deadline)

    def _publishers_blocked(self, _names: Sequence[str], warn: Warn) -> str:
        return self._alarm.blocked(warn)

    def close(self) -> None:
        self._alarm.close()
        super().close()

    def abort(self) -> None:
        self._alarm.close()
        with contextlib.suppress(Exception):
            self._amqp.collect()
        super().abort()
