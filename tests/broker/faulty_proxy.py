# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy that injects the faults of a network: cuts, and answers that trickle. It also counts turns."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class FaultyProxy:
    """Forwards connections to a port of the loopback address.

    C(cut_after): bytes of the server's answers after which both ends are closed.
    C(trickle): seconds between single bytes of the server's answers.
    C(delay): seconds by which an answer comes late; it then also waits until the client
    has been silent that long, so C(turns), how often the client wrote after the server
    had answered, is its number of round trips.
    """

    def __init__(self, target: int, cut_after: int | None = None, trickle: float = 0.0, delay: float = 0.0) -> None:
        self.target = target
        self.cut_after = cut_after
        self.trickle = trickle
        self.delay = delay
        self._heard = 0.0
        self.turns = 0
        self.answered = 0
        self._last = ""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self._sockets += [client, server]
            self._start(self._forward, client, server, "client")
            self._start(self._forward, server, client, "server")

    def _forward(self, source: socket.socket, sink: socket.socket, side: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if side == "server" and self.delay:
                    self._wait_for_silence()
                with self._lock:
                    if side == "client":
                        self._heard = time.monotonic()
                        self.turns += self._last != "client"
                    self._last = side
                    if side == "server":
                        if self.cut_after is not None:
                            data = data[: max(0, self.cut_after - self.answered)]
                        self.answered += len(data)
                if side == "server" and self.trickle:
                    for at in range(len(data)):
                        sink.sendall(data[at : at + 1])
                        if self._closing.wait(self.trickle):
                            return
                else:
                    sink.sendall(data)
                if side == "server" and self.cut_after is not None and self.answered >= self.cut_after:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _wait_for_silence(self) -> None:
        begun = time.monotonic()
        while (left := max(begun, self._heard) + self.delay - time.monotonic()) > 0:
            if self._closing.wait(left):
                return

    def close(self) -> None:
        """End all connections."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 5
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        for end in self._sockets:
            end.close()


@contextlib.contextmanager
def faulty_proxy(
    target: int, cut_after: int | None = None, trickle: float = 0.0, delay: float = 0.0
) -> Iterator[FaultyProxy]:
    """Run a FaultyProxy for the length of a with block."""
    proxy = FaultyProxy(target, cut_after, trickle, delay)
    try:
        yield proxy
    finally:
        proxy.close()
