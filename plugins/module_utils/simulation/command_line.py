# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What celery-autoscaler has on the controller alone: `simulate`, and the drawing of `schedule`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import cli
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.policy_file import load_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.agenda import Agenda
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import format_duration, parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import MEMORY
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy, StepRules, WaitTarget
from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.simulation.agenda_plot import write_agenda
from ansible_collections.muejam.celery.plugins.module_utils.simulation.comparison import compare, table, verdict
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import MEMORY_PERCENT, Setting
from ansible_collections.muejam.celery.plugins.module_utils.simulation.page import require_matplotlib
from ansible_collections.muejam.celery.plugins.module_utils.simulation.plot import Series, write_report
from ansible_collections.muejam.celery.plugins.module_utils.simulation.rivals import by_policy, rivals
from ansible_collections.muejam.celery.plugins.module_utils.simulation.traces import read_trace
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import KINDS, Workload

_T = TypeVar("_T")

_LIST = "list"

_PROMISE = 30.0
_MOST_STEPS = 10_000_000  # looks in a run: more is a mistake in the interval or in the times of a trace

_ABOUT = """
workloads:
{workloads}

a trace is a file of JSON lines, a task each: {{"at": 12.5, "runtime": 0.8}}, at in seconds or RFC 3339

rivals for --against, joined by commas:
  fixed:N              N workers from the beginning to the end
  celery:MAX,MIN       one worker with Celery's own --autoscale=MAX,MIN; its processes take no time to start
  celery-5.6:MAX,MIN   the same up to Celery 5.6, which shrinks under a trickle of tasks too
  keda:LENGTH          KEDA's trigger with listLength LENGTH, and the HPA's default behaviour
  rate                 workers for the rate of the last minute, and for the backlog within the promise
  default              the rules that a policy has which names none

Rivals have the floor and ceiling of the first policy. The least, with which costs are compared, is what a fleet needs
that knows the future and takes no time to start.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run celery-autoscaler as it is on the controller, and return its exit status."""
    return cli.main(arguments, _add_simulate, _draw_schedule)


def _draw_schedule(path: str, title: str, shown: Sequence[tuple[str, Agenda]]) -> list[str]:
    page, picture = write_agenda(path, title, shown)
    return ["", f"Drawn in {page} and {picture}."]


def _argument(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a type for argparse that says what is wrong in the words of C(read)."""

    def convert(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


_duration = _argument(parse_duration)
_instant = _argument(instant_of)


@_argument
def _interval(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < 0.1:
        raise ValueError(f"{text} is too short: 0.1 s is the least")
    return seconds


@_argument
def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10000:
        raise ValueError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _add_simulate(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    verb = add_parser(
        "simulate",
        help="play a workload against policies, and compare waits and costs",
        description="Play a workload against policies and their rivals, and compare waits and costs.",
        epilog=_ABOUT.format(workloads="\n".join(f"  {kind.name:20} {kind.about}" for kind in KINDS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--policy", action="append", metavar="FILE", help="a policy, YAML or JSON; may be given again")
    load = verb.add_mutually_exclusive_group(required=True)
    load.add_argument("--workload", choices=[*(kind.name for kind in KINDS), _LIST], metavar="NAME", help="see below")
    load.add_argument("--trace", metavar="FILE", help="tasks that were recorded; see below")
    verb.add_argument("--against", default="", metavar="RIVALS", help="e.g. fixed:2,celery:20,2,keda:50; see below")
    verb.add_argument(
        "--start-seconds", type=_duration, default=5.0, metavar="TIME", help="until a new worker consumes"
    )
    verb.add_argument("--concurrency", type=_whole, default=1, metavar="N", help="tasks that a worker runs at once")
    verb.add_argument("--interval", type=_interval, default=5.0, metavar="TIME", help="between two decisions (5s)")
    verb.add_argument(
        "--promise", type=_duration, metavar="TIME", help="the wait to judge by; the first policy's wait_time, or 30s"
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="another one makes other tasks of the same kind")
    verb.add_argument(
        "--begin", type=_instant, metavar="INSTANT", help="RFC 3339: when it begins, for policies with windows"
    )
    verb.add_argument("--json", action="store_true", help="print the numbers as JSON")
    verb.add_argument("--plot", metavar="FILE.html", help="draw it: a page, and a picture (.png) beside it")
    verb.set_defaults(act=_simulate)


def _simulate(options: argparse.Namespace) -> Iterator[str]:
    if options.workload == _LIST:
        yield from (f"{kind.name:12} {kind.about}" for kind in KINDS)
        return
    if not options.policy:
        raise OperationError("simulate", "no policy was given", "Name one by --policy FILE.")
    policies = [load_policy(path) for path in options.policy]
    if options.plot:
        require_matplotlib()
    limits, rules = policies[0].limits, policies[0].rules
    promise = rules.wait_time if isinstance(rules, WaitTarget) else _PROMISE
    setting = Setting(
        floor=limits.min_workers,
        ceiling=limits.max_workers,
        promise=promise if options.promise is None else options.promise,
        slots=options.concurrency,
        start_seconds=options.start_seconds,
        poll_seconds=options.interval,
    )
    workload = _workload(options)
    if workload.horizon / options.interval > _MOST_STEPS:
        raise OperationError(
            f"simulate {workload.name}",
            f"it lasts {workload.horizon:.3g} s, which is too long for a decision every {options.interval:g} s",
            "See whether all times of the trace are of one kind, or take a longer interval.",
        )
    contenders = [by_policy(name, policy, setting) for name, policy in zip(_names_of(options.policy), policies)]
    try:
        contenders += rivals(options.against, setting)
    except ValueError as error:
        raise OperationError(
            "compare with the rivals of --against", error, "See celery-autoscaler simulate -h."
        ) from error
    results = compare(workload, contenders, setting, timeline=bool(options.plot))
    seed = "" if options.trace else f", seed {options.seed}"
    notes = list(_notes(f"{workload.name}{seed}", workload, setting, results[0].least, policies))
    if options.json:
        yield json.dumps(
            {
                "workload": workload.name,
                "tasks": len(workload.tasks),
                "seconds": workload.horizon,
                "promise": setting.promise,
                "least_worker_seconds": results[0].least,
                "contenders": [result.as_json() for result in results],
            }
        )
    else:
        yield from (*notes, "", table(results), "", verdict(results))
    if options.plot:
        page, picture = write_report(
            options.plot,
            f"Workload {workload.name}: {len(contenders)} ways to size a fleet",
            [Series(result.name, result.outcome.timeline, result.summary()) for result in results],
            verdict(results),
            [*notes, "A worker is paid for from the order to start it until its last task is done."],
            setting.promise,
        )
        if not options.json:
            yield f"Drawn in {page} and {picture}."


def _names_of(paths: Sequence[str]) -> list[str]:
    """Return a name for each policy: its file's without the suffix, or the path where two would be alike."""
    stems = [Path(path).stem for path in paths]
    return [stem if stems.count(stem) == 1 else path for stem, path in zip(stems, paths)]


def _workload(options: argparse.Namespace) -> Workload:
    if options.trace is None:
        workload = next(kind for kind in KINDS if kind.name == options.workload).workload(options.seed)
    else:
        try:
            with Path(options.trace).open(encoding="utf-8") as lines:
                workload = read_trace(Path(options.trace).name, lines)
        except (OSError, UnicodeDecodeError) as error:
            raise OperationError(
                f"read the trace {options.trace}", error, "Name a readable file of JSON lines."
            ) from error
    return workload if options.begin is None else replace(workload, begin=options.begin)


def _notes(name: str, workload: Workload, setting: Setting, least: float, policies: Sequence[Policy]) -> Iterator[str]:
    work = sum(seconds for _at, seconds in workload.tasks)
    yield (
        f"workload {name}: {len(workload.tasks)} tasks of {work / len(workload.tasks):.3g} s on average "
        f"within {format_duration(round(workload.horizon))}"
    )
    yield (
        f"{setting.floor} to {setting.ceiling} workers that run {setting.slots} at once and start in "
        f"{setting.start_seconds:g} s; a decision every {setting.poll_seconds:g} s"
    )
    yield f"least: {least / 3600:.2f} worker-hours, for a fleet that knows the future and starts at once"
    rules = [policy.rules for policy in policies if isinstance(policy.rules, StepRules)]
    if any(c.metric == MEMORY for rule in rules for c in (*rule.up.conditions, *rule.down.conditions)):
        yield f"memory: taken to be {MEMORY_PERCENT:g} % all the time, as tasks of a workload say nothing of it"
