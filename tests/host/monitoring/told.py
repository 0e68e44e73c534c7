# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small web server that Alertmanager posts to, and what it was told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from muejam_bed.ports import free_port


@dataclass
class Told:
    """What came.

    :ivar messages: as Alertmanager posts them.
    :ivar tokens: with which each of them came.
    """

    port: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def alerts(self, status: str) -> list[dict[str, Any]]:
        """All alerts that were told as C(firing) or C(resolved), in the order in which they came."""
        return [alert for message in self.messages for alert in message["alerts"] if alert["status"] == status]

    def names(self, status: str) -> set[str]:
        """Their names."""
        return {alert["labels"]["alertname"] for alert in self.alerts(status)}

    def forget(self) -> None:
        """Begin anew."""
        self.messages.clear()
        self.tokens.clear()


@contextmanager
def listening() -> Iterator[Told]:
    """Listen at all addresses of this machine."""
    told = Told(free_port())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.tokens.append(self.headers.get("Authorization", ""))
            told.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """What came is in the messages."""

    with ThreadingHTTPServer(("0.0.0.0", told.port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield told
        finally:
            server.shutdown()
