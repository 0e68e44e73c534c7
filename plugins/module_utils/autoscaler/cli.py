# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of celery-autoscaler."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import SPANS
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.keeping import FILE, saved
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import Passed, replay
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import table
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import read_status
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    load_configuration,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    CONFIGURATION_FILE,
    STATE_FILE,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.policy_file import load_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import Agenda, agenda, in_rows
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, from_text, parse_pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import moment_of, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable

HISTORY_FILE = str(Path(STATE_FILE).with_name(FILE))

REFUSED = 1
FAILED = 2
INTERRUPTED = 130


AddVerbs = Callable[[Callable[..., argparse.ArgumentParser]], None]
"""Adds verbs by C(add_parser). Each sets C(act), which takes the parsed options and yields the lines of the answer."""


Draw = Callable[[str, str, Sequence[tuple[str, Agenda]]], Iterable[str]]
"""Draws the bounds of days of one or more fleets, each with its title, into a file, under a title of all, and returns
what to say of it."""


def parser(add_verbs: AddVerbs, draw: Draw) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    :param add_verbs: adds those that are not of the autoscaler.
    :param draw: draws what C(schedule) prints.
    """
    commands = argparse.ArgumentParser(prog="celery-autoscaler", description="Decide how many Celery workers run.")
    verbs = commands.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="check a policy: list every problem of it, and advice")
    check.set_defaults(act=_check)
    again = verbs.add_parser("replay", help="decide again on recorded observations: JSON lines in, JSON lines out")
    again.set_defaults(act=_replay)
    week = verbs.add_parser(
        "schedule",
        help="print the floor and ceiling of the days to come",
        description="Print the floor and ceiling of the days to come, on the clock of the policy's zone. Without "
        "--policy, those of all fleets of the running autoscaler, with their pauses.",
    )
    whose = week.add_mutually_exclusive_group()
    whose.add_argument("--policy", metavar="FILE", help="the policy, YAML or JSON")
    whose.add_argument("--config", default=CONFIGURATION_FILE, metavar="FILE", help="the autoscaler's (%(default)s)")
    week.add_argument("--fleet", metavar="NAME", help="only this fleet of the autoscaler")
    week.add_argument("--pause", type=_pause, metavar="JSON", help='with --policy: {"workers": 3, "until": DATE}')
    week.add_argument("--from", dest="since", metavar="DATE", help="2026-12-01 or 2026-12-01T08:00Z (today)")
    week.add_argument("--days", type=_days, default=7, metavar="N", help="how many days, 1 to 366 (%(default)s)")
    week.add_argument("--plot", metavar="FILE.html", help="draw a page and a picture (.png); on the controller only")
    week.set_defaults(act=_schedule, draw=draw)
    for verb in (check, again):
        verb.add_argument("--policy", required=True, metavar="FILE", help="the policy, YAML or JSON")
    again.add_argument("--observations", required=True, metavar="FILE", help="JSON lines; - is standard input")
    again.add_argument("--fleet", metavar="NAME", help="take only the lines of this fleet, from a log of several")
    add_verbs(verbs.add_parser)
    run = verbs.add_parser("run", help="look at fleets, decide and act, until told to stop")
    run.add_argument("--config", default=CONFIGURATION_FILE, metavar="FILE", help="YAML or JSON (%(default)s)")
    run.set_defaults(act=_run)
    status = verbs.add_parser("status", help="show what the running autoscaler last saw and decided")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    status.add_argument("--file", default=Configuration.status, help="status file of the autoscaler (%(default)s)")
    status.set_defaults(act=_status)
    past = verbs.add_parser(
        "history",
        help="print what the autoscaler keeps of the past, as JSON: decisions, numbers, the memory of each worker",
        description="Print what the autoscaler keeps of the past for its page, as JSON, saved every five minutes.",
    )
    past.add_argument("--last", default="1h", choices=SPANS, help="the time whose numbers are printed (%(default)s)")
    past.add_argument("--fleet", metavar="NAME", help="only this fleet")
    past.add_argument("--file", default=HISTORY_FILE, help="what the autoscaler writes (%(default)s)")
    past.set_defaults(act=_history)
    return commands


def _add_simulate_of_hosts(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    # No argument begins with this character, so all of them are taken, and none is complained about.
    verb = add_parser("simulate", add_help=False, prefix_chars="\0")
    verb.add_argument("arguments", nargs="*")
    verb.set_defaults(act=_simulate_on_a_host)


def _not_drawn_on_a_host(_path: str, _title: str, _shown: Sequence[tuple[str, Agenda]]) -> Iterable[str]:
    raise OperationError(
        "draw the schedule",
        "plots are drawn on the controller only",
        "Run bin/celery-autoscaler of the collection on the controller, or leave out --plot.",
    )


def main(
    arguments: Sequence[str] | None = None,
    add_verbs: AddVerbs = _add_simulate_of_hosts,
    draw: Draw = _not_drawn_on_a_host,
) -> int:
    """Run celery-autoscaler and return its exit status.

    0, 1 for a refused policy, 2 for anything else that went wrong, 130 when interrupted.

    :param add_verbs: adds verbs that are not of the autoscaler.
    :param draw: draws the bounds of days.
    """
    options = parser(add_verbs, draw).parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # What it has no letters for, such as a name in a policy, is spelled out, as standard error always does.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for line in options.act(options):
            _tell(line)
    except PolicyError as refused:
        for fault in refused.faults:
            _complain(str(fault))
        return REFUSED
    except OperationError as error:
        _complain(str(error))
        return FAILED
    except BrokenPipeError:
        pass  # the reader has what it wanted
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _check(options: argparse.Namespace) -> Iterator[str]:
    policy = load_policy(options.policy)
    yield f"{options.policy}: no problem found"
    yield from (f"{options.policy}: advice: {advice}" for advice in advise(policy, time.time()))


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 366:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 366")
    return int(text)


def _pause(text: str) -> Pause:
    try:
        return from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _schedule(options: argparse.Namespace) -> Iterator[str]:
    shown = []
    for name, policy, pause in _policies(options):
        days = _agenda(options, policy, pause)
        shown.append((f"Floor and ceiling {name}, on the clock of {days.zone}", days))
    title = shown[0][0] if len(shown) == 1 else "Floors and ceilings of the fleets"
    drawn = options.draw(options.plot, title, shown) if options.plot else ()
    for number, (head, days) in enumerate(shown):
        if number:
            yield ""
        yield head
        yield ""
        yield from in_rows(days)
    yield from drawn


def _agenda(options: argparse.Namespace, policy: Policy, pause: Pause | None) -> Agenda:
    zone = zone_of(policy.schedule.timezone)
    now = time.time()
    asked = datetime.fromtimestamp(now, zone).date() if options.since is None else options.since
    try:
        return agenda(policy, moment_of(asked, zone), options.days, pause, now)
    except (OverflowError, ValueError) as error:
        raise OperationError(
            f"show {options.days} days from {asked} on", error, 'Give --from a date such as "2026-12-01".'
        ) from error


def _policies(options: argparse.Namespace) -> Iterator[tuple[str, Policy, Pause | None]]:
    """Yield what is asked for: whose policy it is, the policy, and what its fleet is paused at."""
    if options.policy:
        yield f"by {options.policy}", load_policy(options.policy), options.pause
        return
    configuration = load_configuration(options.config)
    pauses = {}
    try:
        pauses = {fleet["fleet"]: fleet.get("pause") for fleet in read_status(configuration.status)["fleets"]}
    except (OperationError, LookupError, TypeError, AttributeError) as error:
        _complain(f"It is not known whether fleets are paused: {error}")
    fleets = [fleet for fleet in configuration.fleets if fleet.policy and options.fleet in (None, fleet.name)]
    if not fleets:
        raise OperationError(
            f"show the schedule of {options.fleet or 'the fleets'} in {options.config}",
            "it names no such fleet with a policy",
            "Name a policy by --policy FILE, or another configuration by --config FILE.",
        )
    for fleet in fleets:
        if fleet.policy:
            raw = pauses.get(fleet.name)
            pause = parse_pause(raw, zone_of(fleet.policy.schedule.timezone)) if raw else None
            yield f"of fleet {fleet.name}", fleet.policy, pause


def _replay(options: argparse.Namespace) -> Iterator[str]:
    passed = Passed()
    yield from replay(load_policy(options.policy), _lines(options.observations), options.fleet, passed)
    if passed.over:
        what = "line is no observation and was" if passed.over == 1 else "lines are no observations and were"
        _complain(f"{passed.over} {what} passed over.")
    if not passed.decided:
        whose = f" of fleet {options.fleet}" if options.fleet else ""
        _complain(f"No observation{whose} was found in {options.observations}: nothing was decided.")


def _run(options: argparse.Namespace) -> Iterable[str]:
    # What reads brokers is not needed, and need not be there, for any other verb.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.run import run

    run(options.config)
    return ()


def _status(options: argparse.Namespace) -> Iterator[str]:
    status = read_status(options.file)
    yield json.dumps(status) if options.json else table(status)


def _history(options: argparse.Namespace) -> Iterator[str]:
    try:
        history = saved(options.file)
    except FileNotFoundError as error:
        raise OperationError(
            f"read {options.file}", "there is no such file", "It is there five minutes after the start."
        ) from error
    except (OSError, ValueError, NotAPlainFile) as error:
        raise OperationError(f"read {options.file}", error, "The autoscaler begins it anew when it starts.") from error
    fleets = history.as_seen(options.last)
    if options.fleet is not None:
        if options.fleet not in fleets:
            known = ", ".join(fleets) or "none"
            raise OperationError(
                f"read the history of fleet {options.fleet} in {options.file}",
                f"it has no such fleet; it has {known}",
                "A new fleet is there five minutes, at the latest, after the autoscaler has first looked at it.",
            )
        fleets = {options.fleet: fleets[options.fleet]}
    yield json.dumps({"last": options.last, "fleets": fleets})


def _simulate_on_a_host(options: argparse.Namespace) -> Iterable[str]:
    raise OperationError(
        "simulate",
        "simulations run on the controller only",
        "Run bin/celery-autoscaler of the collection on the controller.",
    )


def _lines(path: str) -> Iterator[str]:
    """Yield each line as it comes: whoever waits for an answer before sending more would wait for a block for ever."""
    try:
        # A letter that is none stands in a line of another program, or is one of a name.
        with open(0 if path == "-" else path, encoding="utf-8-sig", errors="replace", closefd=path != "-") as file:
            yield from iter(file.readline, "")
    except OSError as error:
        raise OperationError(
            f"read the observations in {path}", error, "Name a readable file of JSON lines."
        ) from error


def _tell(line: str) -> None:
    try:
        # Much of it comes from files that somebody else wrote.
        sys.stdout.write(printable(line, keep="\n\t") + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What is left of the answer would be tried again at exit, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OperationError("write the answer", error, "Check that standard output has space.") from error


def _complain(line: str) -> None:
    sys.stderr.write(printable(line, keep="\n\t") + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
