# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the part of the autoscaler that runs as root does, and all that it refuses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import scaler
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scaler import Request, Restart, Scale
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    read_configuration,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleRequest, ScaleResult
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.platform import SystemdPlatform

BROKER = "redis://:not-a-real-password@127.0.0.1:6379/0"
CONFIG: dict[str, Any] = {
    "mode": "act",
    "fleets": [
        {"name": "web", "broker_url": BROKER, "policy": {"limits": {"min_workers": 1, "max_workers": 5}}},
        {"name": "bulk", "broker_url": BROKER, "policy": {}, "stuck": {"after": "5m", "restart": True}},
        {"name": "seen", "broker_url": BROKER},
    ],
}


def configuration(**changes: Any) -> Configuration:
    return read_configuration({**CONFIG, **changes}, "a test")


class Recorder(SystemdPlatform):
    """Writes down what it is asked for, or fails."""

    def __init__(self, failure: Exception | None = None, pause: Pause | None = None) -> None:
        super().__init__()
        self.asked: list[Request] = []
        self.failure = failure
        self.held = pause

    def paused(self, fleet: str) -> Pause | None:
        return self.held

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        assert not check
        assert not request.wait
        if self.failure:
            raise self.failure
        self.asked.append(Scale(request.fleet, request.workers, request.expected_workers))
        return ScaleResult(True, 1, 2)

    def restart(self, fleet: str, worker: str, *, lock_wait: float = 0.0) -> None:
        self.asked.append(Restart(fleet, worker))


def ask(request: object, config: Configuration | None = None) -> tuple[dict[str, Any], list[Request]]:
    """What is answered to a request, and what was carried out for it."""
    platform = Recorder()
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    return scaler.answer(line, lambda: config or configuration(), lambda _name: platform), platform.asked


@pytest.mark.parametrize(
    ("request_", "means"),
    [
        (
            {"do": "scale", "fleet": "web", "workers": 5, "expected_workers": 4},
            Scale("web", 5, 4),
        ),
        ({"do": "scale", "fleet": "web", "workers": 1}, Scale("web", 1)),
        ({"do": "scale", "fleet": "bulk", "workers": 20, "expected_workers": 0}, Scale("bulk", 20, 0)),
        (
            {"do": "restart", "fleet": "bulk", "worker": "celery-worker-bulk@3.service"},
            Restart("bulk", "celery-worker-bulk@3.service"),
        ),
    ],
)
def test_what_is_allowed_is_carried_out(request_: dict[str, Any], means: Request) -> None:
    answer, carried_out = ask(request_)
    assert carried_out == [means]
    assert answer["ok"] is True
    done = ("before", "after") if isinstance(means, Scale) else ("restarted",)
    assert [answer[key] for key in done] == ([1, 2] if isinstance(means, Scale) else [[means.worker]])


@pytest.mark.parametrize(
    ("pause", "workers", "allowed"),
    [
        (Pause(7), 7, True),
        (Pause(0, time.time() + 600), 0, True),
        (Pause(7), 8, False),
        (Pause(7), 4, True),
        (Pause(7, time.time() - 1), 7, False),
    ],
)
def test_what_root_holds_a_fleet_at_may_be_outside_of_its_limits(pause: Pause, workers: int, allowed: bool) -> None:
    platform = Recorder(pause=pause)
    line = json.dumps({"do": "scale", "fleet": "web", "workers": workers}).encode()
    assert scaler.answer(line, configuration, lambda _name: platform)["ok"] is allowed
    assert platform.asked == ([Scale("web", workers)] if allowed else [])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"do": "scale", "fleet": "web", "workers": 6}, "6 workers are outside the limits of fleet web, 1 to 5"),
        ({"do": "scale", "fleet": "web", "workers": 0}, "outside the limits"),
        ({"do": "scale", "fleet": "web", "workers": -1}, "not a whole number"),
        ({"do": "scale", "fleet": "web", "workers": 2.0}, "not a whole number"),
        ({"do": "scale", "fleet": "web", "workers": True}, "not a whole number"),
        ({"do": "scale", "fleet": "web", "workers": "2"}, "not a whole number"),
        ({"do": "scale", "fleet": "web"}, "workers is None"),
        ({"do": "scale", "fleet": "web", "workers": 2, "expected_workers": -1}, "expected_workers is -1"),
        ({"do": "scale", "fleet": "web", "workers": 2, "expected_workers": "1"}, "expected_workers is '1'"),
        ({"do": "scale", "fleet": "web", "workers": 2, "wait": True}, "'wait' is no part"),
        ({"do": "scale", "fleet": "other", "workers": 2}, "names no fleet other"),
        ({"do": "scale", "fleet": "seen", "workers": 2}, "fleet seen has no policy"),
        ({"do": "scale", "fleet": "../web", "workers": 2}, "no name of a fleet"),
        ({"do": "scale", "fleet": "web@1.service ssh", "workers": 2}, "no name of a fleet"),
        ({"do": "scale", "fleet": ["web"], "workers": 2}, "no name of a fleet"),
        ({"do": "restart", "fleet": "web", "worker": "celery-worker-web@1.service"}, "not to be restarted"),
        ({"do": "restart", "fleet": "bulk", "worker": "celery-worker-web@1.service"}, "no worker of fleet bulk"),
        ({"do": "restart", "fleet": "bulk", "worker": "ssh.service"}, "no worker of fleet bulk"),
        ({"do": "restart", "fleet": "web", "worker": "ssh.service"}, "no worker of fleet web"),
        ({"do": "restart", "fleet": "bulk", "worker": "celery-worker-bulk@*.service"}, "no worker of fleet bulk"),
        ({"do": "restart", "fleet": "bulk", "worker": "celery-worker-bulk@0.service"}, "no worker of fleet bulk"),
        ({"do": "restart", "fleet": "bulk"}, "worker is None"),
        ({"do": "restart", "fleet": "bulk", "worker": "celery-worker-bulk@1.service", "workers": 1}, "is no part"),
        ({"do": "stop", "fleet": "web"}, "do is 'stop'"),
        ({"do": ["scale"]}, "do is ['scale']"),
        ({}, "do is None"),
        ([], "not a JSON object"),
        (b"", "not one line of JSON"),
        (b"\xff\xfe", "not one line of JSON"),
        (b'{"do": "scale", "fleet": "web", "workers": NaN}', "not one line of JSON"),
        (b'{"do": "scale", "fleet": "web", "workers": 2, "workers": 5}', "not one line of JSON"),
        (b'{"do": "scale"} {"do": "scale"}', "not one line of JSON"),
        (b"[" * 4000, "not one line of JSON"),
    ],
)
def test_everything_else_is_refused(request_: object, says: str) -> None:
    answer, carried_out = ask(request_)
    assert carried_out == []
    assert answer["ok"] is False
    assert says in answer["error"]
    assert "nothing was changed" in answer["error"]


@pytest.mark.parametrize("mode", ["advise", "observe"])
def test_only_an_autoscaler_that_is_to_act_may(mode: str) -> None:
    answer, carried_out = ask({"do": "scale", "fleet": "web", "workers": 2}, configuration(mode=mode))
    assert carried_out == []
    assert f"mode is {mode}" in answer["error"]


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_there_is_always_an_answer(request_: object) -> None:
    answer, carried_out = ask(request_)
    assert answer["ok"] is False
    assert carried_out == []
    assert "\n" not in json.dumps(answer)


@given(st.integers(-3, 30), st.sampled_from(["web", "bulk", "seen", "other"]))
def test_no_number_outside_the_limits_gets_through(workers: int, fleet: str) -> None:
    _answer, carried_out = ask({"do": "scale", "fleet": fleet, "workers": workers})
    limits = {"web": (1, 5), "bulk": (2, 20)}.get(fleet, (1, 0))
    assert bool(carried_out) == (limits[0] <= workers <= limits[1])


def test_a_failure_tells_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    failed = OperationError("scale", "no systemd", "Look.", before=1, after=None, started=["a"], other=object())
    line = b'{"do": "scale", "fleet": "web", "workers": 2}'
    told = scaler.answer(line, configuration, lambda _name: Recorder(failed))
    assert told == {
        "ok": False,
        "error": "Could not scale: no systemd. Look.",
        "before": 1,
        "after": None,
        "started": ["a"],
    }
    broken = scaler.answer(line, configuration, lambda _name: Recorder(KeyError("secret")))
    assert broken["error"].startswith("the root helper failed (KeyError)")
    assert "Traceback" in capsys.readouterr().err


def test_a_configuration_that_others_could_have_written_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    path.chmod(0o640)
    assert scaler.load_trusted(str(path)).mode == "act"
    path.chmod(0o660)
    with pytest.raises(OperationError, match="not only root can write"):
        scaler.load_trusted(str(path))
    path.chmod(0o640)
    tmp_path.chmod(0o777)
    with pytest.raises(OperationError, match="not only root can write"):
        scaler.load_trusted(str(path))
    with pytest.raises(OperationError, match="Deploy with the role"):
        scaler.load_trusted(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("sent", "closed", "says"),
    [
        (b'{"do": "sca', False, "no whole line came within 0.2 s"),
        (b"x" * 5000, False, "at most 4096 bytes"),
        (b"", False, "no whole line"),
    ],
)
def test_a_request_is_bounded(sent: bytes, closed: bool, says: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        with pytest.raises(scaler.Refused, match=says):
            scaler.read_line(ours.fileno(), 0.2)


def test_a_line_ends_with_its_end_or_the_caller(tmp_path: Path) -> None:
    for sent in (b"one\ntwo\n", b"one"):
        read, write = os.pipe()
        os.write(write, sent)
        os.close(write)
        assert scaler.read_line(read, 5) == b"one"
        os.close(read)


def test_it_acts_on_the_platform_that_the_configuration_names() -> None:
    opened: list[str] = []

    def open_it(name: str) -> Recorder:
        opened.append(name)
        return Recorder()

    line = b'{"do": "scale", "fleet": "web", "workers": 2}'
    assert scaler.answer(line, lambda: replace(configuration(), platform="another"), open_it)["ok"]
    assert scaler.answer(line, configuration, open_it)["ok"]
    assert opened == ["another", "systemd"]


def test_as_systemd_runs_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    path.chmod(0o600)
    program = [sys.executable, "-m", scaler.__name__, "--config", str(path)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'{"do": "scale", "fleet": "web", "workers": 99}\n')
        done = subprocess.run(
            program, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
        answer = ours.recv(65536)
    assert answer.count(b"\n") == 1
    assert json.loads(answer)["ok"] is False
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "not-a-real-password" not in done.stderr


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (json.dumps(CONFIG), 0, ""),
        (json.dumps({**CONFIG, "mode": "acts"}), 1, "mode: 'acts' is not known"),
        ('{"fleets": [{"name": "web", "broker_url": "b", "policy": {"limitz": 1}}]}', 1, "fleets[0].policy.limitz"),
    ],
)
def test_a_configuration_can_be_tried(tmp_path: Path, content: str, code: int, says: str) -> None:
    program = [sys.executable, "-m", scaler.__name__, "--check", "--config", "/dev/stdin"]
    done = subprocess.run(program, input=content, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
