# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit runs after its worker starts and before it stops, where the worker cannot load our lifecycle module.

    python -I -B launch.py unit_hooks ready --node web-1@a --timeout 60

It reads the broker's URL from CELERY_BROKER_URL and, as JSON, its transport options and
how to speak TLS with it from CELERY_LIFECYCLE_TRANSPORT_OPTIONS and
CELERY_LIFECYCLE_BROKER_USE_SSL, never from the command line, which everybody can read.
The number of the worker's main process comes from MAINPID, which systemd sets: when that process ends, so does `ready`.
It ends with 0 when done, 1 when not done in time, 2 when called wrongly, and says
what happened on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import CONTROL_EXCHANGE
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_worker import (
    Connect,
    drain,
    wait_until_consuming,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit, TookTooLong
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

GRACE_SECONDS = 1.0
"""How much longer than asked for the program may take to say that it was not done in time."""


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="unit_hooks", description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["ready", "drain"])
    parser.add_argument("--node", required=True, help="node name of the worker, such as web-1@host1")
    parser.add_argument("--timeout", type=_seconds, required=True, help="seconds")
    parser.add_argument("--control-exchange", default=CONTROL_EXCHANGE, help="the app's control_exchange")
    options = parser.parse_args(arguments)
    variables = os.environ if environment is None else environment
    try:
        connect = _connector(variables)
    except ValueError as error:
        parser.error(str(error))
    try:
        _say(_in_time(options, connect, _ended(options.action, variables)))
    except OperationError as error:
        _say(str(error))
        return 1
    except Exception as error:
        # Not a traceback: the unit's journal is read by people, and a library may show the URL in it.
        report = "This is a bug of the collection muejam.celery: please report it."
        _say(str(OperationError(f"{options.action} worker {options.node}", repr(error), report)))
        return 1
    return 0


def _ended(action: str, variables: Mapping[str, str]) -> Callable[[], bool]:
    """Return what tells whether the worker's process has ended, as far as the service manager tells of it."""
    number = variables.get("MAINPID", "")
    if action == "drain" and not number and variables.get("INVOCATION_ID"):
        # systemd leaves the number out once there is no main process.
        return lambda: True
    return main_process_ended(number)


def main_process_ended(number: str) -> Callable[[], bool]:
    """Return what tells whether the process of this number has ended; no number never has."""
    if not number.isdecimal():
        return lambda: False
    try:
        # A number can be given to another process, a descriptor cannot.
        watched = os.pidfd_open(int(number))
    except ProcessLookupError:
        return lambda: True
    except OSError:
        return lambda: not Path(f"/proc/{number}").exists()
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    return lambda: bool(poll.poll(0))


def _in_time(options: argparse.Namespace, connect: Connect, ended: Callable[[], bool]) -> str:
    """Do what the command line asks for, and come back even from a broker that stops answering in the middle."""
    try:
        return TimeLimit(options.timeout + GRACE_SECONDS).run(lambda: _run(options, connect, ended))
    except TookTooLong as error:
        raise OperationError(
            f"{'drain' if options.action == 'drain' else 'wait for'} worker {options.node}",
            "the broker stopped answering",
            "Check the broker's health and its log.",
        ) from error


def _run(options: argparse.Namespace, connect: Connect, ended: Callable[[], bool]) -> str:
    """Do what the command line asks for and return what to tell about it."""
    if options.action == "ready":
        queues = wait_until_consuming(connect, options.node, options.timeout, options.control_exchange, ended)
        return f"Worker {options.node} consumes from {', '.join(queues)}."
    if not drain(connect, options.node, options.timeout, options.control_exchange, ended):
        return f"The process of worker {options.node} has ended: nothing to drain."
    return f"Worker {options.node} has finished its tasks."


def _connector(environment: Mapping[str, str]) -> Connect:
    """Return what opens the broker that the worker's own environment names.

    :raises ValueError: when the environment does not name one properly.
    """
    url = environment.get("CELERY_BROKER_URL", "")
    if not url:
        raise ValueError("CELERY_BROKER_URL is not set")
    fault = fault_of(url)
    if fault:
        raise ValueError(f"CELERY_BROKER_URL {fault}")
    options = _json(environment, "CELERY_LIFECYCLE_TRANSPORT_OPTIONS", "a JSON object", dict) or {}
    ssl = _json(environment, "CELERY_LIFECYCLE_BROKER_USE_SSL", "a JSON object or true", (dict, bool))

    @contextmanager
    def connect(seconds: float) -> Iterator[Any]:
        with (
            open_broker(url, options, ssl, timeout=seconds) as broker,
            broker.explaining(f"speak with the worker through the broker {broker.url}"),
        ):
            yield broker

    return connect


def _json(environment: Mapping[str, str], name: str, what: str, kinds: type | tuple[type, ...]) -> Any:
    """Return what a variable holds, None when it is not set; raises ValueError when it is something else."""
    text = environment.get(name)
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kinds):
        # Without the text: it may hold a password.
        raise ValueError(f"{name} is not {what}")
    return value


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
