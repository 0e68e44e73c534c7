# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy written out again, its timetable, and what becomes of its rules."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import timetable
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.fidelity import of_engine
from ansible_collections.muejam.celery.plugins.module_utils.decide.written import as_mapping

MONDAY = 1767571200.0  # 2026-01-05T00:00:00Z


def test_the_defaults_are_written_as_they_are_documented() -> None:
    assert as_mapping(Policy()) == {
        "limits": {
            "min_workers": 2,
            "max_workers": 20,
            "scale_up_max": 5,
            "scale_down_max": 2,
            "cooldown_up": "1m",
            "cooldown_down": "5m",
        },
        "scale_up": {
            "any": [
                {"metric": "queue_depth", "above": 100, "for": "1m"},
                {"metric": "cpu", "above": 80, "for": "2m"},
                {"metric": "memory", "above": 85, "for": "2m"},
                {"metric": "wait_time", "above": "30s", "for": "0s"},
            ],
            "add": {"workers": 2, "percent": 50, "choose": "larger"},
        },
        "scale_down": {
            "all": [
                {"metric": "queue_depth", "below": 10, "for": "5m"},
                {"metric": "cpu", "below": 30, "for": "5m"},
                {"metric": "memory", "below": 40, "for": "5m"},
                {"metric": "tasks_processed", "equals": 0, "for": "2m"},
            ],
            "remove": {"workers": 1, "percent": 25, "choose": "smaller"},
        },
        "schedule": {"timezone": "UTC", "windows": []},
    }


def test_a_target_and_a_window_are_written_whole() -> None:
    written = as_mapping(parse_policy({"target": {"wait_time": 2.5}, "schedule": {"windows": [{"days": ["SUNDAY"]}]}}))
    assert written["target"] == {"wait_time": 2.5}
    assert "scale_up" not in written
    assert written["schedule"]["windows"] == [
        {
            "name": "schedule.windows[0]",
            "days": ["sun"],
            "time": "00:00-24:00",
            "min_workers": None,
            "max_workers": None,
        }
    ]


durations = st.one_of(st.integers(0, 10**6), st.floats(0, 1000), st.sampled_from(["90", "90s", "2m", "1h30m"]))
conditions = st.lists(
    st.one_of(
        st.fixed_dictionaries({"metric": st.just("cpu"), "above": st.floats(60, 100), "for": durations}),
        st.fixed_dictionaries({"metric": st.just("backlog"), "above": st.integers(10, 10**9)}),
        st.fixed_dictionaries({"metric": st.just("wait_time"), "above": durations}),
        st.fixed_dictionaries({"metric": st.just("tasks_processed"), "equals": st.integers(0, 3), "for": durations}),
    ),
    min_size=1,
    max_size=4,
)
moments = st.datetimes(datetime(1970, 1, 3), datetime(9998, 12, 29)).flatmap(
    lambda moment: st.sampled_from(
        [f"{moment:%Y-%m-%d %H:%M}", f"{moment.isoformat(timespec='seconds')}-11:30", moment]
    )
)
windows = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["peak", "night"])},
            optional={
                "time": st.sampled_from(["08:00-18:00", "18:00-08:00", "00:00-24:00", "9:30-00:00"]),
                "days": st.lists(st.sampled_from(["mon", "Tue", "sunday"]), min_size=1),
                "min_workers": st.integers(0, 20),
            },
        ),
        st.fixed_dictionaries(
            {"from": moments, "until": st.just("9998-12-31")}, optional={"max_workers": st.integers(20, 30)}
        ),
    ),
    max_size=3,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "limits": st.fixed_dictionaries({}, optional={"min_workers": st.integers(0, 20), "cooldown_up": durations}),
            "scale_up": st.fixed_dictionaries({"any": conditions}),
            "schedule": st.fixed_dictionaries({"windows": windows}, optional={"timezone": st.just("Asia/Kolkata")}),
        },
    )
)
def test_what_is_written_reads_as_the_same_policy(raw: dict[str, Any]) -> None:
    policy = parse_policy(raw)
    assert parse_policy(json.loads(json.dumps(as_mapping(policy)))) == policy
    assert all(entry.kept == "exact" and entry.how for entry in of_engine(policy))


def test_a_timetable_names_window_floor_and_ceiling() -> None:
    policy = parse_policy(
        {
            "schedule": {
                "timezone": "Europe/Berlin",
                "windows": [
                    {"name": "peak", "time": "08:00-18:00", "min_workers": 5},
                    {"name": "weekend", "days": ["sat", "sun"], "max_workers": 8},
                ],
            }
        }
    )
    pieces = timetable(policy, MONDAY, MONDAY + 7 * 86400)
    assert pieces[:2] == [
        {
            "from": "2026-01-05T01:00:00+01:00",
            "to": "2026-01-05T08:00:00+01:00",
            "window": None,
            "min_workers": 2,
            "max_workers": 20,
        },
        {
            "from": "2026-01-05T08:00:00+01:00",
            "to": "2026-01-05T18:00:00+01:00",
            "window": "peak",
            "min_workers": 5,
            "max_workers": 20,
        },
    ]
    assert [piece["window"] for piece in pieces[-3:]] == [None, "weekend", None]
    assert pieces[-2]["max_workers"] == 8


def test_every_part_of_a_policy_has_its_fidelity() -> None:
    raw = {"schedule": {"windows": [{"name": "peak", "time": "08:00-18:00", "min_workers": 5}]}}
    rules = [entry.rule for entry in of_engine(parse_policy(raw))]
    assert len(set(rules)) == len(rules) == 6 + 4 + 1 + 4 + 1 + 1
    assert {"limits.cooldown_up", "scale_up.any[3]", "scale_down.remove", "schedule.windows[0]"} <= set(rules)
    assert [entry.rule for entry in of_engine(parse_policy({"target": {"wait_time": 30}}))] == [
        "limits.min_workers",
        "limits.max_workers",
        "target.wait_time",
    ]
