# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hook that waits for a worker ends when the worker's process does."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils import unit_hooks
from ansible_collections.muejam.celery.plugins.module_utils.brokers import remote_worker
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def no_broker(_seconds: float) -> Any:
    raise OperationError("connect", "refused", "Start it.")


def test_a_process_that_ends_is_known() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        ended = unit_hooks.main_process_ended(str(process.pid))
        assert not ended()
        process.terminate()
        process.wait()
        assert ended()
    assert unit_hooks.main_process_ended(str(process.pid))()


def test_what_has_not_ended_or_is_not_known() -> None:
    for number in ("", "none", str(os.getpid())):
        assert not unit_hooks.main_process_ended(number)()


def test_waiting_ends_with_the_process() -> None:
    began = time.monotonic()
    with pytest.raises(remote_worker.WorkerEnded, match="ended before it consumed"):
        remote_worker.wait_until_consuming(no_broker, "web-1@h", 600, ended=lambda: True)
    assert time.monotonic() - began < 300


def test_the_process_ends_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([False, False, True])
    monkeypatch.setattr(remote_worker.time, "sleep", lambda _seconds: None)
    with pytest.raises(remote_worker.WorkerEnded):
        remote_worker.wait_until_consuming(no_broker, "web-1@h", 600, ended=lambda: next(looks))


def test_the_hook_says_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    code = unit_hooks.main(
        ["ready", "--node", "web-1@h", "--timeout", "300"],
        {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "MAINPID": str(process.pid)},
    )
    assert code == 1
    assert "its process has ended" in capsys.readouterr().err
