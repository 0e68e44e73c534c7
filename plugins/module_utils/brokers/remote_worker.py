# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for one worker, or drain it, by remote control: for workers that cannot load our lifecycle module."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.brokers.calling import is_complete, is_there, listen_until
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import (
    CONTROL_EXCHANGE,
    RemoteControl,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Worker, worker_from_answers
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

T = TypeVar("T")

Connect = Callable[[float], AbstractContextManager[Any]]
"""Opens a broker within so many seconds, raising OperationError for everything that fails on it."""

CONNECT_SECONDS = 5.0
"""Longest time for one attempt to connect."""

ANSWER_SECONDS = 2.0
"""How long an answer is waited for before the question is asked again."""

POLL_SECONDS = 0.3
"""Pause between an answer and the next question."""

REPEAT_OPTIONS = (
    "If the app sets global_keyprefix, sep, priority_steps or another option for its transport, repeat it in "
    "broker_transport_options of the fleet: nobody can ask the app of a fleet that has a command"
)
"""What to try when a worker is not heard that may well be there."""

NOT_HEARD = (
    "A worker is not heard either when its app sets worker_enable_remote_control to false, or a control_exchange of "
    "its own, or uses another broker"
)
"""Why else a worker that runs is not heard."""

UNHEARD_SECONDS = 5.0
"""How long a drain looks for a worker that runs and is not heard: it may just be connecting again."""

UNREACHABLE_SECONDS = 15.0
"""How long a drain waits for a broker that is gone: a worker without a broker is not given tasks either."""


class WorkerEnded(OperationError):
    """The worker that is waited for is no more: waiting on is of no use."""


def wait_until_consuming(
    connect: Connect,
    node: str,
    timeout: float,
    exchange: str = CONTROL_EXCHANGE,
    ended: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Return the queues of a worker as soon as it consumes from any.

    A broker that cannot be reached is tried again: at boot it may come later than the worker.

    :param node: node name such as C(web-1@host1).
    :param timeout: seconds.
    :param ended: tells whether the worker's process has ended, which ends the waiting.
    :raises OperationError: not within C(timeout).
    """
    deadline = time.monotonic() + timeout

    def check() -> None:
        if ended():
            raise WorkerEnded(
                f"see worker {node} consuming",
                "its process has ended before it consumed",
                "See the end of the worker's log.",
            )

    def watch(control: RemoteControl) -> tuple[str, ...]:
        answered = False
        while True:
            check()
            answers = _ask(control, node, ["active_queues"], deadline)
            queues = worker_from_answers(node, answers).queues
            if queues:
                return queues
            answered = answered or bool(answers)
            if time.monotonic() >= deadline:
                why = (
                    f"it answers, but consumes from no queue after {timeout:g} s"
                    if answered
                    else f"it has not answered within {timeout:g} s"
                )
                raise OperationError(
                    f"see worker {node} consuming",
                    why,
                    f"Look at the worker's log. {NOT_HEARD}. {REPEAT_OPTIONS}.",
                )
            _pause(control, deadline)

    return _persist(connect, exchange, deadline, watch, check=check)


def drain(
    connect: Connect,
    node: str,
    timeout: float,
    exchange: str = CONTROL_EXCHANGE,
    ended: Callable[[], bool] = lambda: False,
) -> bool:
    """Make a worker stop consuming, and return when it has finished all it had received; false where there was none.

    Tasks with a later start time stay with the worker; the broker gets them back when it stops.

    :param node: node name such as C(web-1@host1).
    :param timeout: seconds.
    :param ended: tells whether the worker's process has ended: one that is merely not heard may be at work.
    :raises OperationError: not within C(timeout). The worker goes on with its tasks and does not take new ones.
    """
    deadline = time.monotonic() + timeout
    unheard_until: float | None = None
    cancelled = False
    commands = ("active_queues", "active", "reserved")

    def empty(control: RemoteControl) -> bool:
        nonlocal unheard_until, cancelled
        idle = 0
        last: Worker | None = None
        while True:
            answers = _ask(control, node, commands, deadline)
            if not answers and not is_there(control, node, min(ANSWER_SECONDS, deadline - time.monotonic())):
                if ended():
                    return cancelled
                unheard_until = unheard_until or min(deadline, time.monotonic() + UNHEARD_SECONDS)
                if time.monotonic() >= unheard_until:
                    raise OperationError(
                        f"drain worker {node}",
                        "nothing is heard of it at the broker, and nothing says that its process has ended",
                        f"{NOT_HEARD}. {REPEAT_OPTIONS}. systemd stops it by its signal all the same.",
                    )
                idle = 0
                _pause(control, unheard_until)
                continue
            unheard_until = None
            worker = worker_from_answers(node, answers)
            for queue in worker.queues or ():
                cancelled = True
                control.ask({"cancel_consumer": {"queue": queue}}, [node])
            complete = len(answers) == len(commands)
            if complete:
                last = worker
            # Twice, as a pool of threads ends a task and acknowledges it in two steps.
            idle = idle + 1 if complete and not worker.queues and worker.active == worker.reserved == 0 else 0
            if idle == 2:
                return True
            if time.monotonic() >= deadline:
                raise OperationError(
                    f"drain worker {node}",
                    _why_not_drained(last, timeout),
                    "Raise drain_timeout of the fleet, or find out what its tasks wait for.",
                    active=last and last.active,
                    reserved=last and last.reserved,
                )
            _pause(control, deadline)

    return _persist(connect, exchange, deadline, empty, patience=UNREACHABLE_SECONDS)


def _persist(
    connect: Connect,
    exchange: str,
    deadline: float,
    work: Callable[[RemoteControl], T],
    patience: float = float("inf"),
    check: Callable[[], None] = lambda: None,
) -> T:
    """Do C(work) over a connection, and again over a new one when the broker goes away; for C(patience) seconds."""
    reached_at = time.monotonic()
    while True:
        check()
        try:
            with connect(max(0.5, min(CONNECT_SECONDS, deadline - time.monotonic()))) as broker:
                reached_at = time.monotonic()
                with broker.remote_control(exchange) as control:
                    return work(control)
        except WorkerEnded:
            raise
        except OperationError:
            now = time.monotonic()
            if now >= min(deadline, reached_at + patience):
                raise
            time.sleep(min(1.0, deadline - now))


def _ask(control: RemoteControl, node: str, commands: Sequence[str], deadline: float) -> Mapping[str, Any]:
    """Return the worker's answers; without some or all of them when they do not come soon."""
    asked = control.ask(commands, [node], ANSWER_SECONDS)
    give_up = min(deadline, time.monotonic() + ANSWER_SECONDS)
    listen_until(control, give_up, lambda _quiet: asked.nobody or is_complete(asked, node, commands))
    return asked.answers.get(node, {})


def _pause(control: RemoteControl, deadline: float) -> None:
    until = min(deadline, time.monotonic() + POLL_SECONDS)
    while (left := until - time.monotonic()) > 0:
        control.listen(left)


def _why_not_drained(last: Worker | None, timeout: float) -> str:
    if last is None:
        return f"it is connected to the broker and has not answered within {timeout:g} s"
    active, reserved = ("unknown" if count is None else str(count) for count in (last.active, last.reserved))
    return f"after {timeout:g} s it is still at work (running: {active}, received and not started: {reserved})"
