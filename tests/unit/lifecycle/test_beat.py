# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `celery beat` that tells whether it ticks: Celery's own scheduler, with a broker in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state
from celery.beat import PersistentScheduler, Scheduler

from muejam_celery_lifecycle import beat, log


class Bare:
    """A scheduler of nobody's family: it has what Celery's service calls, and no connection."""

    max_interval = 300

    def __init__(self, app: Any, **options: Any) -> None:
        self.app, self.options = app, options

    def tick(self) -> float:
        return 250.0

    def apply_async(self, entry: Any) -> str:
        return str(entry)


class Manager:
    """What systemd hears."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "12000000"}

    def heard(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has no scheduler yet; its sockets are closed in the end, as by its own end."""
    notifiers: list[beat.Notifier] = []

    class Noted(beat.Notifier):
        def __init__(self, environ: Mapping[str, str], pid: int) -> None:
            super().__init__(environ, pid)
            notifiers.append(self)

    monkeypatch.setattr(beat, "Notifier", Noted)
    monkeypatch.setattr(beat, "started", False)
    # Its first tick opens the log, for the whole process.
    monkeypatch.setattr(log, "is_open", log.is_open)
    monkeypatch.setattr(_state, "_task_join_will_block", False)
    yield
    for notifier in notifiers:
        notifier.socket.close()


@pytest.fixture
def app() -> Celery:
    made = Celery("beaten", broker="memory://", set_as_current=False)
    made.conf.beat_schedule = {"often": {"task": "x", "schedule": 1000.0}}
    return made


def watched(app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch, **environ: str) -> Any:
    for name, value in {**manager.environ, **environ}.items():
        monkeypatch.setenv(name, value)
    return beat.scheduler(app, max_interval=None, schedule_filename=str(manager.environ["NOTIFY_SOCKET"]) + "-schedule")


@pytest.mark.parametrize(
    ("environ", "setting", "kind"),
    [
        ({}, None, PersistentScheduler),
        ({}, "celery.beat:Scheduler", Scheduler),
        ({"CELERY_LIFECYCLE_BEAT_SCHEDULER": "celery.beat.Scheduler"}, "nobody:Nothing", Scheduler),
        ({"CELERY_LIFECYCLE_BEAT_SCHEDULER": ""}, None, PersistentScheduler),
    ],
)
def test_the_scheduler_is_the_one_that_is_wanted(app: Celery, environ: dict[str, str], setting: Any, kind: Any) -> None:
    if setting:
        app.conf.beat_scheduler = setting
    assert beat.wanted(app, environ) is kind


def test_a_registered_name_is_one_too(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat, "load_extension_class_names", lambda namespace: [("bare", f"{__name__}:Bare")])
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(Bare=Bare))
    assert beat.wanted(app, {"CELERY_LIFECYCLE_BEAT_SCHEDULER": "bare"}) is Bare


def test_it_is_ready_after_its_first_tick_and_feeds_the_watchdog_by_ticks(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = watched(app, manager, monkeypatch)
    assert isinstance(scheduler, PersistentScheduler)
    assert manager.heard() == []
    # Nothing is due for long; it comes back a third of the watchdog's time later all the same.
    assert scheduler.tick() == 4.0
    heard = manager.heard()
    assert heard[0] == "READY=1"
    assert "WATCHDOG=1" in heard
    assert "STATUS=ticking: 0 sent" in heard
    scheduler.close()


def test_one_that_is_only_looked_at_is_not_watched(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in manager.environ.items():
        monkeypatch.setenv(name, value)
    app.conf.beat_scheduler = "celery.beat:Scheduler"
    assert beat.scheduler(app, lazy=True, max_interval=None).tick() == 300
    assert manager.heard() == []


def test_it_tells_what_was_sent_and_what_could_not_be(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.conf.beat_schedule = {"often": {"task": "x", "schedule": 0.0}}
    scheduler = watched(app, manager, monkeypatch)
    scheduler.tick()
    assert any(line.startswith("STATUS=ticking: 1 sent, the last one often at 2") for line in manager.heard())

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionResetError("redis://:not-a-real-password@h")

    scheduler.send_task = refuse
    scheduler.tick()
    scheduler.tick()
    [ticking] = [scheduler.tick.__closure__[index].cell_contents.__self__ for index in (0,)]
    assert ticking.describe().endswith("; often could not be sent (ConnectionResetError)")
    assert "not-a-real" not in "".join(manager.heard())
    scheduler.close()


def test_whoever_waits_for_the_broker_is_alive_and_says_so(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = watched(app, manager, monkeypatch)
    ticking = beat.Ticking(manager.environ)
    ticking.alive_at = 0.0
    told = []

    def ensure(errback: Any, retries: int, callback: Any = None) -> str:
        errback(OSError("refused"), 2.0)
        assert ticking.describe() == "starting: 0 sent; waiting for the broker (OSError)"
        callback()
        return f"connected within {retries}"

    assert ticking.connect(ensure, lambda error, interval: told.append(interval), 100) == "connected within 100"
    assert told == [2.0]
    assert ticking.alive_at > 0
    assert ticking.describe() == "starting: 0 sent"
    heard = manager.heard()
    assert "WATCHDOG=1" in heard
    # It has not ticked: who waits from the beginning is not ready.
    assert "READY=1" not in heard
    scheduler.close()


def test_a_scheduler_of_another_family_is_watched_as_well(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat, "wanted", lambda app, environ: Bare)
    scheduler = watched(app, manager, monkeypatch)
    assert scheduler.tick() == 4.0
    assert "READY=1" in manager.heard()


@pytest.mark.parametrize("interval", [0, 0.0, None])
def test_at_once_stays_at_once(manager: Manager, interval: Any) -> None:
    ticking = beat.Ticking(manager.environ)
    assert ticking.tick(lambda: interval) == interval


def test_the_broker_is_spoken_with_as_the_workers_do(
    app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = '{"global_keyprefix": "shop:"}'
    scheduler = watched(app, manager, monkeypatch, CELERY_LIFECYCLE_TRANSPORT_OPTIONS=options)
    assert app.conf.broker_transport_options["global_keyprefix"] == "shop:"
    assert scheduler.connection.transport_options["global_keyprefix"] == "shop:"
    scheduler.close()


def test_probes_are_answered_by_ticks() -> None:
    ticking = beat.Ticking({"CELERY_LIFECYCLE_ALIVE_WITHIN": "60"})
    assert ticking.answer("/alive").code == 200
    assert ticking.answer("/ready").code == 503
    ticking.tick(lambda: 1.0)
    assert ticking.answer("/ready").code == 200
    assert ticking.answer("/status").code == 404
    ticking.alive_at -= 61
    for path in ("/alive", "/ready"):
        answer = ticking.answer(path)
        assert (answer.code, answer.text) == (503, "no tick for 61 seconds; 60 are allowed")


def test_what_it_sends_asks_for_no_result(app: Celery, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens there: to ask for a result would take 20 tries, a second apart.
    app.conf.result_backend = "redis://127.0.0.1:1/0"
    asked: list[str] = []
    monkeypatch.setattr(app.backend.result_consumer, "consume_from", asked.append)
    app.send_task("before")
    assert len(asked) == 1
    scheduler = watched(app, manager, monkeypatch)
    app.send_task("after")
    assert len(asked) == 1
    scheduler.close()
