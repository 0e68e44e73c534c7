# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounds that hold, and the edge at which other ones begin to."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import Edge, edges_from
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import moment_of, zone_of

BERLIN = zone_of("Europe/Berlin")
MONDAY = moment_of("2026-11-30", BERLIN)
PEAK = {"name": "peak", "days": ["mon"], "time": "08:00-18:00", "min_workers": 5}
FAR = {"name": "far", "from": "2027-06-01 08:00", "until": "2027-06-02", "min_workers": 9}


def policy(*windows: dict[str, Any]) -> Policy:
    return parse_policy({"schedule": {"timezone": "Europe/Berlin", "windows": list(windows)}})


def test_without_windows_the_limits_hold_for_ever() -> None:
    assert edges_from(policy(), MONDAY) == (Edge(MONDAY, 2, 20, None), None)


def test_what_comes_each_week_comes_again() -> None:
    begins, ends = (moment_of(text, BERLIN) for text in ("2026-11-30 08:00", "2026-11-30 18:00"))
    assert edges_from(policy(PEAK), MONDAY) == (Edge(MONDAY, 2, 20, None), Edge(begins, 5, 20, "peak"))
    assert edges_from(policy(PEAK), begins) == (Edge(begins, 5, 20, "peak"), Edge(ends, 2, 20, None))
    later = edges_from(policy(PEAK), ends)[1]
    assert later is not None
    assert later.at == moment_of("2026-12-07 08:00", BERLIN)


def test_what_comes_once_is_seen_from_afar_and_not_when_it_is_over() -> None:
    begins, ends = (moment_of(text, BERLIN) for text in ("2027-06-01 08:00", "2027-06-02"))
    assert edges_from(policy(FAR), MONDAY)[1] == Edge(begins, 9, 20, "far")
    assert edges_from(policy(FAR), begins)[1] == Edge(ends, 2, 20, None)
    assert edges_from(policy(FAR), ends) == (Edge(ends, 2, 20, None), None)
    # One that another one wins over changes nothing.
    always = {"name": "always", "min_workers": 3}
    assert edges_from(policy(FAR, always), MONDAY) == (Edge(MONDAY, 3, 20, "always"), None)


@given(st.integers(0, 400 * 24 * 60))
def test_it_is_the_first_instant_with_other_bounds(minutes: int) -> None:
    held, at = policy(PEAK, FAR), MONDAY + minutes * 60
    now, following = edges_from(held, at)
    assert (now.at, now.window) == (at, _name(held, at))
    assert following is not None
    assert following.at > at
    assert following.window == _name(held, following.at) != _name(held, following.at - 1) == now.window


def _name(held: Policy, at: float) -> str | None:
    window = held.schedule.in_force(at)
    return window.name if window else None
