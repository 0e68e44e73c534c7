# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the answers of workers that were called, until everybody who will answer has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl, Round
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import COMMANDS, Worker, worker_from_answers

QUIET_SECONDS = 0.4
"""Silence on the connection after which it is worth asking the broker whether anybody is still to come."""

LISTEN_SECONDS = 0.1
"""Longest wait between two looks at the clock."""


def listen_until(control: RemoteControl, deadline: float, finished: Callable[[bool], bool]) -> None:
    """Take answers until C(finished), which is told now and then that nothing has come for a while."""
    heard_at = time.monotonic()
    while not finished(False):
        now = time.monotonic()
        if now - heard_at >= QUIET_SECONDS:
            if finished(True):
                return
            heard_at = now
        if now >= deadline:
            return
        if control.listen(min(deadline - now, LISTEN_SECONDS)):
            heard_at = time.monotonic()


def is_complete(asked: Round, name: str, commands: Iterable[str] = tuple(COMMANDS)) -> bool:
    """Whether a worker has answered everything that it was asked."""
    return all(command in asked.answers.get(name, ()) for command in commands)


def is_there(control: RemoteControl, name: str, seconds: float) -> bool:
    """Whether a worker is connected; a leftover name on Redis is told from it by calling everybody.

    :param seconds: how long everybody may take to answer. When somebody does not, true is returned.
    """
    if not control.has_mailbox(name):
        return False
    listening = control.most_listeners()
    if listening is None:
        return True
    everybody = control.ask(["ping"], seconds=seconds)

    def settled(_quiet: bool) -> bool:
        return name in everybody.answers or len(everybody.answers) >= listening

    listen_until(control, time.monotonic() + seconds, settled)
    return name in everybody.answers or not settled(True)


def absent(control: RemoteControl, names: Iterable[str]) -> set[str]:
    """Return those that are surely not there."""
    return {name for name in names if not control.has_mailbox(name)}


def workers_in(asked: Round) -> tuple[Worker, ...]:
    """Return those that have answered."""
    return tuple(worker_from_answers(name, answers) for name, answers in asked.answers.items())
