# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM before Celery has handlers of its own, in the first process of a container."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

from muejam_celery_lifecycle import early_stop
from muejam_celery_lifecycle.drain import Drain


@pytest.fixture
def as_first(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, as if it were the first of a container; its handler is put back."""
    monkeypatch.setattr(early_stop, "FIRST", os.getpid())
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def installed() -> Any:
    early_stop.install()
    return signal.getsignal(signal.SIGTERM)


def test_the_first_process_has_a_handler(as_first: None) -> None:
    assert installed() is early_stop.end_at_once


def test_another_process_has_the_kernels(as_first: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_stop, "FIRST", 1)
    assert installed() is signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda signum, frame: None], ids=["ignored", "handled"])
def test_what_somebody_has_chosen_stays(as_first: None, handler: Any) -> None:
    signal.signal(signal.SIGTERM, handler)
    assert installed() is handler


def test_another_thread_cannot_and_does_not_fail(as_first: None) -> None:
    failed: list[str] = []
    thread = threading.Thread(target=lambda: failed.extend([] if installed() is signal.SIG_DFL else ["installed"]))
    thread.start()
    thread.join()
    assert failed == []


@pytest.mark.parametrize("forked_again", [False, True])
def test_it_ends_the_process_as_the_kernel_would(as_first: None, forked_again: bool) -> None:
    """The first process with an exit code, one that it has forked with the signal itself."""
    child = os.fork()
    if child == 0:
        if not forked_again:
            early_stop.FIRST = os.getpid()
        signal.signal(signal.SIGTERM, early_stop.end_at_once)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGTERM if forked_again else 128 + signal.SIGTERM)


def test_a_signal_that_waits_goes_to_whoever_has_it_then(as_first: None) -> None:
    """From our handler to Celery's, and from Celery's to the drain's."""
    heard: list[int] = []
    status = MagicMock(up=True, draining=False, stopping=False)
    drain = Drain(status, MagicMock(), MagicMock())
    early_stop.install()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        # To this thread, where it waits: another one of the process would take it at once.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
        drain.take_signal()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    assert (status.draining, heard) == (True, [])
    drain.on_sigterm(signal.SIGTERM, None)
    assert heard == [signal.SIGTERM]


def test_a_drain_does_not_take_it_for_celerys(as_first: None) -> None:
    """A worker without handlers of its own, as in an embedding program, has no shutdown that a drain could lead to."""
    drain = Drain(MagicMock(), MagicMock(), MagicMock())
    early_stop.install()
    drain.take_signal()
    assert (drain.celerys_handler, drain.request()) == (None, False)
    assert signal.getsignal(signal.SIGTERM) is early_stop.end_at_once
