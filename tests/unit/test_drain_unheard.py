# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that is merely not heard at the broker is never said to be gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils import unit_hooks
from ansible_collections.muejam.celery.plugins.module_utils.brokers import remote_worker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.remote_control import RedisRemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import CONTROL_EXCHANGE, Round
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


class Deaf:
    """Stands for a conversation in which nobody answers and nobody has a mailbox."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def ask(self, *_arguments: Any) -> Round:
        asked = Round()
        asked.nobody = True
        return asked

    def has_mailbox(self, _node: str) -> bool:
        return False

    def listen(self, _seconds: float) -> bool:
        return False


class Broker:
    remote_control = Deaf


@contextmanager
def connect(_seconds: float) -> Iterator[Broker]:
    yield Broker()


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_worker, "UNHEARD_SECONDS", 0.01)
    monkeypatch.setattr(remote_worker, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(unit_hooks, "_connector", lambda _environment: connect)


def test_a_process_that_runs_is_not_drained() -> None:
    with pytest.raises(OperationError, match="worker_enable_remote_control") as caught:
        remote_worker.drain(connect, "web-1@h", 0.05)
    assert "nothing is heard of it" in caught.value.why


def test_a_process_that_has_ended_has_nothing_to_drain() -> None:
    assert remote_worker.drain(connect, "web-1@h", 0.05, ended=lambda: True) is False


def test_a_process_that_ends_meanwhile_has_nothing_to_drain() -> None:
    looks = iter([False, True])
    assert remote_worker.drain(connect, "web-1@h", 60, ended=lambda: next(looks)) is False


def ended_process() -> str:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return str(process.pid)


@pytest.mark.parametrize(
    ("variables", "code", "says"),
    [
        ({"MAINPID": str(os.getpid()), "INVOCATION_ID": "x"}, 1, "nothing is heard of it"),
        ({"MAINPID": "ended", "INVOCATION_ID": "x"}, 0, "has ended: nothing to drain"),
        # systemd gives no number once there is no main process; by hand nobody knows.
        ({"INVOCATION_ID": "x"}, 0, "has ended: nothing to drain"),
        ({}, 1, "nothing is heard of it"),
    ],
)
def test_the_hook_ends_with_0_only_when_the_process_has_ended(
    variables: Mapping[str, str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if variables.get("MAINPID") == "ended":
        variables = {**variables, "MAINPID": ended_process()}
    assert unit_hooks.main(["drain", "--node", "web-1@h", "--timeout", "0.5"], variables) == code
    assert says in capsys.readouterr().err


def test_old_and_new_workers_behind_sentinels_are_both_called() -> None:
    class Channel:
        def conn_or_acquire(self) -> Any:
            return contextmanager(lambda: iter([self]))()

        def _get_publish_topics(self, name: str, _key: str) -> list[str]:
            return [f"/0.{name}", f"/{{db}}.{name}"]

        def publish(self, topic: str, _text: str) -> int:
            return {"/0.celery.pidbox": 2, "/{db}.celery.pidbox": 1}[topic]

    class Connection:
        transport_options: Mapping[str, Any] = {}

        def channel(self) -> Channel:
            return Channel()

    connection = Connection()
    control = RedisRemoteControl(connection, CONTROL_EXCHANGE)
    assert connection.transport_options["sentinel_fanout_compat"] is True
    assert (control.listeners(), control.most_listeners()) == (2, 3)
