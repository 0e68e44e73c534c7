# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds at an instant, until when, and whether something else began to hold since another instant."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import edge_between, in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy

OFFICE = {"name": "office", "days": ["mon", "tue", "wed", "thu", "fri"], "time": "08:00-18:00", "min_workers": 5}
CAMPAIGN = {"name": "campaign", "from": "2026-12-01T08:00Z", "until": "2026-12-24T18:00Z", "min_workers": 9}
AFTERWARDS = {"name": "hidden", "from": "2027-03-01T00:00Z", "until": "2027-03-02T00:00Z", "min_workers": 3}


def policy(*windows: dict[str, Any]) -> Policy:
    return parse_policy({"schedule": {"windows": list(windows)}})


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("windows", "moment", "window", "bounds", "until"),
    [
        ([OFFICE], "2026-06-01T07:59:59", None, (2, 20), "2026-06-01T08:00"),
        ([OFFICE], "2026-06-01T08:00", "office", (5, 20), "2026-06-01T18:00"),
        ([OFFICE], "2026-06-05T18:00", None, (2, 20), "2026-06-08T08:00"),
        # It hides all that comes each week, for longer than a week.
        ([OFFICE, CAMPAIGN], "2026-12-02T00:00", "campaign", (9, 20), "2026-12-24T18:00"),
        ([OFFICE, CAMPAIGN], "2026-12-24T18:00", None, (2, 20), "2026-12-25T08:00"),
        ([AFTERWARDS], "2026-12-02T00:00", None, (2, 20), "2027-03-01T00:00"),
        ([AFTERWARDS], "2027-03-02T00:00", None, (2, 20), None),
        ([], "2026-12-02T00:00", None, (2, 20), None),
        # Two windows of the same bounds have no edge between them.
        ([{**OFFICE, "time": "08:00-12:00"}, {**OFFICE, "time": "12:00-18:00"}], "2026-06-01T09:00", "office", (5, 20),
         "2026-06-01T18:00"),
    ],
)  # fmt: skip
def test_what_holds_and_until_when(
    windows: list[dict[str, Any]], moment: str, window: str | None, bounds: tuple[int, int], until: str | None
) -> None:
    found = in_force(policy(*windows), at(moment))
    assert (found.window, found.bounds) == (window, bounds)
    assert found.until == (None if until is None else at(until))


@pytest.mark.parametrize(
    ("windows", "since", "until", "there_is"),
    [
        ([OFFICE], "2026-06-01T08:00", "2026-06-01T17:59:59", False),
        ([OFFICE], "2026-06-01T07:59:59", "2026-06-01T08:00", True),
        ([OFFICE], "2026-06-01T08:00", "2026-06-01T18:00", True),
        ([OFFICE], "2026-06-05T18:00", "2026-06-08T07:59", False),
        # The host slept for months, and wakes up in the same bounds.
        ([OFFICE], "2026-06-01T12:00", "2026-09-01T12:00", True),
        ([AFTERWARDS], "2026-06-01T12:00", "2027-09-01T12:00", True),
        ([AFTERWARDS], "2027-03-02T00:00", "2027-09-01T12:00", False),
        ([CAMPAIGN], "2026-12-02T00:00", "2026-12-24T17:59", False),
        # The clock was set back.
        ([OFFICE], "2026-06-02T12:00", "2026-06-01T12:00", False),
        ([], "2026-06-01T12:00", "2027-09-01T12:00", False),
    ],
)
def test_whether_something_else_began_to_hold(
    windows: list[dict[str, Any]], since: str, until: str, there_is: bool
) -> None:
    assert edge_between(policy(*windows), at(since), at(until)) is there_is
