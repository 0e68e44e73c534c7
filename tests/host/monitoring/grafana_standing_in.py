# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for a Grafana, which no distribution and no registry of packages has: as much of its API as is used.

It takes what it is given and gives it back. What a real one makes of that is not shown by it.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from muejam_bed.ports import free_port

VERSION = "12.0.0"
FOLDERS = "/api/folders"


@dataclass
class Grafana:
    """What it was given.

    :ivar logins: the values of the header C(Authorization) that it lets in.
    :ivar sources: data sources by their names.
    :ivar dashboards: by their uids, each with the id of its folder.
    """

    port: int
    logins: set[str]
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: list[dict[str, Any]] = field(default_factory=list)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)

    def asked(self, path: str) -> tuple[int, Any]:
        """Answer a GET."""
        *_api, kind, name = path.split("/")
        if path in ("/api/health", "/api/frontend/settings"):
            return 200, {"version": VERSION, "buildInfo": {"version": VERSION}}
        if path == FOLDERS:
            return 200, self.folders
        found = {"name": self.sources, "uid": self.dashboards}.get(kind, {}).get(name)
        return (200, found) if found else (404, {"message": f"there is no {path}"})

    def given(self, path: str, thing: dict[str, Any]) -> tuple[int, Any]:
        """Answer a POST."""
        if path == "/api/datasources":
            kept = {key: value for key, value in thing.items() if key != "secureJsonData"}
            self.sources[thing["name"]] = {**kept, "id": 1, "readOnly": False, "secureJsonFields": {}}
        elif path == FOLDERS:
            self.folders.append({"title": thing["title"], "id": 7, "uid": "a-folder"})
        elif path == "/api/dashboards/db":
            uid = thing["dashboard"]["uid"]
            dashboard = {**thing["dashboard"], "id": len(self.dashboards) + 1, "version": 1}
            self.dashboards[uid] = {"dashboard": dashboard, "meta": {"folderId": thing["folderId"]}}
            return 200, {"uid": uid}
        elif not path.startswith("/api/user/using/"):
            return 404, {"message": f"nothing is put to {path}"}
        return 200, {}


@contextmanager
def standing_in(token: str, user: str, password: str) -> Iterator[Grafana]:
    """Answer at all addresses of this machine whoever has the token or the password."""
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    grafana = Grafana(free_port(), {f"Bearer {token}", f"Basic {basic}"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*grafana.asked(self.path))

        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
            self._answer(*grafana.given(self.path, given))

        def _answer(self, status: int, thing: Any) -> None:
            if self.headers.get("Authorization") not in grafana.logins:
                status, thing = 401, {"message": "Unauthorized"}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(thing).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """What came is kept."""

    with ThreadingHTTPServer(("0.0.0.0", grafana.port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield grafana
        finally:
            server.shutdown()
