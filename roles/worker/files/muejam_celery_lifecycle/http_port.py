# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP port that answers HTTP, by a native thread of its own.

Python's http.server is not for here: it stands on `socket`, `selectors` and `threading`, which gevent and eventlet
patch, and it lets a client take its time. What is left of HTTP is one line to read and a few to write, so this takes
no more of it than a probe, curl and a browser need. Clients are answered side by side, each of them has only so many
bytes and seconds, and the one that has waited longest makes room for a new one: no client holds up another.

No lock is taken, for the pool may fork at any moment.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import select
import time
from typing import Any, Callable, NamedTuple

from .native import native

REQUEST_WITHIN = 2.0  # seconds for a whole request and its answer
MAX_REQUEST = 8192  # bytes
MAX_CLIENTS = 8
PAUSE = 1.0  # seconds without new clients after one could not be accepted, as where no file can be opened any more
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What is sent for a path."""

    code: int
    text: str
    kind: str = "text/plain; charset=utf-8"


def listen_everywhere(port: int) -> _socket.socket:
    """Return a socket that listens on all addresses, of IPv4 and of IPv6 where there is any. Raises OSError."""
    try:
        return listen(_socket.AF_INET6, "::", port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
        return listen(_socket.AF_INET, "0.0.0.0", port)


def listen(family: int, address: str, port: int) -> _socket.socket:
    listener = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        # A worker that starts again need not wait for the last one's connections. It does not share the port.
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            listener.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(2 * MAX_CLIENTS)
    except OSError:
        listener.close()
        raise
    return listener


def is_whole(request: bytes) -> bool:
    return b"\n\n" in request.replace(b"\r", b"")


def respond(request: bytes, answer: Callable[[str], Answer]) -> bytes:
    """Return what is sent for a request."""
    words = request.split(b"\n", 1)[0].decode("latin-1").split()
    if len(request) > MAX_REQUEST:
        found = Answer(431, f"A request has {MAX_REQUEST} bytes at most.")
    elif len(words) != 3 or not words[2].startswith("HTTP/1."):
        found = Answer(400, "This is no request of HTTP/1.")
    elif words[0] not in ("GET", "HEAD"):
        found = Answer(405, "Only GET and HEAD are answered.")
    else:
        try:
            found = answer(words[1].partition("?")[0])
        except Exception as error:
            # Only its kind: what it says is for the log, and not for everybody.
            found = Answer(500, f"The worker's state cannot be told: {type(error).__name__}")
    body = (found.text + "\n").encode(errors="backslashreplace")
    lines = [
        f"HTTP/1.1 {found.code} {REASONS[found.code]}",
        f"Content-Type: {found.kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if found.code == 405 else []),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return head if words[:1] == ["HEAD"] else head + body


class Client:
    """One connection."""

    def __init__(self, descriptor: int, until: float) -> None:
        self.socket = _socket.socket(fileno=descriptor)
        self.socket.setblocking(False)
        self.until = until  # by the monotonic clock
        self.request = b""
        self.unsent = b""

    @property
    def waits_for(self) -> int:
        return select.POLLOUT if self.unsent else select.POLLIN

    def move_on(self, answer: Callable[[str], Answer]) -> bool:
        """Read or write what can be now; return whether anything is left to do."""
        try:
            if not self.unsent:
                received = self.socket.recv(MAX_REQUEST + 1 - len(self.request))
                self.request += received
                if received and not is_whole(self.request) and len(self.request) <= MAX_REQUEST:
                    return True
                if not self.request:
                    return False
                self.unsent = respond(self.request, answer)
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(self.unsent)

    def close(self) -> None:
        # A process forked in the moment of the connection may have it too: it is shut down, not only closed.
        with contextlib.suppress(OSError):
            self.socket.shutdown(_socket.SHUT_RDWR)
        self.socket.close()


class HttpPort:
    """Answers with what `answer` returns for a path."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.poll: Any = None  # select.poll, not patched
        self.listener: _socket.socket | None = None
        self.clients: list[Client] = []  # the oldest first
        self.no_clients_until = 0.0
        self.fault: Exception | None = None
        self.finished = False

    def start(self, port: int) -> None:
        """Listen and answer from now on. Raises OSError where the port cannot be listened on."""
        self.poll = native("select", "poll")
        self.listener = listen_everywhere(port)
        os.register_at_fork(after_in_child=self.leave)
        native("_thread", "start_new_thread")(self.run, ())

    def run(self) -> None:
        while not self.finished:
            try:
                self.turn()
            except Exception as error:
                self.fault = self.fault or error
                self.no_clients_until = time.monotonic() + PAUSE
                self.drop_all()
        self.drop_all()
        if self.listener is not None:
            self.listener.close()

    def turn(self) -> None:
        """Wait until a client can be moved on, has had its time, or a new one is there."""
        now = time.monotonic()
        poll = self.poll()
        ends = [client.until for client in self.clients]
        for client in self.clients:
            poll.register(client.socket.fileno(), client.waits_for)
        if now < self.no_clients_until:
            ends.append(self.no_clients_until)
        elif self.listener is not None:
            poll.register(self.listener.fileno(), select.POLLIN)
        found = dict(poll.poll(1000 * max(min(ends) - now, 0.0) + 1 if ends else None))
        for client in list(self.clients):
            is_done = client.socket.fileno() in found and not client.move_on(self.answer)
            if is_done or client.until <= time.monotonic():
                self.drop(client)
        if self.listener is not None and self.listener.fileno() in found and not self.finished:
            self.accept(self.listener)

    def accept(self, listener: Any) -> None:
        """Take a new client, in the oldest one's place where there are many."""
        try:
            descriptor, _address = listener._accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again
        if len(self.clients) >= MAX_CLIENTS:
            self.drop(self.clients[0])
        self.clients.append(Client(descriptor, time.monotonic() + REQUEST_WITHIN))

    def drop(self, client: Client) -> None:
        self.clients.remove(client)
        client.close()

    def drop_all(self) -> None:
        while self.clients:
            self.drop(self.clients[0])

    def finish(self) -> None:
        """Answer no more. The thread closes what it polls, so that no descriptor is another's meanwhile."""
        self.finished = True
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(_socket.SHUT_RDWR)

    def leave(self) -> None:
        """Let go of the port in a forked process, where it would outlive the worker. No shutdown: that is for all."""
        if self.listener is not None:
            self.listener.close()
        for client in self.clients:
            client.socket.close()
        self.clients = []
        self.finished = True
