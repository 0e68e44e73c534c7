# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who connects to the metrics and dawdles keeps nobody else from anything."""

from __future__ import annotations

import select
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import metrics_server
from muejam_bed.shell import wait_until

SLOW = 100


@pytest.fixture
def port() -> int:
    return metrics_server.serve("127.0.0.1", 0, ())


@pytest.fixture
def slow(port: int) -> Iterator[list[socket.socket]]:
    """Many who have begun to ask."""
    with ExitStack() as stack:
        clients = []
        for _client in range(SLOW):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)))
            clients[-1].sendall(b"GET /metrics HTTP/1.0\r\n")
        yield clients


def scraped(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return int(answer.status)


def still_connected(clients: list[socket.socket]) -> list[socket.socket]:
    # What can be read is the end: nobody has asked for anything yet.
    ended = select.select(clients, [], [], 0)[0]
    return [client for client in clients if client not in ended]


def accepted(client: socket.socket, data: bytes) -> bool:
    try:
        client.sendall(data)
    except OSError:
        return False
    return True


def test_there_are_few_connections_and_one_that_asks_gets_its_answer(
    port: int, slow: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "DEADLINE", 3600.0)
    wait_until(lambda: len(still_connected(slow)) <= metrics_server.MOST_CONNECTIONS, 60)
    ours = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
    assert len(ours) <= metrics_server.MOST_CONNECTIONS
    assert scraped(port) == 200
    # They are still there, and so is the answer.
    assert still_connected(slow)
    assert scraped(port) == 200


def test_all_of_a_request_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "DEADLINE", 1.0)
    port = metrics_server.serve("127.0.0.1", 0, ())
    with socket.create_connection(("127.0.0.1", port), timeout=60) as drip:
        # Each byte comes in time; together they would take for ever.
        wait_until(lambda: not accepted(drip, b"G"), 60)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as idle:
        assert idle.recv(1) == b""
    monkeypatch.setattr(metrics_server, "DEADLINE", 60.0)
    assert scraped(port) == 200


def serving() -> bool:
    """Whether a request is being answered."""
    return any("process_request_thread" in one.name for one in threading.enumerate())


def test_who_does_not_read_his_answer_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long:
        def collect(self) -> Iterator[object]:
            from prometheus_client.core import GaugeMetricFamily

            family = GaugeMetricFamily("long", "x", labels=["number"])
            for number in range(200_000):
                family.add_metric([f"{number:050}"], 1.0)
            yield family

    monkeypatch.setattr(metrics_server, "DEADLINE", 2.0)
    port = metrics_server.serve("127.0.0.1", 0, (Long(),))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_until(serving, 60)
        wait_until(lambda: not serving(), 60)


def test_ipv6() -> None:
    try:
        port = metrics_server.serve("::1", 0, ())
    except OSError:
        pytest.skip("no IPv6 here")
    with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=60) as answer:
        assert answer.status == 200
