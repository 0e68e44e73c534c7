# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the queues of RabbitMQ: over AMQP, and through the management API where its URL is given."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import (
    QueueReading,
    Warn,
    is_bookkeeping,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.exchanges import NOT_FOUND
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.management import ManagedQueue, Management
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit, TookTooLong
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import Marks

# Access to it refused, not found, locked by another connection.
_EXISTS = {403: None, NOT_FOUND: None, 405: True}
"""Whether a queue exists, by the reply code of AMQP 0-9-1 with which its declaration was refused."""

# The API may sit behind a firewall that does not answer, and what waits is worth more than what was counted.
SHARE_OF_COUNTS = 0.3
ASK_AGAIN_AFTER = 300.0


class AmqpQueues:
    """Reads queues by passive declarations, which neither make nor change one."""

    def __init__(self, connection: Any, management_url: str | None) -> None:
        self._connection = connection
        self._channel = connection.channel()
        # kombu's own would connect again by itself, and hide that the broker was gone.
        self._amqp = connection.connection
        self._management_url = management_url
        self._management = Management(connection, management_url)
        self._uncounted = ""
        self._ask_again_at = 0.0

    def read(
        self, names: Sequence[str] | None, limit: TimeLimit, warn: Warn, marks: Marks | None
    ) -> list[QueueReading]:
        """Read queues, or all of the virtual host when C(names) is None."""
        if names is None and not self._management_url:
            raise OperationError(
                "list the queues of RabbitMQ",
                "AMQP can ask for a queue by its name but not for all of them",
                "Name them in queues, or give management_url (the plugin rabbitmq_management must be enabled).",
            )
        managed: Mapping[str, ManagedQueue] = {}
        if self._management_url or (marks is not None and time.monotonic() >= self._ask_again_at):
            try:
                share = 1.0 if self._management_url else SHARE_OF_COUNTS
                managed = self._management.queues(TimeLimit(limit.left() * share))
            except (OperationError, TookTooLong) as error:
                if names is None:
                    raise
                if self._management_url:
                    warn(f"Unacknowledged messages are unknown. {error}")
                else:
                    # Nobody has said that it is there.
                    self._ask_again_at = time.monotonic() + ASK_AGAIN_AFTER
                self._uncounted = str(error)
            else:
                self._uncounted = ""
        if names is None:
            names = sorted(name for name in managed if not is_bookkeeping(name))
        readings = self._read(names, managed, limit, warn)
        if marks is None:
            return readings
        return [self._with_deliveries(each, managed, limit) for each in readings]

    def _read(
        self, names: Sequence[str], managed: Mapping[str, ManagedQueue], limit: TimeLimit, warn: Warn
    ) -> list[QueueReading]:
        readings = []
        refused: list[tuple[str, Exception]] = []
        for name in names:
            limit.left()
            try:
                declared = self._channel.queue_declare(name, passive=True)
            except self._connection.channel_errors as error:
                exists = self._what_error_says(error)
                if exists is not False:
                    refused.append((name, error))
                readings.append(QueueReading(name, exists=exists))
                # The server closes the channel with its answer.
                self._channel = self._amqp.channel()
                continue
            readings.append(
                QueueReading(
                    name,
                    exists=True,
                    waiting=declared.message_count,
                    unacknowledged=managed[name].unacknowledged if name in managed else None,
                    consumers=declared.consumer_count,
                )
            )
        if refused and len(refused) == len(names):
            raise refused[0][1]
        for name, refusal in refused:
            warn(f"{name}: unknown, because the broker says: {getattr(refusal, 'reply_text', None) or refusal}")
        return readings

    @staticmethod
    def _what_error_says(error: Exception) -> bool | None:
        """Tell whether the queue exists by the error of its passive declaration; raise what is not about the queue."""
        code = getattr(error, "reply_code", None)
        if code not in _EXISTS:
            raise error
        # "home node of durable queue is down or inaccessible" comes with the same code as "no queue".
        return False if code == NOT_FOUND and "no queue" in str(getattr(error, "reply_text", "")) else _EXISTS[code]

    def _with_deliveries(
        self, reading: QueueReading, managed: Mapping[str, ManagedQueue], limit: TimeLimit
    ) -> QueueReading:
        delivered = managed[reading.name].delivered if reading.name in managed else None
        if reading.exists is False and not self._uncounted and self._management.counts(limit):
            delivered = 0
        if delivered is not None:
            return reading._replace(delivered=delivered)
        uncounted = self._uncounted or "RabbitMQ's management API does not tell what is delivered"
        return reading._replace(uncounted=uncounted)
