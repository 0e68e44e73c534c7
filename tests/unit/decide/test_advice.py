# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of policies that are sound, and that nothing is said of good ones."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide import advice as on_policies
from ansible_collections.muejam.celery.plugins.module_utils.decide import advice_on_rules, values
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import (
    BROKER_METRICS,
    METRICS,
    WAITING_METRICS,
    Metric,
    Source,
    Unit,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import (
    Comparison,
    Condition,
    Limits,
    Policy,
    Rule,
    Step,
    StepRules,
)

NOW = 1767571200.0  # 2026-01-05T00:00:00Z

BRIEF_SCHEDULE = {
    "timezone": "UTC",
    "windows": [
        {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
        {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
        {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
    ],
}
NIGHT = {"name": "night", "time": "22:00-06:00", "max_workers": 4}


def up(*conditions: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"scale_up": {"any": list(conditions), **rest}}


def down(*conditions: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"scale_down": {"all": list(conditions), **rest}}


def is_(metric: str, comparison: str, threshold: float | str, hold: str = "0s") -> dict[str, Any]:
    return {"metric": metric, comparison: threshold, "for": hold}


def advice(raw: dict[str, Any]) -> dict[str, str]:
    found = advise(parse_policy(raw), NOW)
    assert all(each.message and str(each) == f"{each.path}: {each.message}" for each in found)
    return {each.path: each.message for each in found}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"schedule": BRIEF_SCHEDULE},
        {"limits": {"min_workers": 0}},
        {"limits": {"min_workers": 1, "max_workers": 50, "scale_up_max": 10}},
        {"limits": {"max_workers": 200, "scale_down_max": 20}},
        {"target": {"wait_time": "30s"}},
        {"target": {"wait_time": "5s"}, "schedule": BRIEF_SCHEDULE},
        {"target": {"wait_time": "2m"}, "limits": {"min_workers": 0, "max_workers": 100}},
        {"schedule": {"windows": [NIGHT]}},
        {"schedule": {"windows": [NIGHT, {"name": "release", "days": ["fri"], "time": "20:00-24:00"}]}},
        up(is_("backlog", "above", 50, "30s"), is_("wait_time", "above", "1m")),
        up(is_("queue_depth", "above", 100, "60s"), is_("queue_depth", "above", 1000)),
        up(is_("cpu", "above", 70, "1m")) | down(is_("cpu", "below", 30, "5m")),
        up(is_("wait_time", "above", "30s")) | down(is_("queue_depth", "below", 1, "5m")),
        up(is_("queue_depth", "above", 20, "30s"))
        | down(is_("queue_depth", "below", 5, "2m"), is_("tasks_processed", "below", 10, "2m")),
        up(is_("queue_depth", "above", 20)) | down(is_("tasks_processed", "equals", 0, "10m")),
        up(is_("queue_depth", "above", 0, "30s")) | down(is_("queue_depth", "equals", 0, "5m")),
    ],
)
def test_of_a_good_policy_there_is_nothing_to_say(raw: dict[str, Any]) -> None:
    assert advice(raw) == {}


@pytest.mark.parametrize(
    "conditions",
    [
        [is_("queue_depth", "above", 0)],
        [is_("backlog", "above", 0.5, "30s")],
        [is_("queue_depth", "above", 100), is_("wait_time", "above", "1h")],
    ],
)
def test_a_fleet_that_comes_back_for_the_first_task_is_not_said_to_wait(conditions: list[dict[str, Any]]) -> None:
    raw = {"limits": {"min_workers": 0}} | up(*conditions) | down(is_("queue_depth", "equals", 0, "5m"))
    assert "scale_up.any" not in advice(raw)


@pytest.mark.parametrize(
    ("raw", "path", "words"),
    [
        # Never fires.
        ({"limits": {"min_workers": 4, "max_workers": 4}}, "limits", "same at every hour"),
        (
            {"schedule": {"windows": [{"name": "always", "min_workers": 5, "max_workers": 5}]}},
            "limits",
            "same at every hour",
        ),
        (up(is_("cpu", "above", 100)), "scale_up.any[0]", "does not hold, as cpu is in per cent"),
        (up(is_("tasks_processed", "equals", 2.5, "1m")), "scale_up.any[0]", "whole number"),
        (down(is_("wait_time", "below", "0s", "5m")), "scale_down.all[0]", "never negative"),
        (down(is_("queue_depth", "below", 0, "5m")), "scale_down.all[0]", "keeps the fleet from ever shrinking"),
        (down(is_("cpu", "equals", 0, "5m")), "scale_down.all[0]", "exactly 0"),
        (down(is_("queue_depth", "equals", 7, "5m")), "scale_down.all[0]", "exactly 7"),
        (
            down(is_("queue_depth", "below", 10, "5m"), is_("queue_depth", "above", 20, "5m")),
            "scale_down.all[1]",
            "contradicts",
        ),
        (
            down(is_("backlog", "above", 10, "5m"), is_("backlog", "below", 11, "5m")),
            "scale_down.all[1]",
            "contradicts",
        ),
        (down(is_("queue_depth", "below", 10, "30h")), "scale_down.all[0].for", "30h without a break"),
        (up(is_("queue_depth", "above", 100, "2h")), "scale_up.any[0].for", "2h is long"),
        (
            {"limits": {"min_workers": 0}} | up(is_("cpu", "above", 80, "2m")),
            "scale_up.any",
            "never grows again. Add a condition on queue_depth, backlog or wait_time",
        ),
        (
            {"limits": {"min_workers": 0}} | up(is_("queue_depth", "above", 100), is_("backlog", "above", 50, "1m")),
            "scale_up.any",
            "only when 51 tasks wait",
        ),
        (
            {"limits": {"min_workers": 0}}
            | up(is_("queue_depth", "above", 1))
            | down(is_("queue_depth", "equals", 0, "5m")),
            "scale_up.any",
            "only when 2 tasks wait, and the floor is 0: fewer wait for ever",
        ),
        (
            {"limits": {"min_workers": 0}, "scale_up": {"add": {"percent": 50}}},
            "scale_up.add",
            "adds nothing to a fleet of 0 workers, and the floor is 0: such a fleet never grows",
        ),
        (
            {
                "limits": {"min_workers": 0},
                "scale_up": {"add": {"workers": 2, "percent": 50, "choose": "smaller"}},
            },
            "scale_up.add",
            "never grows",
        ),
        ({"limits": {"cooldown_up": "9h"}, "schedule": {"windows": [NIGHT]}}, "limits.cooldown_up", "window night"),
        # Without effect.
        (
            {"scale_up": {"add": {"workers": 8}}},
            "scale_up.add",
            "is 8 workers or more, which limits.scale_up_max always cuts to 5",
        ),
        ({"scale_down": {"remove": {"workers": 3}}}, "scale_down.remove", "always cuts to 2"),
        (
            up(is_("queue_depth", "above", 100, "60s"), is_("queue_depth", "above", 200, "2m")),
            "scale_up.any[1]",
            "beside scale_up.any[0]",
        ),
        (
            up(is_("queue_depth", "above", 100), is_("queue_depth", "above", 100)),
            "scale_up.any[1]",
            "changes nothing",
        ),
        (
            down(is_("queue_depth", "below", 50, "2m"), is_("queue_depth", "below", 10, "5m")),
            "scale_down.all[0]",
            "beside scale_down.all[1]",
        ),
        ({"target": {"wait_time": "30s"}, "limits": {"cooldown_down": "1m"}}, "limits.cooldown_down", "beside target"),
        ({"target": {"wait_time": "2s"}}, "target.wait_time", "2s is less than"),
        (
            {"schedule": {"windows": [{"name": "low", "min_workers": 1, "max_workers": 8}]}},
            "schedule.windows[0].min_workers",
            "the floor stays 2",
        ),
        (
            {"schedule": {"windows": [{"name": "more", "max_workers": 30}]}},
            "schedule.windows[0].max_workers",
            "stays 20",
        ),
        (
            {"schedule": {"windows": [{"name": "idle", "time": "01:00-02:00", "min_workers": 2}]}},
            "schedule.windows[0]",
            "idle changes nothing",
        ),
        (
            {"schedule": {"windows": [NIGHT, {"name": "all", "min_workers": 5}]}},
            "schedule.windows[0]",
            "night is never in force: later windows win over it all the time (all)",
        ),
        (
            {
                "schedule": {
                    "windows": [
                        {"name": "sunday", "days": ["sun"], "time": "22:00-06:00", "min_workers": 3},
                        {"name": "late", "days": ["sun"], "time": "20:00-24:00", "min_workers": 4},
                        {"name": "early", "days": ["mon"], "time": "00:00-07:00", "min_workers": 5},
                    ]
                }
            },
            "schedule.windows[0]",
            "(late, early)",
        ),
        # Flaps.
        ({"limits": {"cooldown_up": "1s"}}, "limits.cooldown_up", "less than a worker takes to start"),
        ({"limits": {"cooldown_down": 0}}, "limits.cooldown_down", "every look"),
        (
            {"limits": {"cooldown_down": "1m"}} | up(is_("queue_depth", "above", 100, "5m")),
            "limits.cooldown_down",
            "1m is less than the shortest for of scale_up, 5m",
        ),
        (
            up(is_("cpu", "above", 60, "2m")) | down(is_("cpu", "below", 50, "5m")),
            "scale_up.any[0]",
            "cpu just below 50 on 3 workers is 75 on 2",
        ),
        (
            up(is_("queue_depth", "above", 100, "2m")) | down(is_("queue_depth", "below", 95, "5m")),
            "scale_up.any[0]",
            "so close",
        ),
        (
            up(is_("memory", "above", 85, "2m")) | down(is_("memory", "below", 82, "5m")),
            "scale_up.any[0]",
            "so close",
        ),
        (
            up(is_("queue_depth", "above", 100)) | down(is_("queue_depth", "below", 10)),
            "scale_down.all",
            "a single look shrinks the fleet, and another grows it",
        ),
        (
            up(is_("queue_depth", "above", 100)) | down(is_("cpu", "below", 30, "5m")),
            "scale_down.all",
            "does not look at queue_depth",
        ),
        (up(is_("cpu", "above", 80)) | down(is_("queue_depth", "below", 1, "5m")), "scale_down.all", "look at cpu"),
        (down(is_("tasks_processed", "equals", 0)), "scale_down.all[0]", "depends on their interval"),
        # Contradicts itself.
        (
            up(is_("queue_depth", "above", 5)) | down(is_("queue_depth", "equals", 8, "5m")),
            "scale_up.any[0]",
            "at once: up wins",
        ),
        (up(is_("queue_depth", "below", 50, "1m")), "scale_up.any[0]", "up wins"),
        (
            up(is_("cpu", "below", 99, "1m")) | down(is_("memory", "below", 9, "5m")),
            "scale_up.any[0]",
            "did you mean above",
        ),
        (down(is_("cpu", "above", 20, "5m")), "scale_down.all[0]", "did you mean below"),
    ],
)
def test_it_is_said_where_it_belongs(raw: dict[str, Any], path: str, words: str) -> None:
    assert words in advice(raw).get(path, f"nothing at {path}, but {advice(raw)}")


def test_a_fleet_that_cannot_move_hears_nothing_of_its_rules() -> None:
    assert set(advice({"limits": {"min_workers": 3, "max_workers": 3, "cooldown_down": 0}})) == {"limits"}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric that the broker tells and that is not of what waits: the age of a task that a worker holds."""
    name = "oldest_held"
    row = Metric(Unit.SECONDS, Source.BROKER, "age of the oldest task that is not acknowledged", in_rules=True)
    for module in (on_policies, advice_on_rules, values):
        monkeypatch.setattr(module, "METRICS", MappingProxyType({**METRICS, name: row}))
    monkeypatch.setattr(on_policies, "BROKER_METRICS", (*BROKER_METRICS, name))
    return name


def test_a_metric_that_is_not_of_what_waits_is_not_taken_for_a_count_of_it(held: str) -> None:
    assert WAITING_METRICS == ("queue_depth", "backlog", "wait_time")
    long, deep = Condition(held, Comparison.ABOVE, 300), Condition("queue_depth", Comparison.ABOVE, 100)
    calm = Rule((Condition("queue_depth", Comparison.BELOW, 10, 300),), Step(1))

    def said(*conditions: Condition) -> dict[str, str]:
        policy = Policy(Limits(min_workers=0), StepRules(Rule(conditions, Step(2)), calm))
        return {each.path: each.message for each in advise(policy, NOW)}

    # It says nothing of how many tasks bring a fleet back, and what waits is not what it tells.
    assert "scale_up.any" not in said(long)
    assert said(long)["scale_down.all"].startswith(f"does not look at {held}")
    assert "only when 101 tasks wait" in said(long, deep)["scale_up.any"]
    assert said(long, deep) == said(deep) | {"scale_down.all": said(long, deep)["scale_down.all"]}
