# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that come once, for those whose dates have no year: crontabs, CronJobs and KEDA's cron triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import edges, known
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.eras import (
    DatedEdge,
    Era,
    edges_within,
    eras,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import first_shown, written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow

_A_YEAR = 365 * 86400.0  # seconds; the same date comes again after it


@dataclass(frozen=True)
class Yearly:
    """A time without a break in which windows that come once are there.

    :ivar since: in seconds since the epoch, and C(until) too.
    :ivar dropped: why its edges cannot be written without a year; empty where they can.
    :ivar edges: what is to be set; none where it is dropped.
    :ivar noted: what dates without a year, and without seconds, make of the edges.
    """

    since: float
    until: float
    dropped: str
    edges: tuple[DatedEdge, ...]
    noted: str


def yearly(policy: Policy, at: float) -> list[Yearly]:
    """Return the times from C(at) on, in seconds since the epoch, in which windows that come once are there."""
    found: list[Yearly] = []
    together: list[Era] = []
    for era in eras(policy, at):
        if era.busy:
            together.append(era)
        elif together:
            found.append(_yearly(policy, at, [*together, era]))
            together = []
    return found


def of_window(window: OneOffWindow, times: Sequence[Yearly]) -> Yearly:
    """Return the one of C(times) that C(window) is in, which is not over."""
    return next(each for each in times if each.since < window.until and window.since < each.until)


def without_dropped(policy: Policy, at: float) -> Policy:
    """Return the policy without windows that cannot be written without a year from C(at) on, and those that are over.

    Those of a kind whose edges are not known are left out too. Whoever sets the bounds of such a window, because it
    holds now, finds nobody to take them back at its end.
    """
    kept = tuple(
        window
        for window in known(policy).schedule.windows
        if not isinstance(window, OneOffWindow) or is_kept(policy, window, at)
    )
    return replace(policy, schedule=replace(policy.schedule, windows=kept))


def is_kept(policy: Policy, window: OneOffWindow, at: float) -> bool:
    """Whether a window is not over at C(at), and can be written without a year."""
    return window.until > at and not of_window(window, yearly(policy, at)).dropped


def too_far(instants: Sequence[float], at: float, zone: str) -> str:
    """Return that one of C(instants) is more than a year after C(at), or nothing."""
    far = [written(each, zone_of(zone)) for each in instants if each > at + _A_YEAR]
    return (
        f"cron has no years, and {far[0]} is more than a year away: translate it again when it is nearer" if far else ""
    )


def on_dates(instants: Sequence[float], zone: str) -> str:
    """Return what becomes of C(instants) that are written without a year and without seconds."""
    noted = f"cron has no years: take it out after {written(instants[-1], zone_of(zone))}, or it comes again each year"
    for each in instants:
        moment = datetime.fromtimestamp(each, zone_of(zone))
        wall = moment.replace(tzinfo=None, fold=0)
        if moment.second:
            noted += f"; the seconds of {wall} are left out"
        if wall.replace(tzinfo=zone_of(zone), fold=1).utcoffset() != wall.replace(tzinfo=zone_of(zone)).utcoffset():
            which = "first" if first_shown(wall, zone_of(zone)) == each else "second"
            noted += f"; {wall:%Y-%m-%d %H:%M} comes twice and counts both times, the {which} is meant"
    return noted


def _yearly(policy: Policy, at: float, together: Sequence[Era]) -> Yearly:
    """Return what becomes of eras in a row, the last of which is the one that follows."""
    zone = policy.schedule.timezone
    since = at if together[0].since is None else together[0].since
    until = max(era.since or at for era in together)
    to_set = tuple(era.begins for era in together if era.begins is not None)
    instants = [edge.at for edge in to_set]
    dropped = too_far(instants, at, zone)
    # The edges of other weeks come too, also at its very beginning: cron can leave no days out of a week.
    usual = Era(since - 1, until, None, tuple(edges(policy)), busy=True)
    meanwhile = [edge for era in (usual, *together[:-1]) for edge, _dates in edges_within(era, zone)]
    if not dropped and meanwhile:
        minute = meanwhile[0].minute
        clock = f"{minute // 60:02}:{minute % 60:02}"
        dropped = f"the weekly edge at {clock} falls into it and would end it: cron can leave no days out of a week"
    if dropped or not to_set:
        return Yearly(since, until, dropped, (), "")
    return Yearly(since, until, "", to_set, on_dates(instants, zone))
