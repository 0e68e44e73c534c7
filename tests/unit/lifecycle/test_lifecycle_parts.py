# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lifecycle module that need no worker."""

from __future__ import annotations

import copy
import importlib
import json
import os
import pickle
import struct
import sys
from bisect import bisect
from pathlib import Path
from types import ModuleType

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).parents[3] / "roles" / "worker" / "files"
SECRET = "not-a-real-password"
OPTIONS = "CELERY_LIFECYCLE_TRANSPORT_OPTIONS"


def load() -> ModuleType:
    # By its own name, under which pickle looks for its classes.
    sys.path.insert(0, str(FILES))
    try:
        return importlib.import_module("muejam_celery_lifecycle")
    finally:
        sys.path.remove(str(FILES))


lifecycle = load()


@given(st.sets(st.integers(0, 255), min_size=1), st.integers(0, 255))
def test_high_first_reads_downwards_and_files_as_before(steps: set[int], priority: int) -> None:
    plain = sorted(steps)
    high_first = lifecycle.HighFirst(steps)
    assert list(high_first) == list(reversed(plain))
    assert bisect(high_first, priority) == bisect(plain, priority)
    assert [high_first[index] for index in range(len(plain))] == plain
    assert high_first[-1] == plain[-1]
    assert len(high_first) == len(plain)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda steps: pickle.loads(pickle.dumps(steps))])
def test_high_first_survives_copies(again: object) -> None:
    copied = again(lifecycle.HighFirst([0, 3, 6, 9]))  # type: ignore[operator]
    assert isinstance(copied, lifecycle.HighFirst)
    assert list(copied) == [9, 6, 3, 0]
    assert copied[0] == 0
    assert list(lifecycle.HighFirst(copied)) == [9, 6, 3, 0]


def test_transport_options() -> None:
    assert lifecycle.read_transport_options({}) == {}
    assert lifecycle.read_transport_options({OPTIONS: ""}) == {}
    text = json.dumps({"visibility_timeout": 60, "socket_keepalive_options": {"4": 60}})
    options = {"visibility_timeout": 60, "socket_keepalive_options": {4: 60}}
    assert lifecycle.read_transport_options({OPTIONS: text}) == options


@pytest.mark.parametrize("text", [f'{{"password": "{SECRET}"', f'["{SECRET}"]', SECRET])
def test_bad_transport_options_are_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    told: list[str] = []
    monkeypatch.setattr(lifecycle, "held_reports", told)
    assert lifecycle.read_transport_options({OPTIONS: text}) == {}
    assert "not a JSON object" in told[0]
    assert SECRET not in told[0]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float) -> None:
    assert lifecycle.watchdog_seconds(environ, 7) == seconds


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        ("prefork", "prefork"),
        ("celery.concurrency.thread:TaskPool", "threads"),
        ("celery.concurrency.solo:TaskPool", "solo"),
    ],
)
def test_pool_name(pool: str, name: str) -> None:
    assert lifecycle.pool_name(pool) == name


def test_pool_name_of_classes_and_pools() -> None:
    from celery.concurrency import solo, thread

    assert lifecycle.pool_name(thread.TaskPool) == "threads"
    assert lifecycle.pool_name(solo.TaskPool(limit=1)) == "solo"


def app_of(url: str, options: dict[str, object]) -> Celery:
    app = Celery(broker=url, set_as_current=False)
    app.conf.broker_transport_options = options
    return app


@pytest.mark.parametrize(
    "url", ["redis://h/0", "rediss://h/0", "redis+socket:///s", "sentinel://h:26379/0;sentinel://g:26379/0"]
)
def test_redis_gets_the_order_of_priorities(url: str) -> None:
    app = app_of(url, {"priority_steps": [0, 5], "sep": ":"})
    environ = {"CELERY_LIFECYCLE_TRANSPORT_OPTIONS": '{"sep": "/"}', "CELERY_LIFECYCLE_PRIORITY": "high_first"}
    lifecycle.configure_transport(app, environ)
    assert list(app.conf.broker_transport_options.pop("priority_steps")) == [5, 0]  # type: ignore[call-overload]
    assert app.conf.broker_transport_options == {"sep": "/"}


@pytest.mark.parametrize(("url", "order"), [("amqp://h//", "high_first"), ("redis://h/0", "low_first")])
def test_others_keep_their_options(url: str, order: str) -> None:
    options: dict[str, object] = {"sep": ":"}
    app = app_of(url, options)
    lifecycle.configure_transport(app, {"CELERY_LIFECYCLE_PRIORITY": order})
    assert app.conf.broker_transport_options is options


def test_tls_is_that_of_the_environment() -> None:
    app = app_of("amqps://h//", {})
    lifecycle.configure_transport(app, {"CELERY_LIFECYCLE_BROKER_USE_SSL": '{"ca_certs": "/a", "cert_reqs": 2}'})
    assert app.conf.broker_use_ssl == {"ca_certs": "/a", "cert_reqs": 2}
    lifecycle.configure_transport(app, {})
    assert app.conf.broker_use_ssl == {"ca_certs": "/a", "cert_reqs": 2}


def tallied(path: Path) -> list[int]:
    content = path.read_bytes()
    return list(struct.unpack(f"{len(content) // 8}Q", content))


def test_tally_is_written_with_each_message(tmp_path: Path) -> None:
    tally = lifecycle.Tally(str(tmp_path / "status.json"), 42)
    path = tmp_path / "status.json.taken"
    assert tallied(path) == [42]
    tally.begin("celery")
    tally.begin("high")
    tally.begin("celery")
    assert tallied(path) == [42, 0, 0]
    tally.add("high")
    tally.add("high")
    tally.add("celery")
    tally.begin("high")
    assert tallied(path) == [42, 1, 2]
    assert tally.for_status() == {"taken": {"celery": 1, "high": 2}}
    assert path.stat().st_mode & 0o777 == 0o644


def test_tally_of_too_many_queues_tells_nothing_and_stays_small(tmp_path: Path) -> None:
    tally = lifecycle.Tally(str(tmp_path / "status.json"), 42)
    for number in range(lifecycle.MAX_QUEUES + 5):
        tally.begin(f"queue-{number}")
        tally.add(f"queue-{number}")
    assert tally.for_status() == {}
    assert len(tallied(tmp_path / "status.json.taken")) == lifecycle.MAX_QUEUES + 1


def test_tally_of_a_queue_with_an_endless_name_tells_nothing() -> None:
    tally = lifecycle.Tally(None, 42)
    tally.begin("q" * 300)
    assert tally.for_status() == {}


@pytest.mark.parametrize("path", ["/nonexistent/status.json", None])
def test_tally_without_a_file_counts_all_the_same(path: str | None) -> None:
    tally = lifecycle.Tally(path, 42)
    tally.begin("celery")
    tally.add("celery")
    assert tally.for_status() == {"taken": {"celery": 1}}
    assert (tally.fault is None) == (path is None)


def test_tally_that_cannot_be_written_is_emptied(tmp_path: Path) -> None:
    tally = lifecycle.Tally(str(tmp_path / "status.json"), 42)
    tally.begin("celery")
    os.close(tally.descriptor)
    tally.descriptor = os.open(tmp_path / "status.json.taken", os.O_RDONLY)  # in place of a disk that went bad
    tally.add("celery")
    assert tally.descriptor is None
    assert isinstance(tally.fault, OSError)
    assert tally.for_status() == {"taken": {"celery": 1}}
