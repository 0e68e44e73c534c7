# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the queues of RabbitMQ: over AMQP, and through the management API where its URL is given."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import (
    QueueReading,
    Warn,
    is_bookkeeping,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of_http
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import shown

# Reply codes of AMQP 0-9-1.
_ACCESS_REFUSED = 403
_NOT_FOUND = 404
_RESOURCE_LOCKED = 405


class AmqpQueues:
    """Reads queues by passive declarations, which neither make nor change one."""

    def __init__(self, connection: Any, management_url: str | None) -> None:
        self._connection = connection
        self._channel = connection.channel()
        # kombu's own would connect again by itself, and hide that the broker was gone.
        self._amqp = connection.connection
        self._management_url = management_url

    def read(self, names: Sequence[str] | None, limit: TimeLimit, warn: Warn) -> list[QueueReading]:
        """Read queues, or all of the virtual host when C(names) is None."""
        unacknowledged: Mapping[str, int | None] = {}
        if names is None:
            if not self._management_url:
                raise OperationError(
                    "list the queues of RabbitMQ",
                    "AMQP can ask for a queue by its name but not for all of them",
                    "Name them in queues, or give management_url (the plugin rabbitmq_management must be enabled).",
                )
            unacknowledged = self._from_management(limit)
            names = sorted(name for name in unacknowledged if not is_bookkeeping(name))
            return self._read(names, unacknowledged, limit, warn)
        if self._management_url:
            try:
                unacknowledged = self._from_management(limit)
            except OperationError as error:
                warn(f"Unacknowledged messages are unknown. {error}")
        return self._read(names, unacknowledged, limit, warn)

    def _read(
        self, names: Sequence[str], unacknowledged: Mapping[str, int | None], limit: TimeLimit, warn: Warn
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
                    unacknowledged=unacknowledged.get(name),
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
        text = str(getattr(error, "reply_text", ""))
        if code == _NOT_FOUND:
            # "home node of durable queue is down or inaccessible" comes with the same code.
            return False if "no queue" in text else None
        if code == _RESOURCE_LOCKED:
            return True
        if code == _ACCESS_REFUSED:
            return None
        raise error

    def _from_management(self, limit: TimeLimit) -> dict[str, int | None]:
        """Return the unacknowledged messages of every queue of the virtual host."""
        tried = f"ask the management API of RabbitMQ at {shown(str(self._management_url))}"
        fault = fault_of_http(str(self._management_url))
        if fault:
            raise OperationError(tried, f"management_url {fault.why}", fault.next_step)
        url = urlsplit(str(self._management_url))
        vhost = quote(self._connection.virtual_host or "/", safe="")
        user = unquote(url.username or self._connection.userid or "guest")
        password = unquote(url.password or self._connection.password or "guest")
        login = b64encode(f"{user}:{password}".encode()).decode()
        try:
            # A queue per element; the columns keep an answer about thousands of queues small.
            with contextlib.closing(self._http(url, limit.left())) as connection:
                connection.request(
                    "GET",
                    f"{url.path.rstrip('/')}/api/queues/{vhost}?columns=name,messages_unacknowledged",
                    headers={"Accept": "application/json", "Authorization": f"Basic {login}"},
                )
                answer = connection.getresponse()
                if answer.status != 200:
                    raise OperationError(
                        tried, f"it answered {answer.status} {answer.reason}", _next_step_of_status(answer.status)
                    )
                queues = json.loads(answer.read())
            return {str(queue["name"]): queue.get("messages_unacknowledged") for queue in queues}
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise OperationError(
                tried, error, "Check management_url, and that the plugin rabbitmq_management is enabled there."
            ) from error

    def _http(self, url: SplitResult, timeout: float) -> http.client.HTTPConnection:
        host = str(url.hostname)
        if url.scheme == "http":
            return http.client.HTTPConnection(host, url.port, timeout=timeout)
        settings = self._connection.ssl if isinstance(self._connection.ssl, dict) else {}
        context = ssl.create_default_context(cafile=settings.get("ca_certs"))
        if settings.get("cert_reqs") == ssl.CERT_NONE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, url.port, timeout=timeout, context=context)


def _next_step_of_status(status: int) -> str:
    if status == 401:
        return "Check user and password in management_url; the user needs the tag monitoring or management."
    if status == 404:
        return "Check the virtual host at the end of broker_url and that management_url is that of the same broker."
    return "See the broker's log for the other side of this."
