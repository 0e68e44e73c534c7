# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port that answers probes: what it says, what it allows a client, and who has it after a fork."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from muejam_bed.ports import free_port
from muejam_bed.shell import wait_until
from muejam_celery_lifecycle import http_port
from muejam_celery_lifecycle.http_port import Answer, HttpPort, respond

OPEN = Path("/proc/self/fd")
ANSWERS = {"/ready": Answer(200, "consuming"), "/alive": Answer(503, "stuck"), "/long": Answer(200, "x" * 5_000_000)}


def answer(path: str) -> Answer:
    if path == "/broken":
        raise ValueError("a-secret")
    return ANSWERS.get(path, Answer(404, "no such thing"))


@pytest.fixture
def port() -> Iterator[int]:
    """A port that answers."""
    number = free_port()
    http = HttpPort(answer)
    http.start(number)
    yield number
    http.finish()
    wait_until(lambda: not listens(number), 10, "the port is closed")
    assert http.fault is None


def listens(number: int, address: str = "127.0.0.1") -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((address, number), timeout=10):
        return True
    return False


def connected(number: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", number), timeout=20)


def get(number: int, path: str, address: str = "127.0.0.1") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}:{number}{path}", timeout=20) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_what_is_answered(port: int) -> None:
    assert get(port, "/ready?verbose") == (200, "consuming\n")
    assert get(port, "/alive") == (503, "stuck\n")
    assert get(port, "/") == (404, "no such thing\n")
    assert get(port, "/broken") == (500, "The worker's state cannot be told: ValueError\n")
    assert len(get(port, "/long")[1]) == 5_000_001


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /ready HTTP/1.0", b"200 OK"),
        (b"HEAD /ready HTTP/1.1", b"200 OK"),
        (b"POST /ready HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET /ready", b"400 Bad Request"),
        (b"GET /ready HTTP/2.0", b"400 Bad Request"),
        (b"\x16\x03\x01\xff \x80 \x00", b"400 Bad Request"),
        (b"", b"400 Bad Request"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1", b"431 Request Header Fields Too Large"),
    ],
)
def test_requests(request_line: bytes, status: bytes) -> None:
    sent = respond(request_line + b"\r\n\r\n", answer)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert bool(body) != request_line.startswith(b"HEAD")
    assert sent.isascii()


def test_ipv6(port: int) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    assert get(port, "/ready", "[::1]") == (200, "consuming\n")


def test_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port._socket, "AF_INET6", 999)
    number = free_port()
    http_port.listen_everywhere(number).close()


def test_a_port_in_use_is_not_shared() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other, pytest.raises(OSError, match="in use"):
        HttpPort(answer).start(other.getsockname()[1])


def test_slow_clients_hold_up_nobody(port: int) -> None:
    """More of them than there is room for: the oldest ones go, and each has its time."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(port)) for _ in range(3 * http_port.MAX_CLIENTS)]
        for client in slow:
            with contextlib.suppress(OSError):
                client.sendall(b"GET /ready HTTP/1.1\r\n")
            assert get(port, "/ready") == (200, "consuming\n")
        assert time.monotonic() - began < http_port.REQUEST_WITHIN
        for client in slow:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        assert time.monotonic() - began < 3 * http_port.REQUEST_WITHIN


def test_an_endless_request_ends(port: int) -> None:
    with connected(port) as client, contextlib.suppress(ConnectionError):
        # What nobody reads still fills the kernel's buffers.
        for _ in range(100_000):
            client.sendall(b"x" * 1000)
        pytest.fail("all of it was read")
    assert get(port, "/ready") == (200, "consuming\n")


def test_a_client_that_does_not_read_ends(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET /long HTTP/1.1\r\n\r\n")
        time.sleep(http_port.REQUEST_WITHIN + 0.5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while got := client.recv(1_000_000):
                received += len(got)
        assert received < 5_000_000


def test_too_many_open_files_are_told_and_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread pauses meanwhile, and does not turn as fast as it can."""
    monkeypatch.setattr(http_port, "PAUSE", 0.3)
    number = free_port()
    http = HttpPort(answer)
    http.start(number)
    refused: list[float] = []
    accept = http.accept
    monkeypatch.setattr(http, "accept", lambda listener: (refused.append(time.monotonic()), accept(listener)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with socket.socket() as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            client.connect(("127.0.0.1", number))
            client.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            wait_until(lambda: len(refused) > 1, 10, "it is tried again")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        assert refused[1] - refused[0] >= 0.3
        assert isinstance(http.fault, OSError)
        client.settimeout(20)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    http.finish()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_no_part_of_it() -> None:
    """The port is closed with the worker, whatever still runs that it has forked."""
    number = free_port()
    http = HttpPort(answer)
    http.start(number)
    with connected(number) as waiting:
        wait_until(lambda: http.clients, 10, "it is accepted")
        assert http.listener is not None
        mine = {str((OPEN / str(one.fileno())).readlink()) for one in (http.listener, http.clients[0].socket)}
        told, tell = os.pipe()
        end, ending = os.pipe()
        child = os.fork()
        if child == 0:
            links = set()
            for path in OPEN.iterdir():
                with contextlib.suppress(OSError):
                    links.add(str(path.readlink()))
            os.write(tell, b"%d" % len(mine & links))
            os.close(ending)
            os.read(end, 1)
            os._exit(0)
        try:
            assert len(mine) == 2
            assert os.read(told, 10) == b"0"
            waiting.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            assert waiting.recv(100).startswith(b"HTTP/1.1 200"), "the fork shut nothing down"
            assert get(number, "/ready") == (200, "consuming\n")
            http.finish()
            wait_until(lambda: not listens(number), 10, "the port is closed while the child is there")
        finally:
            os.close(ending)
            os.waitpid(child, 0)
            for descriptor in (told, tell, end):
                os.close(descriptor)
