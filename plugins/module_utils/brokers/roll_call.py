# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call the roll: ask all workers at once who they are, and find out who does not answer.

Knowing when everybody has answered is what keeps this fast, and each kind of broker tells it in a way of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.brokers import calling
from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import (
    CONTROL_EXCHANGE,
    RemoteControl,
    Round,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import (
    COMMANDS,
    EVENT_EXCHANGE,
    SILENT,
    Found,
    Worker,
    is_pattern,
    matches,
)

NOBODY = (
    "No worker hears a call at this broker. A worker is not seen when its app sets worker_enable_remote_control to "
    "false, or another control_exchange, or transport options that are not repeated in transport_options"
)

CLOSING_SECONDS = 1.0
CLOSING_PART = 0.2
"""Seconds, and part of the time allowed, that are kept for the questions after the last answer."""


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
    names = {name for name in wanted if not is_pattern(name)}
    only_names = bool(names) and len(names) == len(set(wanted))
    # What is left at the end is for the last questions to the broker, which show that it is not the one who is silent.
    deadline = time.monotonic() + timeout - min(CLOSING_SECONDS, timeout * CLOSING_PART)

    def call(_limit: TimeLimit) -> Found:
        if not only_names:
            return broker.call_everybody(names, control_exchange, event_exchange, deadline)
        with broker.remote_control(control_exchange) as control:
            return _call_by_name(control, names, deadline)

    found = broker.in_time(call, timeout, f"read the workers of the broker {broker.url}")
    by_name = {name: Worker(name=name, state=SILENT) for name in names}
    by_name.update((worker.name or "", worker) for worker in found.workers)
    workers = [by_name[name] for name in sorted(by_name) if matches(name, wanted)]
    if not wanted:
        # Whether a worker without a name matches a pattern cannot be told.
        workers += [Worker(name=None, state=SILENT)] * found.nameless
    nobody = not found.workers and not found.nameless
    return RollCall(tuple(workers), (*found.warnings, NOBODY) if nobody else found.warnings)


def _call_by_name(control: RemoteControl, names: Collection[str], deadline: float) -> Found:
    asked = control.ask(COMMANDS, names)
    waiting = set(names)
    everybody: Round | None = None
    listening = 0

    def finished(quiet: bool) -> bool:
        nonlocal everybody, listening
        waiting.difference_update(name for name in names if calling.is_complete(asked, name))
        if waiting and quiet:
            waiting.difference_update(calling.absent(control, waiting - set(asked.answers)))
            most = control.most_listeners() if waiting and everybody is None else None
            if most is not None:
                # When all who listen have answered, who is still missing is but a name left behind.
                listening = most
                everybody = control.ask(["ping"])
        all_called = everybody is None or len(everybody.answers) >= listening
        if everybody is not None and all_called:
            waiting.intersection_update(everybody.answers)
        # An answer on its way while the reply queue goes away would stay on Redis for good.
        return asked.nobody or (not waiting and (all_called or quiet))

    calling.listen_until(control, deadline, finished)
    return Found(calling.workers_in(asked))
