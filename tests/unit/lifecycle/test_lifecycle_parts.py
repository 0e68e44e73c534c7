# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lifecycle module that need no worker."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from bisect import bisect
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).parents[3] / "roles" / "worker" / "files"
SECRET = "not-a-real-password"


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
    assert lifecycle.read_transport_options(None) == {}
    assert lifecycle.read_transport_options("") == {}
    text = json.dumps({"visibility_timeout": 60, "socket_keepalive_options": {"4": 60}})
    assert lifecycle.read_transport_options(text) == {"visibility_timeout": 60, "socket_keepalive_options": {4: 60}}


@pytest.mark.parametrize("text", [f'{{"password": "{SECRET}"', f'["{SECRET}"]', SECRET])
def test_bad_transport_options_are_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object") as caught:
        lifecycle.read_transport_options(text)
    assert SECRET not in repr(caught.value)


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


class App:
    """Enough of a Celery app for its transport's options."""

    class Conf:
        def __init__(self, options: dict[str, object]) -> None:
            self.broker_transport_options = options

    def __init__(self, url: str, options: dict[str, object]) -> None:
        self.url = url
        self.conf = self.Conf(options)

    def connection_for_read(self) -> object:
        from kombu import Connection

        return Connection(self.url)


@pytest.mark.parametrize(
    "url", ["redis://h/0", "rediss://h/0", "redis+socket:///s", "sentinel://h:26379/0;sentinel://g:26379/0"]
)
def test_redis_gets_the_order_of_priorities(url: str) -> None:
    app = App(url, {"priority_steps": [0, 5], "sep": ":"})
    lifecycle.configure_transport(app, {"CELERY_LIFECYCLE_TRANSPORT_OPTIONS": '{"sep": "/"}'})
    assert list(app.conf.broker_transport_options.pop("priority_steps")) == [5, 0]  # type: ignore[call-overload]
    assert app.conf.broker_transport_options == {"sep": "/"}


@pytest.mark.parametrize(("url", "order"), [("amqp://h//", "high_first"), ("redis://h/0", "low_first")])
def test_others_keep_their_options(url: str, order: str) -> None:
    options: dict[str, object] = {"sep": ":"}
    app = App(url, options)
    lifecycle.configure_transport(app, {"CELERY_LIFECYCLE_PRIORITY": order})
    assert app.conf.broker_transport_options is options
