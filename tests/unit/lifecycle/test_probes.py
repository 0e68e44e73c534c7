# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker is ready and alive."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from muejam_celery_lifecycle import log, probes
from muejam_celery_lifecycle.probes import Probes, read_port, read_within
from muejam_celery_lifecycle.reporter import Reporter
from muejam_celery_lifecycle.status import Status


class Pool:
    """A prefork pool, by its module's name."""

    num_processes = 2


Pool.__module__ = "celery.concurrency.prefork"


class Worker:
    """What a status reads of a worker."""

    hostname = "w1@here"
    pool = Pool()
    pool_cls = Pool
    concurrency = 2


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the log is told."""
    waiting: list[str] = []
    monkeypatch.setattr(log, "waiting", waiting)
    monkeypatch.setattr(log, "is_open", False)
    return waiting


def made(**environ: str) -> Probes:
    variables = {f"CELERY_LIFECYCLE_{name}": value for name, value in environ.items()}
    status = Status(Worker(), variables)
    # On a whole number: seconds that are added to another one and taken away again may be a trifle fewer.
    status.began = status.beat = float(int(status.began))
    reporter = Reporter(status, lambda: False, variables)
    # No thread runs, so nobody needs them.
    for each in (reporter.waiter, reporter.waker, reporter.notifier.socket):
        each.close()
    return Probes(status, reporter, variables)


def consuming(**environ: str) -> Probes:
    found = made(**environ)
    status = found.status
    status.attached = status.up = status.consuming = status.ready = True
    status.queues = ("celery",)
    return found


def asked(which: Probes, after: float) -> dict[str, tuple[int, str]]:
    """The answers so many seconds after the start."""
    now = which.status.began + after
    answers = {"ready": which.ready(now), "alive": which.alive(now)}
    return {name: (answer.code, answer.text) for name, answer in answers.items()}


def test_it_consumes() -> None:
    assert asked(consuming(), 1.0) == {
        "ready": (200, "consuming celery: 0 running, 0 done"),
        "alive": (200, "alive: consuming"),
    }


def test_it_starts() -> None:
    which = made()
    assert asked(which, probes.START_WITHIN - 1) == {
        "ready": (503, "starting: connecting to the broker"),
        "alive": (200, "alive: starting"),
    }
    reason = (503, "not connected to the broker in 600 seconds since the start; 600 are allowed")
    assert asked(which, probes.START_WITHIN) == {"ready": reason, "alive": reason}
    which.status.stopping = True
    assert asked(which, probes.START_WITHIN)["alive"][0] == 200


def test_a_worker_that_lost_its_broker_is_alive_for_as_long_as_that_takes() -> None:
    which = consuming()
    which.status.attached = which.status.up = which.status.consuming = False
    assert asked(which, 100 * probes.START_WITHIN) == {
        "ready": (503, "reconnecting: 0 running, 0 reserved"),
        "alive": (200, "alive: reconnecting"),
    }


def test_it_drains() -> None:
    which = consuming()
    which.status.draining = True
    assert asked(which, 1.0) == {
        "ready": (503, "draining: 0 running, 0 reserved"),
        "alive": (200, "alive: draining"),
    }


def test_a_loop_that_stands_still() -> None:
    which = consuming(ALIVE_WITHIN="60")
    assert {code for code, _text in asked(which, 59.9).values()} == {200}
    reason = (503, "the worker's loop has not turned for 60.0 seconds; 60 are allowed")
    assert asked(which, 60.0) == {"ready": reason, "alive": reason}
    # A drain that stands still is none.
    which.status.draining = True
    assert asked(which, 60.0)["alive"] == reason


@pytest.mark.parametrize(
    ("text", "within", "reports"),
    [
        ("", 7.0, 0),
        ("60", 60.0, 0),
        ("7.5", 7.5, 0),
        ("0.1", 5.0, 0),
        ("0", float("inf"), 0),
        ("-1", 7.0, 1),
        ("nan", 7.0, 1),
        ("inf", 7.0, 1),
        ("60s", 7.0, 1),
    ],
)
def test_how_old_a_proof_may_be(told: list[str], text: str, within: float, reports: int) -> None:
    assert read_within({"CELERY_LIFECYCLE_ALIVE_WITHIN": text}, 7.0) == within
    assert len(told) == reports


def test_without_a_limit_nothing_is_too_old() -> None:
    assert asked(consuming(ALIVE_WITHIN="0"), 1e6)["alive"][0] == 200
    assert asked(made(ALIVE_WITHIN="0"), 1e6)["alive"][0] == 200


@pytest.mark.parametrize(
    ("text", "port", "reports"),
    [("", None, 0), ("8080", 8080, 0), ("0", None, 1), ("65536", None, 1), ("http", None, 1), ("²", None, 1)],
)
def test_port(told: list[str], text: str, port: int | None, reports: int) -> None:
    assert read_port({"CELERY_LIFECYCLE_HTTP": text}) == port
    assert len(told) == reports


def test_a_port_in_use_is_told_and_no_more(told: list[str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        number = other.getsockname()[1]
        made(HTTP=str(number)).start()
    assert len(told) == 1
    assert f"listening on port {number} (CELERY_LIFECYCLE_HTTP) failed: [Errno 98] Address already in use" in told[0]


def test_paths() -> None:
    which = consuming()
    answers = {path: which.answer(path) for path in ("/ready", "/alive", "/status", "/", "/ready/")}
    assert {path: answer.code for path, answer in answers.items()} == {
        "/ready": 200,
        "/alive": 200,
        "/status": 200,
        "/": 404,
        "/ready/": 404,
    }


def test_the_status_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    which = consuming(STATUS_FILE=str(path), CONFIG="a-fingerprint")
    which.reporting.turn(time.monotonic())
    os.close(which.status.tally.descriptor or -1)
    in_file, answered = json.loads(path.read_text()), json.loads(which.answer("/status").text)
    assert list(in_file) == list(answered)
    times = {"monotonic", "at", "written"}
    assert {key: in_file[key] for key in in_file.keys() - times} == {
        key: answered[key] for key in answered.keys() - times
    }
    assert answered["monotonic"] == in_file["monotonic"] <= answered["written"]


@pytest.mark.parametrize(("environ", "starts"), [({}, 0), ({"HTTP": "8080"}, 1)])
def test_probes_alone_start_the_reporter(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], starts: int) -> None:
    started: list[Any] = []
    monkeypatch.setattr("muejam_celery_lifecycle.reporter.native", lambda *names: lambda *args: started.append(args))
    made(**environ).reporting.start()
    assert len(started) == starts
