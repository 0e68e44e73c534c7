# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fleet on the page: how many workers it has and why, what happened, what is unknown, what comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone, tzinfo
from functools import cached_property, lru_cache
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page import record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.calendar import Week, calendar
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.fleet_charts import charts
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import Decided
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import NOTHING, Markup, Part, tag
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import Span
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import (
    metric_cell,
    troubles,
    what_is_unknown,
    workers_cell,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, QUEUE_DEPTH
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of

UNKNOWN = "unknown"
_FIRST_DECISIONS = 7
_MOST_DECISIONS = 20
_MOST_QUEUES = 20


@dataclass(frozen=True)
class FleetView:
    """All that the page shows of a fleet.

    :ivar status: its part of the status, and C(mode) the service's.
    :ivar week: None for a fleet without a policy.
    """

    status: Mapping[str, Any]
    mode: str
    span: Span
    decisions: Sequence[Decided]
    policy: Policy | None
    week: Week | None

    @property
    def name(self) -> str:
        """The fleet's name."""
        return str(self.status["fleet"])

    @property
    def bounds(self) -> tuple[int, int] | None:
        """The floor and the ceiling that hold."""
        return record.bounds_of(self.status)

    @cached_property
    def zone(self) -> tzinfo:
        """The zone whose clock its times are told by."""
        return zone_of(self.policy.schedule.timezone) if self.policy else timezone.utc

    @cached_property
    def today(self) -> date:
        """The day of the status on that clock."""
        return datetime.fromtimestamp(self.status["at"], self.zone).date()

    @property
    def zone_name(self) -> str:
        """What that zone is called."""
        return self.policy.schedule.timezone if self.policy else "UTC"


def anchor(number: int) -> str:
    """Return the id of a fleet's section: names of fleets may have any letter."""
    return f"fleet-{number}"


def section(number: int, view: FleetView, last: str) -> Markup:
    """Return the section of a fleet.

    :param last: of which time its charts are, in words.
    """
    fleet = view.status
    head = tag("h2", view.name, tag("span", state_of(fleet)[1], class_=f"state {state_of(fleet)[0]}"))
    if "metrics" not in fleet:
        waiting = tag("p", "It has not been looked at yet.")
        return tag("section", head, waiting, id=anchor(number), class_="fleet unread")
    return tag(
        "section",
        head,
        tag("dl", list(_numbers(view)), class_="numbers"),
        tag("div", tag("h3", "Why"), list(_why(view)), class_="why"),
        tag(
            "div",
            tag(
                "div",
                tag("h3", f"The last {last}", tag("small", f"clock of {view.zone_name}")),
                charts(fleet, view.span, view.decisions, view.zone),
            ),
            _decisions(number, view),
            class_="columns",
        ),
        _queues(number, fleet),
        _week(number, view),
        id=anchor(number),
        class_=f"fleet {state_of(fleet)[0]}",
    )


def state_of(fleet: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a fleet is, as a class of the style and in words, from its part of the status."""
    if "metrics" not in fleet:
        return UNKNOWN, "not looked at yet"
    if fleet["workers"] is None:
        return UNKNOWN, "workers unknown"
    if fleet["metrics"].get(QUEUE_DEPTH) is None:
        return UNKNOWN, "queue unknown"
    if fleet.get("blocked"):
        return "trouble", "broker takes no tasks"
    if fleet.get("pause"):
        return "paused", f"paused at {fleet['pause']['workers']}"
    if fleet.get("let_go"):
        return "paused", "let go"
    if "action" not in fleet:
        return "quiet", "only looked at"
    if fleet["from"] != fleet["to"]:
        way = "up" if fleet["to"] > fleet["from"] else "down"
        return way, f"{'grows' if way == 'up' else 'shrinks'} {fleet['from']} \u2192 {fleet['to']}"
    bounds = record.bounds_of(fleet)
    if bounds and fleet["workers"] >= bounds[1]:
        return "full", "at its ceiling"
    if bounds and fleet["workers"] <= bounds[0]:
        return "quiet", "at its floor"
    return "quiet", "stays as it is"


def told(text: str) -> str:
    """Return a cell of the status table as the page has it."""
    return UNKNOWN if text == "?" else text


def _numbers(view: FleetView) -> Iterator[Markup]:
    fleet = view.status
    yield _number("workers", "Workers", told(workers_cell(fleet)), fleet["workers"], first=True)
    if "action" in fleet:
        yield _number("to", "Wanted", UNKNOWN if fleet["to"] is None else str(fleet["to"]), fleet["to"])
    bounds = view.bounds
    if bounds:
        yield _number("floor", "Floor", str(bounds[0]), bounds[0])
        yield _number("ceiling", "Ceiling", str(bounds[1]), bounds[1])
    for name, metric in METRICS.items():
        if metric.column:
            value = fleet["metrics"].get(name)
            yield _number(name, _title(metric.column), told(metric_cell(fleet, name)), value)


def _title(column: str) -> str:
    return column if len(column) <= len("CPU") else column.capitalize()


# Most of them were on the page before.
@lru_cache(maxsize=4096, typed=True)
def _number(name: str, title: str, text: str, value: object, *, first: bool = False) -> Markup:
    class_ = " ".join(["number", *(["first"] if first else []), *([UNKNOWN] if text == UNKNOWN else [])])
    shown = tag("dd", text, data_name=name, data_value=json.dumps(value))
    return tag("div", tag("dt", title), shown, class_=class_)


def _why(view: FleetView) -> Iterator[Markup]:
    fleet = view.status
    reasons = list(fleet.get("reasons", ()))
    if reasons:
        yield tag("p", _decided(fleet), tag("span", reasons[0], class_="reason"), class_="decision")
        if reasons[1:]:
            yield tag("ul", [tag("li", reason) for reason in reasons[1:]])
    else:
        yield tag("p", _nobody_decides(view), class_="decision")
    yield from (tag("p", text) for text in _bounds(view))
    notes = list(troubles(fleet))
    if notes:
        yield tag("ul", [tag("li", note) for note in notes], class_="troubles")
    unknown = list(what_is_unknown(fleet))
    if unknown:
        yield tag("ul", [tag("li", note) for note in unknown], class_="unknowns")


def _decided(fleet: Mapping[str, Any]) -> Markup:
    if fleet["to"] is None:
        return tag("b", "It is left as it is. ")
    if fleet["from"] == fleet["to"]:
        return tag("b", f"It stays at {fleet['to']}. ")
    return tag("b", f"From {fleet['from']} to {fleet['to']} workers. ")


def _nobody_decides(view: FleetView) -> str:
    if view.policy is None:
        return "It has no policy: the autoscaler looks at it, and nobody decides about it."
    if view.status.get("let_go"):
        return f"The autoscaler has let it go, to {view.status['let_go']}, and only looks at it."
    return f"The mode is {view.mode}: the autoscaler looks at it, and decides nothing."


def _bounds(view: FleetView) -> Iterator[str]:
    """Yield who sets the bounds in force, and what comes then."""
    fleet = view.status
    pause, window, edge = fleet.get("pause"), fleet.get("window"), fleet.get("next_edge")
    if pause:
        end = "it is lifted" if pause["until"] is None else _hour(instant_of(pause["until"]), view)
        by = f", by {pause['by']}" if pause.get("by") else ""
        yield f"Somebody holds it at {pause['workers']} workers until {end}{by}, whatever its policy says."
    if window:
        name = f"the window {window['name']}" if window["name"] else "the limits, outside every window"
        yield f"Floor {window['min_workers']} and ceiling {window['max_workers']} are of {name}" + (
            f", until {_hour(instant_of(edge['at']), view)}; then {edge['min_workers']} and "
            f"{edge['max_workers']} ({edge['name'] or 'outside every window'})."
            if edge
            else "."
        )


def _decisions(number: int, view: FleetView) -> Markup:
    newest = list(reversed(view.decisions))[:_MOST_DECISIONS]
    head = tag("h3", "Last changes")
    if not newest:
        return tag("div", head, tag("p", "None so far: every decision was to leave it as it is.", class_="faint"))
    first, rest = newest[:_FIRST_DECISIONS], newest[_FIRST_DECISIONS:]
    more: Part = NOTHING
    if rest:
        more = tag("details", tag("summary", f"{len(rest)} before these"), _table(view, rest), id=f"earlier-{number}")
    return tag("div", head, _table(view, first), more, class_="decisions")


def _table(view: FleetView, decisions: Sequence[Decided]) -> Markup:
    return tag("table", [_row(each, view.zone, view.today) for each in decisions])


# Most rows of a page were on the one before it.
@lru_cache(maxsize=4096)
def _row(each: Decided, zone: tzinfo, today: date) -> Markup:
    grows = each.before is not None and each.after is not None and each.after > each.before
    change = f"{_count(each.before)} \u2192 {_count(each.after)}"
    until = f" to {datetime.fromtimestamp(each.until, zone):%H:%M:%S}" if each.until > each.at else ""
    not_done = tag("em", " not carried out", class_="faint") if each.withdrawn else NOTHING
    return tag(
        "tr",
        tag("td", _moment(each.at, zone, today), until, class_="when"),
        tag("td", change, class_="up" if grows else "down"),
        tag("td", "; ".join(each.reasons), not_done),
    )


def _queues(number: int, fleet: Mapping[str, Any]) -> Markup:
    waiting = fleet.get("queues")
    if not waiting:
        return NOTHING
    priorities = fleet.get("waiting_by_priority") or {}
    rows = [_queue(name, count, priorities.get(name, {})) for name, count in list(waiting.items())[:_MOST_QUEUES]]
    more = len(waiting) - _MOST_QUEUES
    note = tag("p", f"and {more} more: celery-autoscaler status --json", class_="faint") if more > 0 else NOTHING
    heads = [tag("th", text, scope="col") for text in ("queue", "waiting", "by priority")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
    return tag("details", tag("summary", f"Its queues ({len(waiting)})"), table, note, id=f"queues-{number}")


def _queue(name: str, count: int, priorities: Mapping[str, int]) -> Markup:
    by_priority = ", ".join(f"{priority}: {waiting}" for priority, waiting in priorities.items())
    shown = tag("td", str(count), data_queue=name, data_value=str(count))
    return tag("tr", tag("th", name, scope="row"), shown, tag("td", by_priority or "not told apart"))


def _week(number: int, view: FleetView) -> Markup:
    if view.week is None:
        return NOTHING
    days = calendar(f"words-{number}", view.week, view.status["at"])
    title = tag("summary", "The coming week: from how many to how many workers")
    return tag("details", title, days, id=f"week-{number}", open=True)


def _moment(at: float, zone: tzinfo, today: date) -> str:
    """Return what the clock shows, with the day where it is not today."""
    moment = datetime.fromtimestamp(at, zone)
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%a %d %b %H:%M}"


def _hour(at: float, view: FleetView) -> str:
    """Return likewise, without seconds, when something ends that people have planned."""
    moment = datetime.fromtimestamp(at, view.zone)
    return f"{moment:%H:%M}" if moment.date() == view.today else f"{moment:%a %d %b %H:%M}"


def _count(workers: int | None) -> str:
    return "?" if workers is None else str(workers)
