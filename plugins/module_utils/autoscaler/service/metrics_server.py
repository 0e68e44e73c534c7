# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve metrics, and a page for people, over HTTP, whoever connects and however slowly he speaks.

What serves people must not starve what decides: they share threads, file descriptors, memory and the interpreter. So
there are few connections, each has a deadline for all of its request, and answers are made one after the other.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

try:
    from prometheus_client import CollectorRegistry, make_wsgi_app
except ImportError:
    # The caller says what is missing before it asks for anything here.
    CollectorRegistry = make_wsgi_app = None

AVAILABLE = make_wsgi_app is not None
"""Whether the library is there that serves metrics."""

DEADLINE = 10.0
"""Seconds for all of a request, from the connection to the end of the answer."""

MOST_CONNECTIONS = 8
"""Each has a thread, and may send some megabytes of headers before it is sent away."""

_MAKE_ROOM_WITHIN = 0.5


@dataclass(frozen=True)
class Document:
    """What is answered: its bytes, and the headers that say how they are to be taken."""

    body: bytes
    headers: Mapping[str, str]


def serve(
    address: str,
    port: int,
    collectors: Iterable[Any],
    questions: Mapping[str, Callable[[], str]] | None = None,
    documents: Mapping[str, Callable[[str], Document]] | None = None,
) -> int:
    """Serve metrics in threads of their own, and return the port, which is another one than 0.

    :param questions: by their paths, what answers why not; nothing is yes.
    :param documents: by their paths, what makes one, from what follows the question mark. One is made at a time.

    :raises OSError: when nothing can listen there.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server = _Server.at(address, port)
    server.set_app(_one_at_a_time(_answers(questions or {}, documents or {}, make_wsgi_app(registry))))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)


def _answers(
    questions: Mapping[str, Callable[[], str]], documents: Mapping[str, Callable[[str], Document]], others: Any
) -> Any:
    def answer(environment: Any, start_response: Any) -> Any:
        path = environment.get("PATH_INFO", "")
        if path in documents:
            return _document(documents[path], environment, start_response)
        question = questions.get(path)
        if question is None:
            return others(environment, start_response)
        why_not = question()
        start_response("503 Service Unavailable" if why_not else "200 OK", [("Content-Type", "text/plain")])
        return [f"{why_not or 'yes'}\n".encode()]

    return answer


def _document(make: Callable[[str], Document], environment: Any, start_response: Any) -> Any:
    method = environment.get("REQUEST_METHOD", "")
    if method not in ("GET", "HEAD"):
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
        return []
    document = make(environment.get("QUERY_STRING", ""))
    start_response("200 OK", [*document.headers.items(), ("Content-Length", str(len(document.body)))])
    return [document.body] if method == "GET" else []


def _one_at_a_time(app: Any) -> Any:
    turn = threading.Lock()

    def answer(environment: Any, start_response: Any) -> Any:
        with turn:
            return list(app(environment, start_response))

    return answer


class _Handler(WSGIRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(DEADLINE)

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def get_environ(self) -> Any:
        self.server.has_asked(self.request)
        return super().get_environ()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: whoever connects could fill the journal."""


@dataclass
class _Connection:
    since: float
    asked: bool = False


class _Server(ThreadingMixIn, WSGIServer):
    """Knows its connections. One too many takes the place of the one that has not asked for the longest time."""

    daemon_threads = True
    request_queue_size = 64

    @classmethod
    def at(cls, address: str, port: int) -> _Server:
        """Listen at an address of IPv4 or IPv6, or at the first one of a name."""
        family, _kind, _protocol, _name, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        kind = type("_Server", (cls,), {"address_family": family})
        server: _Server = kind((place[0], port), _Handler)
        return server

    def __init__(self, *arguments: Any) -> None:
        self._connections: dict[socket.socket, _Connection] = {}
        self._changed = threading.Condition()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin with a new connection, if there is room or can be made."""
        with self._changed:
            if len(self._connections) >= MOST_CONNECTIONS:
                self._make_room()
            if len(self._connections) < MOST_CONNECTIONS:
                self._connections[request] = _Connection(time.monotonic())
        if request in self._connections:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def has_asked(self, request: Any) -> None:
        """Note that a whole request has come: only the answer is missing."""
        with self._changed:
            if request in self._connections:
                self._connections[request].asked = True

    def shutdown_request(self, request: Any) -> None:
        """End a connection, in the thread that has it."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()

    def service_actions(self) -> None:
        """Send away those that are over their time; called about twice a second."""
        overdue = time.monotonic() - DEADLINE
        with self._changed:
            for request, connection in self._connections.items():
                if connection.since <= overdue:
                    _hang_up(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: what fails here is a connection."""

    def _make_room(self) -> None:
        waiting = [(one.since, request) for request, one in self._connections.items() if not one.asked]
        if waiting:
            _hang_up(min(waiting, key=lambda pair: pair[0])[1])
        self._changed.wait_for(lambda: len(self._connections) < MOST_CONNECTIONS, _MAKE_ROOM_WITHIN)


def _hang_up(request: socket.socket) -> None:
    # Its thread, which reads or writes, comes back at once and ends the connection.
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
