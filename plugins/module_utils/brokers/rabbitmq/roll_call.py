# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call everybody on RabbitMQ, which does not tell who hears a broadcast.

The workers' heartbeats are listened to for one period, and whoever was heard has to answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers import calling
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.heartbeats import HeartbeatListener
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import COMMANDS, SILENT, Found, Worker

HEARTBEAT_MARGIN = 1.25
"""Part of a heartbeat's interval within which the next one is sure to have come."""

_NUMBERED = re.compile(r"(?P<head>[^@]*?)(?P<number>[0-9]{1,6})(?P<tail>(?:@.*)?)")
"""A node name whose part before the @ ends in a number."""


def call_everybody(
    control: RemoteControl, connection: Any, event_exchange: str, names: Collection[str], deadline: float
) -> Found:
    """Ask all workers who they are; who was heard by a heartbeat, or is expected, has to answer.

    :param names: those that are expected.
    """
    heartbeats = HeartbeatListener(connection, event_exchange)
    asked = control.ask(COMMANDS)
    begin = time.monotonic()
    waiting = set(names)

    def finished(quiet: bool) -> bool:
        waiting.difference_update(asked.answers)
        if quiet:
            waiting.difference_update(calling.absent(control, waiting))
        heard_all = time.monotonic() >= begin + heartbeats.interval * HEARTBEAT_MARGIN
        expected = set() if asked.nobody else {*asked.answers, *heartbeats.heard, *waiting}
        complete = all(calling.is_complete(asked, name) for name in expected)
        return complete and (heard_all if heartbeats.listening else quiet)

    calling.listen_until(control, deadline, finished)
    workers = calling.workers_in(asked)
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
            f"These queues have more consumers than workers answered, by so many: {counts}. A worker does not answer, "
            "or a consumer is no Celery worker. RabbitMQ does not tell the names; name the workers that you expect in "
            "the option workers."
        )
    elif not workers and not known_silent and not asked.nobody:
        nameless = 1
        warnings.append(
            "At least one worker is connected to the broker and none answers. "
            "RabbitMQ does not tell their names; name the workers that you expect in the option workers."
        )
    return Found((*silent, *workers), nameless, tuple(warnings))


def neighbours(names: Iterable[str], beyond: int = 2, at_most: int = 200) -> tuple[str, ...]:
    """Return names that workers numbered like the given ones would have: C(web-2@a) beside C(web-1@a), C(web-3@a).

    :param beyond: how many numbers past the highest one.
    :param at_most: longest answer.
    """
    known = set(names)
    highest: dict[tuple[str, str], int] = {}
    for name in known:
        numbered = _NUMBERED.fullmatch(name)
        if numbered:
            series = (numbered["head"], numbered["tail"])
            highest[series] = max(highest.get(series, 0), int(numbered["number"]))
    guesses = (
        f"{head}{number}{tail}"
        for (head, tail), top in sorted(highest.items())
        for number in range(max(1, top - at_most), top + beyond + 1)
    )
    return tuple(guess for guess in guesses if guess not in known)[:at_most]


def unseen_consumers(consumers: Mapping[str, int], workers: Iterable[Worker]) -> dict[str, int]:
    """Return how many consumers of each queue belong to nobody who answered.

    :param consumers: consumers of each queue as the broker counts them.
    """
    known = list(workers)
    unseen = {}
    for queue, count in consumers.items():
        excess = count - sum(1 for worker in known if queue in (worker.queues or ()))
        if excess > 0:
            unseen[queue] = excess
    return unseen


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
