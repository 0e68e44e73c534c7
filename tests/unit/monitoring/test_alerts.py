# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each alert says how bad it is, with numbers, and what to do; and is tested both ways."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

import documented

BASE = "https://runbooks.example.com/"
ALERTS = documented.alerts()
NAMES = [rule["alert"] for rule in ALERTS]
TESTS = yaml.safe_load((documented.CHECKOUT / "monitoring/alerts_test.yml").read_text(encoding="utf-8"))["tests"]
DEMO = [test for test in TESTS if test["name"].startswith("a demo that goes well")]


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_an_alert_is_complete(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Celery([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert "{{" in notes["summary"]
    assert "{{" in notes["description"]
    path = documented.runbook(rule["alert"]).relative_to(documented.CHECKOUT)
    assert notes["runbook_url"] == f"{BASE}{path}"


@pytest.mark.parametrize("alert", NAMES)
def test_an_alert_is_tested_both_ways(alert: str) -> None:
    cases = [
        case for test in TESTS if test not in DEMO for case in test["alert_rule_test"] if case["alertname"] == alert
    ]
    assert [case for case in cases if case["exp_alerts"]]
    assert [case for case in cases if not case["exp_alerts"]]


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS if "for" in rule])
def test_an_alert_that_has_to_last_does_not_fire_before(alert: str) -> None:
    results = [
        [bool(case["exp_alerts"]) for case in test["alert_rule_test"] if case["alertname"] == alert] for test in TESTS
    ]
    assert [False, True] in results


def test_a_demo_fires_none() -> None:
    (demo,) = DEMO
    assert all(case["exp_alerts"] == [] for case in demo["alert_rule_test"])
    times = {case["eval_time"] for case in demo["alert_rule_test"]}
    assert len(times) > 1
    assert sorted(case["alertname"] for case in demo["alert_rule_test"]) == sorted(NAMES * len(times))


def test_the_place_of_runbooks_stands_in_their_links_alone() -> None:
    text = documented.ALERTS.read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if BASE in line and not line.startswith("#")]
    assert len(rules) == len(ALERTS)
    assert all(line.strip().startswith("runbook_url: ") for line in rules)
    # What users are told to replace it with sed.
    assert f"s|{BASE}|" in text
    assert f"s|{BASE}|" in documented.MONITORING.read_text(encoding="utf-8")
