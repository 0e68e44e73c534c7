# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RabbitMQ's management API: what AMQP does not tell of queues."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of_http
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import shown

_COLUMNS = "name,messages_unacknowledged,message_stats.deliver_get,message_stats.redeliver"
_NEXT_STEPS = {
    401: "Check user and password in management_url; the user needs the tag monitoring or management.",
    404: "Check the virtual host at the end of broker_url and that management_url is that of the same broker.",
}
_USUAL_PORTS = {"http": 15672, "https": 15671}


@dataclass(frozen=True)
class ManagedQueue:
    """A queue as the API told of it.

    :ivar delivered: messages delivered for the first time, since whenever; None where the node does not count. RabbitMQ
        gathers it every 5 s by default, so it may be that old.
    """

    unacknowledged: int | None
    delivered: int | None


class Management:
    """Asks the API of the broker that a kombu connection leads to."""

    def __init__(self, connection: Any, url: str | None) -> None:
        """Prepare to ask.

        :param url: None for the broker's own host and the usual port, with the broker's login. It goes that way only
            where the broker itself is spoken to in the same way, with TLS or without.
        """
        self._connection = connection
        scheme = "https" if connection.ssl else "http"
        host = f"[{connection.hostname}]" if ":" in str(connection.hostname) else connection.hostname
        self._url = url or f"{scheme}://{host}:{_USUAL_PORTS[scheme]}"
        self._counts: bool | None = None

    def queues(self, limit: TimeLimit) -> dict[str, ManagedQueue]:
        """Return every queue of the virtual host.

        :raises OperationError: when the API cannot be had.
        """
        vhost = quote(self._connection.virtual_host or "/", safe="")
        # The columns keep an answer about thousands of queues small.
        rows = self._get(f"queues/{vhost}?columns={_COLUMNS}", limit)
        try:
            return {str(row["name"]): _managed(row, self.counts(limit)) for row in rows}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._failed(error) from error

    def counts(self, limit: TimeLimit) -> bool:
        """Return whether the node counts what it delivers; a queue without a count has then delivered nothing."""
        if self._counts is None:
            overview = self._get("overview", limit)
            self._counts = overview.get("rates_mode") != "none" and not overview.get("disable_stats")
        return self._counts

    def _get(self, path: str, limit: TimeLimit) -> Any:
        fault = fault_of_http(self._url)
        if fault:
            raise OperationError(self._tried, f"management_url {fault.why}", fault.next_step)
        url = urlsplit(self._url)
        user = unquote(url.username or self._connection.userid or "guest")
        password = unquote(url.password or self._connection.password or "guest")
        login = b64encode(f"{user}:{password}".encode()).decode()
        try:
            with contextlib.closing(self._http(url, limit.left())) as connection:
                connection.request(
                    "GET",
                    f"{url.path.rstrip('/')}/api/{path}",
                    headers={"Accept": "application/json", "Authorization": f"Basic {login}"},
                )
                answer = connection.getresponse()
                if answer.status != 200:
                    next_step = _NEXT_STEPS.get(answer.status, "See the broker's log for the other side of this.")
                    raise OperationError(self._tried, f"it answered {answer.status} {answer.reason}", next_step)
                return json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._failed(error) from error

    @property
    def _tried(self) -> str:
        return f"ask the management API of RabbitMQ at {shown(self._url)}"

    def _failed(self, error: Exception) -> OperationError:
        return OperationError(
            self._tried, error, "Check management_url, and that the plugin rabbitmq_management is enabled there."
        )

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


def _managed(row: Mapping[str, Any], counts: bool) -> ManagedQueue:
    # Of a queue that has delivered nothing yet RabbitMQ tells nothing, or an empty list.
    stats = row.get("message_stats") or {}
    delivered = stats.get("deliver_get", 0) - stats.get("redeliver", 0) if counts else None
    return ManagedQueue(row.get("messages_unacknowledged"), delivered)
