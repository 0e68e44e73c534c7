# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak with workers through mailboxes on RabbitMQ, which tells when nobody has one."""

from __future__ import annotations

from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.exchanges import NOT_FOUND, has_exchange
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl


class RabbitmqRemoteControl(RemoteControl):
    """A conversation with the workers of a RabbitMQ."""

    def __init__(self, connection: Any, exchange: str) -> None:
        super().__init__(connection, exchange)
        self._channel.events["basic_return"].add(self._on_return)

    def has_mailbox(self, node: str) -> bool:
        name = f"{node}.{self._mailbox.namespace}.pidbox"
        with self._connection.channel() as channel:
            try:
                channel.queue_declare(name, passive=True)
            except self._connection.channel_errors as error:
                # Any other refusal (405: it is exclusive to the worker's connection) is about a queue that exists.
                return getattr(error, "code", None) != NOT_FOUND
        return True

    def _has_workers(self) -> bool:
        return has_exchange(self._connection, self._mailbox.exchange.name, "fanout")

    def _on_return(self, _error: object, _exchange: str, _routing_key: str, message: Any) -> None:
        # RabbitMQ hands a broadcast back when not one mailbox is bound.
        headers = getattr(message, "headers", None) or message.properties.get("application_headers") or {}
        asked = self._rounds.get(str(headers.get("ticket")))
        if asked is not None:
            asked[0].nobody = True
