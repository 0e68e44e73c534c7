# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role schedule and its page say is true, and its recipes do what they promise."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import role
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems, spec
from ansible_collections.muejam.celery.plugins.modules import schedule

TOP = Path(__file__).parents[3]
ROLE = TOP / "roles/schedule"
BERLIN = ZoneInfo("Europe/Berlin")
WINDOWS = [{"name": "office", "time": "08:00-18:00", "min_workers": 5}]
WEB: dict[str, Any] = {"name": "web", "app": "a", "queues": ["q"], "policy": {"schedule": {"windows": WINDOWS}}}


def read(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def recipes() -> dict[str, dict[str, Any]]:
    """The policies of docs/schedules.md by their titles."""
    text = (TOP / "docs/schedules.md").read_text(encoding="utf-8")
    return {
        title: yaml.safe_load(block)
        for title, block in re.findall(r"^### (.+?)\n.*?```yaml\n(.*?)```", text, re.S | re.M)
    }


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=BERLIN).timestamp()


def resolved(*fleets: dict[str, Any]) -> list[spec.Fleet]:
    return spec.resolve(fleets, {"broker_url": "redis://h/0"})


def test_every_default_is_described_and_no_other() -> None:
    options = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == read("defaults/main.yml")
    assert all(option["description"] for option in options.values())


def test_the_example_of_the_readme_is_good() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    [play] = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.findall(r"```yaml\n(.*?)```", readme, re.S)[0]))
    fleets = play["vars"]["celery_worker_fleets"]
    assert problems.find(fleets) == []
    assert list(role.scheduled(resolved(*fleets), play["vars"]["celery_worker_autoscaling"])) == ["web"]


@pytest.mark.parametrize(
    ("recipe", "moment", "bounds"),
    [
        # 2030-11-25 is a Monday.
        ("Office hours", "2030-11-27 07:59", (2, 10)),
        ("Office hours", "2030-11-27 08:00", (5, 10)),
        ("Office hours", "2030-11-27 18:00", (2, 10)),
        ("Office hours", "2030-11-30 12:00", (2, 10)),
        ("Weekend", "2030-11-29 19:59", (4, 10)),
        ("Weekend", "2030-11-29 20:00", (1, 1)),
        ("Weekend", "2030-11-30 12:00", (1, 1)),
        ("Weekend", "2030-12-02 06:59", (1, 1)),
        ("Weekend", "2030-12-02 07:00", (4, 10)),
        ("Weekend", "2030-12-02 20:00", (2, 10)),
        ("Campaign", "2030-11-25 05:59", (2, 10)),
        ("Campaign", "2030-11-25 06:00", (8, 10)),
        ("Campaign", "2030-11-30 03:00", (8, 10)),
        ("Campaign", "2030-12-02 23:00", (2, 10)),
        ("Campaign", "2030-12-03 08:00", (5, 10)),
    ],
)
def test_the_recipes(recipe: str, moment: str, bounds: tuple[int, int]) -> None:
    policy = parse_policy(recipes()[recipe])
    assert in_force(policy, at(moment)).bounds == bounds
    assert list(advise(policy, at("2030-06-01 00:00"))) == []


def test_there_are_three_recipes_and_the_module_takes_them() -> None:
    assert list(recipes()) == ["Office hours", "Weekend", "Campaign"]
    for written in recipes().values():
        params = {"state": "present", "fleet": "web", "platform": "systemd", **written}
        params = {"kubeconfig": None, "context": None, "namespace": None, **params}
        assert list(schedule.faults(params)) == []
        told = schedule.told(schedule.policy_of(params), at("2030-06-01 00:00"), "systemd")
        assert told["entries"]
        assert {each["kept"] for each in told["fidelity"]} == {"exact"}


@pytest.mark.parametrize(
    ("fleet", "autoscaling", "scheduled"),
    [
        (WEB, "schedule", ["web"]),
        (WEB, "Schedule", ["web"]),
        (WEB, "policy", []),
        (WEB, "none", []),
        ({**WEB, "policy": {}}, "schedule", []),
        ({**WEB, "policy": None}, "schedule", []),
        ({**WEB, "state": "absent"}, "schedule", []),
    ],
)
def test_which_fleets_follow_a_schedule(fleet: dict[str, Any], autoscaling: str, scheduled: list[str]) -> None:
    assert list(role.scheduled(resolved(fleet), autoscaling)) == scheduled
    # There is never a daemon beside it.
    assert not (scheduled and role.wanted(resolved(fleet), "act", "present", autoscaling))
    assert not (scheduled and role.scaled(resolved(fleet), "act", "present", autoscaling))


def test_a_schedule_gets_bounds_alone() -> None:
    limits = {"min_workers": 1, "scale_up_max": 3}
    fleet = {**WEB, "policy": {"limits": limits, "schedule": {"windows": WINDOWS}}}
    assert role.scheduled(resolved(fleet), "schedule")["web"] == {
        "limits": {"min_workers": 1},
        "schedule": {"windows": WINDOWS},
    }


@pytest.mark.parametrize(("value", "fine"), [("policy", True), ("Schedule", True), ("none", True), ("keda", False)])
def test_what_is_for_clusters_alone_is_refused_on_a_host(value: str, fine: bool) -> None:
    assert (role.autoscaling_problems(value) == []) is fine
    assert role.autoscaling_problems(value, "kubernetes") == []
