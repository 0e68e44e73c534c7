# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of celery-autoscaler."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import Passed, replay
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import table
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import read_status
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import Configuration
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import CONFIGURATION_FILE
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.policy_file import load_policy
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.simulation import simulate_command
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable

REFUSED = 1
FAILED = 2
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    commands = argparse.ArgumentParser(prog="celery-autoscaler", description="Decide how many Celery workers run.")
    verbs = commands.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="say whether a policy is sound, or everything that is wrong with it")
    check.set_defaults(act=_check)
    again = verbs.add_parser("replay", help="decide again what was observed: JSON lines in, JSON lines out")
    again.set_defaults(act=_replay)
    for verb in (check, again):
        verb.add_argument("--policy", required=True, metavar="FILE", help="the policy, YAML or JSON")
    again.add_argument("--observations", required=True, metavar="FILE", help="JSON lines; - is standard input")
    again.add_argument("--fleet", metavar="NAME", help="take only the lines of this fleet, from a log of several")
    simulate_command.add_to(verbs)
    verbs.choices["simulate"].set_defaults(act=_simulate)
    run = verbs.add_parser("run", help="look at fleets, decide and act, until told to stop")
    run.add_argument("--config", default=CONFIGURATION_FILE, metavar="FILE", help="YAML or JSON (%(default)s)")
    run.set_defaults(act=_run)
    status = verbs.add_parser("status", help="show what the running service last saw and decided")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--file", default=Configuration.status, help="what the service writes (%(default)s)")
    status.set_defaults(act=_status)
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run celery-autoscaler and return its exit status.

    0, 1 for a refused policy, 2 for anything else that went wrong, 130 when interrupted.
    """
    given = parser().parse_args(arguments)
    try:
        given.act(given)
    except _Refused as refused:
        for fault in refused.faults:
            _complain(fault)
        return REFUSED
    except OperationError as error:
        _complain(str(error))
        return FAILED
    except BrokenPipeError:
        pass  # the reader has what it wanted
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _check(given: argparse.Namespace) -> None:
    policy = _policy(given.policy)
    _tell(f"{given.policy}: no fault found")
    for advice in advise(policy):
        _tell(f"{given.policy}: advice: {advice}")


def _replay(given: argparse.Namespace) -> None:
    policy = _policy(given.policy)
    passed = Passed()
    with _lines(given.observations) as lines:
        for answer in replay(policy, lines, given.fleet, passed):
            _tell(answer)
    if passed.over:
        _complain(f"{_lines_of(passed.over)} no observation and passed over.")
    if not passed.decided:
        whose = f" of fleet {given.fleet}" if given.fleet else ""
        _complain(f"No observation{whose} was found in {given.observations}: nothing was decided.")


def _lines_of(count: int) -> str:
    return "1 line is" if count == 1 else f"{count} lines are"


def _run(given: argparse.Namespace) -> None:
    # What reads brokers is not needed, and need not be there, for any other verb.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.run import run

    run(given.config)


def _status(given: argparse.Namespace) -> None:
    status = read_status(given.file)
    _tell(json.dumps(status) if given.json else table(status))


class _Refused(Exception):
    """A policy is not sound."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


def _policy(path: str) -> Policy:
    try:
        return load_policy(path)
    except PolicyError as error:
        raise _Refused([f"{path}: {fault}" for fault in error.faults]) from error


def _simulate(given: argparse.Namespace) -> None:
    if given.workload == simulate_command.LIST:
        for line in simulate_command.listed():
            _tell(line)
        return
    paths = given.policy or []
    if not paths:
        raise OperationError("simulate", "no policy was given", "Name one by --policy FILE.")
    policies = [_policy(path) for path in paths]
    for line in simulate_command.run(given, list(zip(simulate_command.names_of(paths), policies))):
        _tell(line)


@contextmanager
def _lines(path: str) -> Iterator[Iterable[str]]:
    if path == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        yield _as_they_come(sys.stdin)
        return
    try:
        # A letter that is none stands in a line of another program, or is one of a name.
        with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperationError(
            f"read the observations in {path}", error, "Name a readable file of JSON lines."
        ) from error


def _as_they_come(stream: TextIO) -> Iterator[str]:
    # Iterating over a pipe reads ahead in blocks; whoever waits for an answer before sending more would wait for ever.
    yield from iter(stream.readline, "")


def _tell(line: str) -> None:
    try:
        sys.stdout.write(_in_letters_of(sys.stdout, line) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What is left of the answer would be tried again at exit, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OperationError("write the answer", error, "Make room where standard output goes.") from error


def _complain(line: str) -> None:
    sys.stderr.write(_in_letters_of(sys.stderr, line) + "\n")


def _in_letters_of(stream: TextIO, line: str) -> str:
    """Return the line with what the stream has no letters for, such as a name in a policy, spelled out.

    So is what would be an order to a terminal: much of what is told comes from files that somebody else wrote.
    """
    encoding = stream.encoding or "utf-8"
    return printable(line, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)


if __name__ == "__main__":
    raise SystemExit(main())
