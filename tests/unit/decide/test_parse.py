# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy may say, and that everything wrong with one is told at once."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Choose, Policy, Step, WaitTarget

DOCUMENTED = {
    "limits": {
        "min_workers": 2,
        "max_workers": 20,
        "scale_up_max": 5,
        "scale_down_max": 2,
        "cooldown_up": "60s",
        "cooldown_down": "5m",
    },
    "scale_up": {
        "any": [
            {"metric": "queue_depth", "above": 100, "for": "60s"},
            {"metric": "cpu", "above": 80, "for": "2m"},
            {"metric": "memory", "above": 85, "for": "2m"},
            {"metric": "wait_time", "above": "30s"},
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
}


def faults(raw: object) -> dict[str, str]:
    with pytest.raises(PolicyError) as refused:
        parse_policy(raw)
    return {fault.path: fault.message for fault in refused.value.faults}


@pytest.mark.parametrize("raw", [None, {}, {"limits": None}, {"limits": {"min_workers": 2}}, DOCUMENTED])
def test_the_documented_policy_is_the_default(raw: object) -> None:
    assert parse_policy(raw) == Policy()


def test_sections_take_their_defaults_one_by_one() -> None:
    policy = parse_policy({"limits": {"max_workers": 8}, "scale_up": {"any": [{"metric": "cpu", "above": 50}]}})
    assert (policy.limits.min_workers, policy.limits.max_workers) == (2, 8)
    assert policy.rules.up.step == Policy().rules.up.step  # type: ignore[union-attr]
    assert policy.rules.down == Policy().rules.down  # type: ignore[union-attr]


def test_a_step_of_one_kind_stands_alone() -> None:
    policy = parse_policy({"scale_up": {"add": {"percent": 10}}})
    assert policy.rules.up.step == Step(None, 10.0, Choose.LARGER)  # type: ignore[union-attr]


def test_a_target_takes_the_place_of_the_rules() -> None:
    assert parse_policy({"target": {"wait_time": "30s"}}).rules == WaitTarget(30)
    assert set(faults({"target": {"wait_time": 30}, "scale_up": {}})) == {"scale_up"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ([], "policy"),
        ({"limit": {}}, "limit"),
        ({"limits": {"min": 1}}, "limits.min"),
        ({"limits": {"min_workers": 2.5}}, "limits.min_workers"),
        ({"limits": {"max_workers": True}}, "limits.max_workers"),
        ({"limits": {"max_workers": "20"}}, "limits.max_workers"),
        ({"limits": {"min_workers": -1}}, "limits.min_workers"),
        ({"limits": {"min_workers": 5, "max_workers": 4}}, "limits.min_workers"),
        ({"limits": {"scale_up_max": 0}}, "limits.scale_up_max"),
        ({"limits": {"cooldown_up": "soon"}}, "limits.cooldown_up"),
        ({"scale_up": {"any": [{"metric": "cpu", "above": 80, "for": "x"}]}}, "scale_up.any[0].for"),
        ({"scale_up": {"any": [{"metric": "disk", "above": 80}]}}, "scale_up.any[0].metric"),
        ({"scale_up": {"any": [{"above": 80}]}}, "scale_up.any[0].metric"),
        ({"scale_up": {"any": [{"metric": "cpu"}]}}, "scale_up.any[0]"),
        ({"scale_up": {"any": [{"metric": "cpu", "above": 1, "below": 2}]}}, "scale_up.any[0]"),
        ({"scale_up": {"any": [{"metric": "cpu", "above": 101}]}}, "scale_up.any[0].above"),
        ({"scale_up": {"any": [{"metric": "memory", "above": -1}]}}, "scale_up.any[0].above"),
        ({"scale_up": {"any": [{"metric": "cpu", "above": True}]}}, "scale_up.any[0].above"),
        ({"scale_up": {"any": [{"metric": "queue_depth", "above": 10}]}}, "scale_up.any[0].above"),
        (
            {
                "scale_up": {"any": [{"metric": "cpu", "above": 30}]},
                "scale_down": {"all": [{"metric": "cpu", "below": 50}, {"metric": "cpu", "below": 40}]},
            },
            "scale_up.any[0].above",
        ),
        ({"limits": {"cooldown_up": 10**400}}, "limits.cooldown_up"),
        ({"scale_up": {"any": [{"metric": "backlog", "above": 10**400}]}}, "scale_up.any[0].above"),
        ({"scale_up": {"any": []}}, "scale_up.any"),
        ({"scale_up": {"any": ["cpu"]}}, "scale_up.any[0]"),
        ({"scale_up": {"all": []}}, "scale_up.all"),
        ({"scale_up": {"add": {"workers": 0}}}, "scale_up.add.workers"),
        ({"scale_up": {"add": {"percent": 0}}}, "scale_up.add.percent"),
        ({"scale_up": {"add": {}}}, "scale_up.add"),
        ({"scale_down": {"remove": {"workers": 1, "choose": "both"}}}, "scale_down.remove.choose"),
        ({"target": {}}, "target.wait_time"),
        ({"target": {"wait_time": 0}}, "target.wait_time"),
        ({"schedule": {"timezone": "Europe/Atlantis"}}, "schedule.timezone"),
        ({"schedule": {"windows": [{"time": "08:00-08:00"}]}}, "schedule.windows[0].time"),
        ({"schedule": {"windows": [{"time": "8-18"}]}}, "schedule.windows[0].time"),
        ({"schedule": {"windows": [{"time": "08:00-25:00"}]}}, "schedule.windows[0].time"),
        ({"schedule": {"windows": [{"days": ["caturday"]}]}}, "schedule.windows[0].days[0]"),
        ({"schedule": {"windows": [{"days": []}]}}, "schedule.windows[0].days"),
        ({"schedule": {"windows": [{"min_workers": 9, "max_workers": 8}]}}, "schedule.windows[0].min_workers"),
        ({"schedule": {"windows": [{"min_workers": 21}]}}, "schedule.windows[0].min_workers"),
        ({"schedule": {"windows": [{"max_workers": 1}]}}, "schedule.windows[0].max_workers"),
        ({"schedule": {"windows": [{"replicas": 1}]}}, "schedule.windows[0].replicas"),
    ],
)
def test_a_fault_is_named_with_its_path(raw: object, path: str) -> None:
    assert set(faults(raw)) == {path}


@pytest.mark.parametrize(
    ("raw", "path", "said"),
    [
        (
            {"limits": {"max_workers": 1}},
            "limits.max_workers",
            "a ceiling of 1 is below the floor of 2, the default of limits.min_workers: set that too",
        ),
        (
            {"limits": {"min_workers": 30}},
            "limits.min_workers",
            "a floor of 30 is above the ceiling of 20, the default of limits.max_workers: set that too",
        ),
        (
            {"limits": {"min_workers": 3, "max_workers": 1}},
            "limits.min_workers",
            "a floor of 3 is above the ceiling of 1",
        ),
        (
            {"schedule": {"windows": [{"max_workers": 1}]}},
            "schedule.windows[0].max_workers",
            "a ceiling of 1 is below the floor of 2, the default of limits.min_workers: set that too",
        ),
        (
            {"limits": {"min_workers": 4}, "schedule": {"windows": [{"min_workers": 1, "max_workers": 3}]}},
            "schedule.windows[0].max_workers",
            "a ceiling of 3 is below the floor of 4 (limits.min_workers)",
        ),
        (
            {"schedule": {"windows": [{"min_workers": 21}]}},
            "schedule.windows[0].min_workers",
            "a floor of 21 is above the ceiling of 20, the default of limits.max_workers: set that too",
        ),
        (
            {"scale_down": {"all": [{"metric": "cpu", "below": 5}, {"metric": "queue_depth", "below": 200}]}},
            "scale_down.all[1].below",
            "queue_depth above 100 (the default) scales up and below 200 scales down: the up threshold must be the "
            "higher one",
        ),
        (
            {"scale_up": {"any": [{"metric": "queue_depth", "above": 10}]}, "scale_down": {"remove": {"workers": 1}}},
            "scale_up.any[0].above",
            "queue_depth above 10 scales up and below 10 (the default) scales down: the up threshold must be the "
            "higher one",
        ),
        (
            {"scale_up": {"add": {"workers": 1}}, "scale_down": {"all": [{"metric": "wait_time", "below": "1m"}]}},
            "scale_down.all[0].below",
            "wait_time above 30 (the default) scales up and below 60 scales down: the up threshold must be the higher "
            "one",
        ),
    ],
)
def test_a_collision_with_a_default_is_told_where_the_user_wrote(raw: object, path: str, said: str) -> None:
    assert faults(raw) == {path: said}


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        (
            {"limits": {"min_workers": 30, "max_workers": 20, "cooldown_up": -1}},
            {"limits.cooldown_up", "limits.min_workers"},
        ),
        (
            {"limits": {"bogus": 1}, "schedule": {"windows": [{"min_workers": 10, "max_workers": 5}]}},
            {"limits.bogus", "schedule.windows[0].min_workers"},
        ),
        (
            {"limitsy": 1, "schedule": {"windows": [{"max_workers": 1}]}},
            {"limitsy", "schedule.windows[0].max_workers"},
        ),
        (
            {"limits": {"max_workers": "x"}, "schedule": {"windows": [{"min_workers": 30}, {"max_workers": 1}]}},
            {"limits.max_workers", "schedule.windows[1].max_workers"},
        ),
        ({"limits": 3, "schedule": {"windows": [{"min_workers": 30}]}}, {"limits"}),
        (
            {"scale_up": {"any": [{"metric": "cpu", "above": 500, "below": -3}]}},
            {"scale_up.any[0]", "scale_up.any[0].above", "scale_up.any[0].below"},
        ),
        (
            {"target": {"wait_time": True}, "scale_up": {"any": [{"metric": "disk", "above": 1}]}},
            {"target.wait_time", "scale_up", "scale_up.any[0].metric"},
        ),
        ({"scale_up": 3, "scale_down": {"all": [{"metric": "queue_depth", "below": 1000}]}}, {"scale_up"}),
        (
            {
                "scale_down": {
                    "all": [{"metric": "queue_depth", "below": 1000}, {"metric": "queue_depth", "below": "5"}]
                }
            },
            {"scale_down.all[1].below"},
        ),
        # None stands for what was not read, and is compared with nothing.
        ({"scale_up": {"any": [{"metric": "queue_depth", "above": True}]}}, {"scale_up.any[0].above"}),
        ({"scale_up": {"any": None}}, {"scale_up.any"}),
        (
            {
                "scale_up": {
                    "any": [
                        "x",
                        {"metric": "queue_depth", "above": 5},
                        {"metric": "cpu"},
                        {"metric": "cpu", "above": 20},
                    ]
                }
            },
            {"scale_up.any[0]", "scale_up.any[1].above", "scale_up.any[2]", "scale_up.any[3].above"},
        ),
    ],
)
def test_no_fault_hides_or_invents_another(raw: object, paths: set[str]) -> None:
    assert set(faults(raw)) == paths


def test_all_faults_come_at_once() -> None:
    raw = {
        "limits": {"min_workers": 2.5, "cooldown_up": "soon"},
        "scale_up": {"any": [{"metric": "cpu", "above": 120}, {"metric": "cpu", "above": 80, "for": "soon"}]},
        "schedule": {"timezone": "Moon/Base", "windows": [{"days": ["funday"]}]},
        "extra": 1,
    }
    assert set(faults(raw)) == {
        "limits.min_workers",
        "limits.cooldown_up",
        "scale_up.any[0].above",
        "scale_up.any[1].for",
        "schedule.timezone",
        "schedule.windows[0].days[0]",
        "extra",
    }
