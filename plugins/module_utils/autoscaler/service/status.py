# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`celery-autoscaler status`: what the autoscaler last saw and decided, as a table for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import unusable
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.observe.waiting import BY_BROKER
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable

_FORMS = {Unit.SECONDS: "{:.1f} s", Unit.PERCENT: "{:.0f} %"}
WIDEST_CELL = 60
LONGEST_NOTE = 1000
"""Characters. The file is not the reader's own: what it makes somebody print has an end."""


def table(status: Mapping[str, Any], now: float | None = None) -> str:
    """Return the status file's content as text of several lines, fit for a terminal whatever is in it.

    :param now: seconds since the epoch.
    :raises OperationError: when something is missing in it, or of another kind than the autoscaler writes.
    """
    try:
        return "\n".join(_lines(status, time.time() if now is None else now))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise unusable(
            f"it is not what the autoscaler writes ({type(error).__name__}: {printable(str(error))})"
        ) from error


def is_late(status: Mapping[str, Any], now: float) -> bool:
    """Whether the autoscaler ought to have looked again by C(now), in seconds since the epoch."""
    late: bool = now - status["at"] > 3 * status["interval"] + 10
    return late


def _lines(status: Mapping[str, Any], now: float) -> Iterator[str]:
    age = now - status["at"]
    yield _clipped(f"mode {status['mode']}, every {status['interval']:g} s, last looked {age:.0f} s ago", LONGEST_NOTE)
    if is_late(status, now):
        yield "That is long ago: see systemctl status celery-autoscaler."
    if "follows" in status:
        leader = status["follows"] or "another one, it is not known which"
        yield _clipped(f"It only looks: {leader} leads and acts.", LONGEST_NOTE)
    if status.get("reload_failed"):
        yield "The last configuration was refused; the one before is in force. The log says why."
    fleets = [fleet for fleet in status["fleets"] if "metrics" in fleet]
    yield ""
    yield from _aligned([[title for title, _cell in _COLUMNS], *([cell(f) for _t, cell in _COLUMNS] for f in fleets)])
    for fleet in fleets:
        yield from (_clipped(note, LONGEST_NOTE) for note in _notes(fleet))


def _notes(fleet: Mapping[str, Any]) -> Iterator[str]:
    edge = fleet.get("next_edge")
    coming = (f"{_bounds(fleet['window'])} until {edge['at']}, then {_bounds(edge)}",) if edge else ()
    for note in (*fleet.get("reasons", ()), *coming, *troubles(fleet), *what_is_unknown(fleet)):
        yield f"{fleet['fleet']}: {note}"


def troubles(fleet: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a fleet and no reason tells, from its part of the status."""
    if fleet.get("blocked"):
        yield f"the broker takes no tasks: {fleet['blocked']}"
    if "reasons" not in fleet:
        yield from (f"{worker} is down ({why})" for worker, why in fleet.get("down", {}).items())
    yield from (f"{worker} has idled for {s:.0f} s while tasks wait" for worker, s in fleet["stuck"].items())
    yield from (f"{count} times could not {what}" for what, count in sorted(fleet["errors"].items()))


def what_is_unknown(fleet: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not known of a fleet, or not exactly, and why, from its part of the status."""
    by_reason: dict[str, list[str]] = {}
    for metric, why in fleet["unknown"].items():
        by_reason.setdefault(why, []).append(metric)
    yield from (f"unknown: {', '.join(metrics)}: {why}" for why, metrics in by_reason.items())
    for metric, bounds in fleet.get("bounds", {}).items():
        yield f"{metric} is only a bound: {bounds['why']}"
    for metric, source in fleet.get("sources", {}).items():
        if source != BY_BROKER:
            yield f"{metric} is counted by {source} alone: what others take from the queue is not seen"


def _bounds(edge: Mapping[str, Any]) -> str:
    return f"{edge['min_workers']} to {edge['max_workers']} workers ({edge['name'] or 'outside every window'})"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    cells = [[_clipped(cell, WIDEST_CELL) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def _clipped(text: str, most: int) -> str:
    return printable(text if len(text) <= most else text[: most - 3] + "...")


def metric_cell(fleet: Mapping[str, Any], name: str) -> str:
    """Return a metric of a fleet with its unit; a question mark where it is unknown."""
    value = fleet["metrics"].get(name)
    if value is None:
        return "?"
    bounds = fleet.get("bounds", {}).get(name)
    side = "" if bounds is None else ">= " if bounds["at_most"] is None else "<= "
    return side + _FORMS.get(METRICS[name].unit, "{:.0f}").format(value)


def workers_cell(fleet: Mapping[str, Any]) -> str:
    """Return how many workers a fleet has, and how many of them or beside them are something else."""
    workers = fleet["workers"]
    if workers is None:
        return "?"
    down = len(fleet.get("down", {}))
    more = [f"{fleet[key]} {key}" for key in ("starting", "draining") if fleet[key]]
    more += [f"{down} down"] if down else []
    return f"{workers}" + (f" ({', '.join(more)})" if more else "")


def _decision(fleet: Mapping[str, Any]) -> str:
    if "action" not in fleet:
        if fleet.get("let_go"):
            return f"none: let go, to {fleet['let_go']}"
        return "none: no policy" if not fleet["policy"] else "none: mode observe"
    if fleet["from"] == fleet["to"]:
        return "paused" if fleet.get("pause") else str(fleet["action"])
    return f"{fleet['action']} {fleet['from']} -> {fleet['to']}"


_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("FLEET", lambda fleet: str(fleet["fleet"])),
    ("WORKERS", workers_cell),
    *((metric.column, partial(metric_cell, name=name)) for name, metric in METRICS.items() if metric.column),
    ("DECISION", _decision),
)
