# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which streams of events the service listens to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import streams
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import WatchedFleet

URL = "redis://h/0"


class Stream:
    """Stands in for a stream: it only knows what it was made for."""

    def __init__(
        self, url: str, queues: dict[str, Any], *ways: Any, exchange: str = "", fleet_of: object = None
    ) -> None:
        self.heard = (url, exchange, sorted(queues))
        self.running = False

    def start(self) -> None:
        self.running = True

    def watch(self, queues: dict[str, Any]) -> None:
        self.heard = (*self.heard[:2], sorted(queues))

    def stop(self, timeout: float) -> None:
        self.running = False


def test_fleets_share_a_stream_that_hear_the_same_exchange_of_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Stream] = []

    def make(*arguments: Any, **options: Any) -> Stream:
        made.append(Stream(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(streams, "EventStream", make)
    watched = streams.Streams(lambda worker: None)
    web = WatchedFleet("web", URL)
    watched.watch([web, WatchedFleet("mail", URL), WatchedFleet("shop", URL, event_exchange="shop-events")])
    assert [stream.heard for stream in made] == [
        (URL, "celeryev", ["mail", "web"]),
        (URL, "shop-events", ["shop"]),
    ]
    watched.watch([web])
    assert [(stream.heard[2], stream.running) for stream in made] == [(["web"], True), (["shop"], False)]
