# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listen to the heartbeats of Celery workers on RabbitMQ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.exchanges import consume, has_exchange
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import integer

HEARTBEAT_SECONDS = 2.0
"""Celery's default interval between two heartbeats of a worker."""


@dataclass(frozen=True)
class Heartbeat:
    """What a worker last said of itself.

    :ivar active: tasks that run now, None when not told.
    :ivar processed: tasks started since the worker started, None when not told.
    :ivar interval: seconds until its next heartbeat.
    """

    active: int | None
    processed: int | None
    interval: float = HEARTBEAT_SECONDS


def heartbeats_in(body: Any) -> dict[str, Heartbeat | None]:
    """Return the workers that an event message tells of; None for one that says it goes."""
    found: dict[str, Heartbeat | None] = {}
    for event in body if isinstance(body, list) else [body]:
        if not isinstance(event, dict) or "hostname" not in event:
            continue
        node = str(event["hostname"])
        if event.get("type") == "worker-offline":
            found[node] = None
        elif event.get("type") in ("worker-online", "worker-heartbeat"):
            found[node] = Heartbeat(
                active=integer(event.get("active")),
                processed=integer(event.get("processed")),
                interval=float(event.get("freq") or HEARTBEAT_SECONDS),
            )
    return found


class HeartbeatListener:
    """Hears the workers of one broker while its connection is drained by somebody.

    Its queue is its own and disappears with the connection. C(heard) holds who is there;
    C(listening) is false where no worker has ever sent an event.
    """

    def __init__(self, connection: Any, exchange: str) -> None:
        self.heard: dict[str, Heartbeat] = {}
        self.listening = False
        # Made by the workers' first events.
        if not has_exchange(connection, exchange, "topic"):
            return
        consume(connection.channel(), exchange, "worker.#", {}, accept=["json"], callbacks=[self._on_event])
        self.listening = True

    @property
    def interval(self) -> float:
        """Seconds after which everybody who sends heartbeats has sent one."""
        return max([HEARTBEAT_SECONDS, *(beat.interval for beat in self.heard.values())])

    def _on_event(self, body: Any, _message: Any) -> None:
        for node, beat in heartbeats_in(body).items():
            if beat is None:
                self.heard.pop(node, None)
            else:
                self.heard[node] = beat
