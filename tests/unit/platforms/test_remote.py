# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform whose actions are the root helper's, with the helper's own answers at the other end of a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import scaler
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import read_configuration
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleRequest, nothing_done
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase
from ansible_collections.muejam.celery.plugins.module_utils.platforms.remote import RemotePlatform

CONFIGURATION = read_configuration(
    {
        "mode": "act",
        "fleets": [
            {
                "name": "web",
                "broker_url": "redis://127.0.0.1/0",
                "policy": {"limits": {"min_workers": 1, "max_workers": 5}},
                "stuck": {"after": "5m", "restart": True},
            }
        ],
    },
    "a test",
)


@contextmanager
def served(path: Path, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """Answer each line at a socket, until the test is over."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    way, _peer = listener.accept()
                except OSError:
                    return
                with way:
                    way.sendall(answer(way.makefile("rb").readline()))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@contextmanager
def helped(path: Path, host: FakePlatform) -> Iterator[RemotePlatform]:
    """The platform with the helper's own code in the way to a host in memory."""

    def answer(line: bytes) -> bytes:
        said = scaler.answer(line, lambda: CONFIGURATION, lambda _name: host)
        return json.dumps(said).encode() + b"\n"

    with served(path, answer):
        yield RemotePlatform(str(path), host)


def now(workers: int, expected: int | None = None) -> ScaleRequest:
    return ScaleRequest("web", workers, expected, wait=False)


def test_a_fleet_is_scaled_and_read_as_on_the_host_itself(tmp_path: Path) -> None:
    host = FakePlatform(1, 2, 3)
    with helped(tmp_path / "s", host) as platform:
        grown = platform.scale(now(5, 3))
        assert (grown.changed, grown.before, grown.after, grown.started) == (True, 3, 5, ["web-4", "web-5"])
        host.manager.time.pass_by(10)
        shrunk = platform.scale(now(4, 5))
        assert (shrunk.after, shrunk.stopped, shrunk.draining) == (4, ["web-5"], ["web-5"])
        assert platform.read("web") == host.read("web")
        assert platform.fleets() == ["web"]


def test_a_worker_is_restarted_by_its_id(tmp_path: Path) -> None:
    host = FakePlatform(1, 2)
    with helped(tmp_path / "s", host) as platform:
        workers = platform.read("web").workers
        assert workers
        platform.restart("web", workers[1].id)
        assert host.manager.units[2].phase is Phase.STARTING
        with pytest.raises(OperationError, match="no worker of fleet web"):
            platform.restart("web", "other-1")


@pytest.mark.parametrize(
    ("workers", "expected", "says"), [(9, 2, "outside the limits"), (3, 4, "4 workers were expected, but there are 2")]
)
def test_a_refusal_is_told_and_nothing_was_done(tmp_path: Path, workers: int, expected: int, says: str) -> None:
    host = FakePlatform(1, 2)
    with helped(tmp_path / "s", host) as platform, pytest.raises(OperationError, match=says) as caught:
        platform.scale(now(workers, expected))
    assert nothing_done(caught.value)
    assert not caught.value.details["busy"]
    assert host.manager.calls == []


def test_a_fleet_that_somebody_else_scales_is_busy(tmp_path: Path) -> None:
    with helped(tmp_path / "s", FakePlatform(1, locked=True)) as platform, pytest.raises(OperationError) as caught:
        platform.scale(now(2))
    assert caught.value.details["busy"]
    assert nothing_done(caught.value)


def test_what_was_done_before_it_failed_is_told(tmp_path: Path) -> None:
    host = FakePlatform(1, refuses={"enable": "it said no"})
    with helped(tmp_path / "s", host) as platform, pytest.raises(OperationError, match="it said no") as caught:
        platform.scale(now(2))
    assert not nothing_done(caught.value)


def test_a_helper_that_is_not_there_did_nothing(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="did not answer") as caught:
        RemotePlatform(str(tmp_path / "nobody"), FakePlatform(1)).scale(now(2))
    assert nothing_done(caught.value)


@pytest.mark.parametrize("answer", [b"", b"{", b"[]\n", b'{"ok": true}\n', b'{"ok": false, "unsure": true}\n'])
def test_an_answer_that_makes_no_sense_leaves_open_what_was_done(tmp_path: Path, answer: bytes) -> None:
    with served(tmp_path / "s", lambda line: answer), pytest.raises(OperationError) as caught:
        RemotePlatform(str(tmp_path / "s"), FakePlatform(1)).scale(now(2))
    assert not nothing_done(caught.value)


def test_it_does_not_promise_to_wait(tmp_path: Path) -> None:
    platform = RemotePlatform(str(tmp_path / "nobody"), FakePlatform(1))
    for request, check in ((ScaleRequest("web", 2), False), (now(2), True)):
        with pytest.raises(OperationError, match="without waiting"):
            platform.scale(request, check=check)
