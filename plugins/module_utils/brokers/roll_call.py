# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call the roll: ask all workers at once who they are, and find out who does not answer.

Knowing when everybody has answered is what keeps this fast. Redis counts who hears a
broadcast, so the last answer ends the call. RabbitMQ does not; there the workers'
heartbeats are listened to for one period, and whoever was heard has to answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.broker import Broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.heartbeats import (
    EVENT_EXCHANGE,
    HeartbeatListener,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import (
    CONTROL_EXCHANGE,
    RemoteControl,
    Round,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import (
    COMMANDS,
    SILENT,
    Worker,
    is_pattern,
    matches,
    neighbours,
    silence_among,
    unseen_consumers,
    worker_from_answers,
)

HEARTBEAT_MARGIN = 1.25
"""Part of a heartbeat's interval within which the next one is sure to have come."""

NOBODY = (
    "No worker hears a call at this broker. Those are not seen whose app sets worker_enable_remote_control to false, "
    "or another control_exchange, or transport options that are not repeated in transport_options"
)

QUIET_SECONDS = 0.4
"""Silence on the connection after which it is worth asking the broker whether anybody is still to come."""

CLOSING_SECONDS = 1.0
CLOSING_PART = 0.2
"""Seconds, and part of the time allowed, that are kept for the questions after the last answer."""

LISTEN_SECONDS = 0.1
"""Longest wait between two looks at the clock."""


@dataclass(frozen=True)
class RollCall:
    """Everybody found.

    :ivar workers: sorted by name.
    :ivar warnings: what could not be told for certain, for the operator.
    """

    workers: tuple[Worker, ...]
    warnings: tuple[str, ...] = ()


def read_workers(
    broker: Broker,
    wanted: Collection[str] = (),
    timeout: float = 5.0,
    control_exchange: str = CONTROL_EXCHANGE,
    event_exchange: str = EVENT_EXCHANGE,
) -> RollCall:
    """Read the workers of a broker. Changes nothing at the broker.

    :param wanted: names and patterns; everybody when empty. A name that does not answer is reported as silent.
    :param timeout: seconds for the whole reading.
    :param control_exchange: the app's C(control_exchange).
    :param event_exchange: the app's C(event_exchange).
    :raises OperationError: when the broker cannot be read; nobody is called silent on account of a broker that is.
    """
    # What is left at the end is for the last questions to the broker, which show that it is not the one who is silent.
    deadline = time.monotonic() + timeout - min(CLOSING_SECONDS, timeout * CLOSING_PART)
    try:
        return TimeLimit(timeout).run(
            lambda: call_roll(broker.connection, deadline, wanted, control_exchange, event_exchange)
        )
    except Exception as error:
        broker.abort()
        raise explain(error, f"read the workers of the broker {broker.url}", opening=False, hide=broker.hide) from error


def call_roll(
    connection: Any,
    deadline: float,
    wanted: Collection[str] = (),
    control_exchange: str = CONTROL_EXCHANGE,
    event_exchange: str = EVENT_EXCHANGE,
) -> RollCall:
    """Read the workers of a broker. Changes nothing; errors of the broker are raised as they come.

    :param connection: an open C(kombu.Connection) to Redis or RabbitMQ.
    :param deadline: instant of C(time.monotonic()) at which to give up waiting for answers.
    :param wanted: names and patterns; everybody when empty. A name that does not answer is reported as silent.
    :param control_exchange: the app's C(control_exchange).
    :param event_exchange: the app's C(event_exchange).
    """
    names = {name for name in wanted if not is_pattern(name)}
    with RemoteControl(connection, control_exchange) as control:
        if names and len(names) == len(set(wanted)):
            found = _call_by_name(control, names, deadline)
        elif control.counts_listeners:
            found = _call_on_redis(control, deadline)
        else:
            found = _call_on_rabbitmq(control, connection, event_exchange, names, deadline)
    by_name = {name: Worker(name=name, state=SILENT) for name in names}
    by_name.update((worker.name or "", worker) for worker in found.workers)
    workers = [by_name[name] for name in sorted(by_name) if matches(name, wanted)]
    if not wanted:
        # Whether a worker without a name matches a pattern cannot be told.
        workers += [Worker(name=None, state=SILENT)] * found.nameless
    nobody = not found.workers and not found.nameless
    return RollCall(tuple(workers), (*found.warnings, NOBODY) if nobody else found.warnings)


@dataclass(frozen=True)
class _Found:
    workers: tuple[Worker, ...]
    nameless: int = 0
    warnings: tuple[str, ...] = ()


def _call_by_name(control: RemoteControl, names: Collection[str], deadline: float) -> _Found:
    asked = control.ask(COMMANDS, names)
    waiting = set(names)
    everybody: Round | None = None
    listening = 0

    def finished(quiet: bool) -> bool:
        nonlocal everybody, listening
        waiting.difference_update(name for name in names if _is_complete(asked, name))
        if waiting and quiet:
            waiting.difference_update(_absent(control, waiting - set(asked.answers)))
            if waiting and everybody is None and control.counts_listeners:
                # When all who listen have answered, who is still missing is but a name left behind.
                listening = control.most_listeners() or 0
                everybody = control.ask(["ping"])
        all_called = everybody is None or len(everybody.answers) >= listening
        if everybody is not None and all_called:
            waiting.intersection_update(everybody.answers)
        # An answer on its way while the reply queue goes away would stay on Redis for good.
        return asked.nobody or (not waiting and (all_called or quiet))

    _listen(control, deadline, finished)
    return _Found(_workers(asked))


def _call_on_redis(control: RemoteControl, deadline: float) -> _Found:
    listening = control.listeners() or 0
    if not listening:
        return _Found(())
    # Behind sentinels, old and new workers may listen under two names, and one worker under both.
    most = control.most_listeners() or 0
    asked = control.ask(COMMANDS)
    # Asked last: who has answered this has no other answer on its way, or never will (a beat answers nothing else).
    roll = control.ask(["ping"])

    def answered() -> set[str]:
        return {*asked.answers, *roll.answers}

    def finished(quiet: bool) -> bool:
        nonlocal listening
        if quiet:
            # Somebody who left meanwhile will not answer, and somebody who came was not asked.
            listening = min(listening, control.listeners() or 0)
        everybody = len(answered()) >= (listening if quiet else max(listening, most))
        complete = all(_is_complete(asked, name) and name in roll.answers for name in asked.answers)
        return everybody and complete and (quiet or set(roll.answers) <= set(asked.answers))

    _listen(control, deadline, finished)
    silence = silence_among(listening, answered(), control.bound_nodes() or ())
    warnings = []
    if silence.sure < len(silence.names):
        warnings.append(
            f"{silence.sure} of these workers {'is' if silence.sure == 1 else 'are'} connected to the broker and "
            f"{'does' if silence.sure == 1 else 'do'} not answer, the others are names that killed workers left "
            f"behind; Redis does not tell which is which: {', '.join(silence.names)}"
        )
    silent = tuple(Worker(name=name, state=SILENT) for name in silence.names)
    return _Found((*silent, *_workers(asked)), silence.nameless, tuple(warnings))


def _call_on_rabbitmq(
    control: RemoteControl, connection: Any, event_exchange: str, names: Collection[str], deadline: float
) -> _Found:
    heartbeats = HeartbeatListener(connection, event_exchange)
    asked = control.ask(COMMANDS)
    begin = time.monotonic()
    waiting = set(names)

    def finished(quiet: bool) -> bool:
        waiting.difference_update(asked.answers)
        if quiet:
            waiting.difference_update(_absent(control, waiting))
        heard_all = time.monotonic() >= begin + heartbeats.interval * HEARTBEAT_MARGIN
        expected = set() if asked.nobody else {*asked.answers, *heartbeats.heard, *waiting}
        complete = all(_is_complete(asked, name) for name in expected)
        return complete and (heard_all if heartbeats.listening else quiet)

    _listen(control, deadline, finished)
    workers = _workers(asked)
    silent = tuple(
        Worker(name=name, state=SILENT, active=beat.active, processed=beat.processed)
        for name, beat in heartbeats.heard.items()
        if name not in asked.answers
    )
    known_silent = {*waiting, *(worker.name for worker in silent)}
    unseen = unseen_consumers(_consumers(connection, workers, deadline), workers)
    nameless = max(0, max(unseen.values(), default=0) - len(known_silent))
    if nameless:
        # The broker names nobody, but it can be asked for a name, and workers of a fleet are numbered.
        for guess in neighbours(worker.name or "" for worker in (*workers, *silent)):
            if not nameless or time.monotonic() >= deadline:
                break
            if guess not in known_silent and control.has_mailbox(guess):
                silent = (*silent, Worker(name=guess, state=SILENT))
                nameless -= 1
    warnings = []
    if nameless:
        counts = ", ".join(f"{queue} {count}" for queue, count in sorted(unseen.items()))
        warnings.append(
            f"These queues have more consumers than there are workers that answered, each by so many: {counts}. "
            "A worker that does not answer is among them, or a consumer that is no Celery worker. "
            "RabbitMQ does not tell the names; ask for the workers you expect by name."
        )
    elif not workers and not known_silent and not asked.nobody:
        nameless = 1
        warnings.append(
            "At least one worker is connected to the broker and none answers. "
            "RabbitMQ does not tell their names; ask for the workers you expect by name."
        )
    return _Found((*silent, *workers), nameless, tuple(warnings))


def _listen(control: RemoteControl, deadline: float, finished: Callable[[bool], bool]) -> None:
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


def _is_complete(asked: Round, name: str) -> bool:
    return all(command in asked.answers.get(name, ()) for command in COMMANDS)


def _absent(control: RemoteControl, names: Iterable[str]) -> set[str]:
    return {name for name in names if not control.has_mailbox(name)}


def _workers(asked: Round) -> tuple[Worker, ...]:
    return tuple(worker_from_answers(name, answers) for name, answers in asked.answers.items())


def _consumers(connection: Any, workers: Iterable[Worker], deadline: float) -> dict[str, int]:
    """Count the consumers of every queue that some worker consumes from, as far as time allows."""
    counts = {}
    for queue in sorted({queue for worker in workers for queue in worker.queues or ()}):
        if time.monotonic() >= deadline:
            break
        with connection.channel() as channel:
            try:
                counts[queue] = int(channel.queue_declare(queue, passive=True).consumer_count)
            except connection.channel_errors:
                # Deleted meanwhile, or another connection's own: nothing can be told from it.
                continue
    return counts
