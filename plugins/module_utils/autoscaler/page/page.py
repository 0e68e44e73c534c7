# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for people: what the service last saw and decided, and how it came to that. Read only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.calendar import Weeks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.fleet_section import (
    UNKNOWN,
    FleetView,
    anchor,
    section,
    state_of,
    told,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import History
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.look import SCRIPT, STYLE, source
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import (
    NOTHING,
    Markup,
    Part,
    joined,
    tag,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import (
    is_late,
    metric_cell,
    workers_cell,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, ADVISE
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import QUEUE_DEPTH, WAIT_TIME
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy

IN_WORDS: Mapping[str, str] = {"15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours"}
"""What the charts show the last of, by its name among C(SPANS)."""

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {source(STYLE)}; script-src {source(SCRIPT)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_SEVERAL = 2


@dataclass(frozen=True)
class Shown:
    """What the page is made of.

    :ivar status: as C(celery-autoscaler status --json) has it.
    :ivar policies: of the fleets that have one, by name.
    :ivar where: what the place is called that the service runs on.
    :ivar survives: whether the history is there after a restart.
    """

    status: Mapping[str, Any]
    history: History
    policies: Mapping[str, Policy | None]
    weeks: Weeks
    where: str
    survives: bool = True


def page(shown: Shown, now: float, span: str) -> str:
    """Return the page as HTML.

    :param now: seconds since the epoch.
    :param span: which of C(SPANS) the charts show.
    """
    views = [_view(shown, fleet, span) for fleet in shown.status["fleets"]]
    several = len(views) >= _SEVERAL
    parts = [
        _header(shown, span),
        tag("div", list(_notices(shown, now)), id="notices"),
        _summary(views) if several else NOTHING,
        [section(number, view, IN_WORDS[span]) for number, view in enumerate(views)],
        _help(shown),
    ]
    main = tag("main", parts, data_at=repr(shown.status["at"]), data_every=f"{shown.status['interval']:g}")
    silent = "The autoscaler does not answer. What stands below is what was seen last, and it is old."
    body = (_patterns(), tag("div", silent, id="silent", role="alert"), main, tag("script", Markup(SCRIPT)))
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", _title(views, shown.where)),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def not_yet() -> str:
    """Return the page of a service that has not looked at anything yet."""
    main = tag("main", tag("p", "The autoscaler has not looked at its fleets yet."), data_every="2")
    body = (tag("div", id="silent"), main, tag("script", Markup(SCRIPT)))
    head = tag("meta", charset="utf-8"), tag("title", "celery-autoscaler"), tag("style", Markup(STYLE))
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def _view(shown: Shown, fleet: Mapping[str, Any], span: str) -> FleetView:
    name, at = fleet["fleet"], shown.status["at"]
    policy = shown.policies.get(name)
    return FleetView(
        fleet,
        shown.status["mode"],
        shown.history.span(name, span, at),
        shown.history.decisions(name),
        policy,
        shown.weeks.of(name, policy, at, fleet.get("pause")) if policy else None,
    )


def _title(views: Sequence[FleetView], where: str) -> str:
    cells = [f"{view.name}: {told(workers_cell(view.status))}" for view in views if "metrics" in view.status]
    return f"{', '.join(cells[:3]) or 'no fleet'} \u00b7 celery-autoscaler on {where}"


def _header(shown: Shown, span: str) -> Markup:
    status = shown.status
    at = datetime.fromtimestamp(status["at"], timezone.utc)
    links = [tag("b", name) if name == span else tag("a", name, href=f"?last={name}") for name in IN_WORDS]
    looks = f"looks every {status['interval']:g} s, last at {at:%H:%M:%S} UTC"
    return tag(
        "header",
        tag("h1", f"Celery autoscaler on {shown.where}"),
        tag("p", f"mode {status['mode']}, {looks}"),
        tag("nav", "the last ", links, aria_label="Which time the charts show"),
    )


def _notices(shown: Shown, now: float) -> Iterator[Markup]:
    status = shown.status
    if is_late(status, now):
        age = f"It last looked {now - status['at']:.0f} s ago, and looks every {status['interval']:g} s."
        yield _notice(f"{age} What stands here is old: see systemctl status celery-autoscaler.", "bad")
    if "follows" in status:
        leader = status["follows"] or "another one, it is not known which,"
        yield _notice(f"It only looks: {leader} leads and acts. What it would do itself is shown here.")
    if status["mode"] == ADVISE:
        yield _notice("It only advises: nobody carries out what it decides.")
    elif status["mode"] != ACT:
        yield _notice("It only looks, and decides nothing.")
    if status.get("reload_failed"):
        yield _notice("The last configuration was refused; the one before is in force. The log says why.", "bad")
    if not status["fleets"]:
        yield _notice("No fleet is configured.")


def _notice(words: str, class_: str = "") -> Markup:
    return tag("p", words, class_=f"notice {class_}".strip())


def _summary(views: Sequence[FleetView]) -> Markup:
    titles = ("fleet", "workers", "floor to ceiling", "waiting", "wait", "why")
    heads = [tag("th", text, scope="col", class_="reason" if text == "why" else None) for text in titles]
    rows = [_line(number, view) for number, view in enumerate(views)]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
    return tag("section", tag("div", table, class_="scroll"), id="fleets", class_="fleets")


def _line(number: int, view: FleetView) -> Markup:
    fleet = view.status
    class_, words = state_of(fleet)
    name = tag("th", tag("a", view.name, href=f"#{anchor(number)}"), tag("span", words, class_=f"state {class_}"))
    if "metrics" not in fleet:
        return tag("tr", name, [tag("td", UNKNOWN)] * 4, tag("td", class_="reason"))
    bounds = view.bounds
    cells: list[Part] = [
        tag("td", told(workers_cell(fleet))),
        tag("td", f"{bounds[0]} to {bounds[1]}" if bounds else "none"),
        tag("td", told(metric_cell(fleet, QUEUE_DEPTH))),
        tag("td", told(metric_cell(fleet, WAIT_TIME))),
        tag("td", next(iter(fleet.get("reasons", ())), ""), class_="reason"),
    ]
    return tag("tr", name, cells)


def _help(shown: Shown) -> Markup:
    kept = "It is kept over a restart." if shown.survives else "It is in memory alone: a restart begins it anew."
    words = (
        "A fleet is a group of Celery workers that are configured alike. The autoscaler looks at its queue and its "
        "workers, decides by its policy how many workers there are to be, and never goes below the floor or above the "
        "ceiling. Workers that leave finish what they have first: they are draining.",
        "In reasons, queue_depth is how many tasks wait, and wait_time for how many seconds the oldest of them does. A "
        "cooldown is the time that has to pass between two changes.",
        "Hatched is unknown: the autoscaler looked and could not find out, as while a broker is away. It is not zero, "
        "and no fleet shrinks on it. Dotted is a time in which nobody looked.",
        f"The history goes back a day. {kept} Numbers for programs: /metrics, and celery-autoscaler status --json.",
    )
    return tag("details", tag("summary", "What is what"), [tag("p", each) for each in words], class_="help", id="help")


def _patterns() -> Markup:
    """Return what unknown and unseen times are filled with."""
    units = "userSpaceOnUse"
    stripes = tag("line", class_="hatch", x1=0, x2=0, y1=0, y2=8)
    hatch = tag("pattern", stripes, id="hatch", width=8, height=8, patternUnits=units, patternTransform="rotate(45)")
    dots = tag(
        "pattern", tag("circle", class_="dot", cx=3, cy=3, r=1), id="dots", width=6, height=6, patternUnits=units
    )
    return tag("svg", tag("defs", joined((hatch, dots))), class_="patterns", aria_hidden="true")
