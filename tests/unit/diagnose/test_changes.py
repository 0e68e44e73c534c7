# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a fleet is said to be scaled too aggressively: by the rule of the alert, on the decisions that are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gathered import NOW, decision, failed, firing, gathered, printed, verdict

import documented
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import changes

POLICY = {"limits": {"min_workers": 1, "max_workers": 8}}


def of(found: dict[str, Any], policy: object = POLICY) -> dict[str, Any]:
    return verdict("scaling_too_aggressively", found, policy)


def flapping(times: int, **more: Any) -> list[dict[str, Any]]:
    """Up and down once in each of the last so many times ten minutes."""
    return [
        each
        for number in reversed(range(times))
        for each in (
            decision(number * 600 + 400, "up", 2, 5, **more),
            decision(number * 600 + 100, "down", 5, 2, **more),
        )
    ]


@pytest.mark.parametrize("times", range(7))
def test_it_is_there_from_four_times_ten_minutes_on(times: int) -> None:
    told = of(gathered(decisions=flapping(times)))
    assert told["verdict"] == ("yes" if times > 3 else "no"), told
    assert f"{times} times up, {times} times down; both in {times} of 6" in told["evidence"][0].replace(
        "1 time ", "1 times "
    )
    if times:
        assert "the widest step: 2 -> 5 workers" in told["evidence"]


@pytest.mark.parametrize(
    "decisions",
    [
        [decision(each * 300 + 10, "up", each, each + 1) for each in range(12)],
        # Edges of windows are wanted.
        [decision(each * 300 + 10, "bounds", 2, 5) for each in range(12)],
        # One that was not carried out started no worker.
        flapping(6, withdrawn=True),
        # Longer ago than an hour.
        [{**each, "at": each["at"] - 3600} for each in flapping(6)],
    ],
)
def test_it_is_not_there(decisions: list[dict[str, Any]]) -> None:
    assert of(gathered(decisions=decisions))["verdict"] == "no"


def test_an_hour_has_to_be_watched_to_say_no_and_less_is_enough_to_say_yes() -> None:
    told = of(gathered(watched=1800))
    assert told["verdict"] == "cannot tell"
    assert "watched for 30 min" in told["says"]
    assert of(gathered(watched=2500, decisions=flapping(4)))["verdict"] == "yes"


def test_one_that_decides_too_often_for_what_is_kept_is_not_said_to_be_calm() -> None:
    found = gathered(decisions=[decision(each * 40 + 10, "up" if each % 2 else "down", 2, 3) for each in range(30)])
    past = json.loads(found["history"]["stdout"])
    past["fleets"]["web"]["decisions_since"] = NOW - 1200
    told = of({**found, "history": printed(past)})
    assert told["verdict"] == "cannot tell"
    assert told["says"] == "it decides so often that what is kept goes back 20 min only"
    past["fleets"]["web"]["decisions_since"] = NOW - 3600
    assert of({**found, "history": printed(past)})["verdict"] == "no"


def test_nobody_can_tell_without_the_past() -> None:
    told = of(gathered(history=failed("Could not read /x: there is no such file.")))
    assert told["verdict"] == "cannot tell"
    assert "no such file" in told["says"]
    old = gathered()
    old["reading"]["at"] = NOW + 1000
    assert of(old)["verdict"] == "cannot tell"
    assert of(gathered(history=failed("")), policy=None)["verdict"] == "cannot tell"
    nobody = gathered(history=failed(""), status=failed(""))
    assert of(nobody, policy=None)["says"] == "no policy scales it"


def test_an_alert_that_fires_is_enough() -> None:
    told = of(gathered(history=failed(""), alerts=firing("CeleryFlapping")))
    assert (told["verdict"], told["runbook"]) == ("yes", "docs/runbooks/celery-flapping.md")


def test_an_alert_on_another_host_says_nothing_of_this_one() -> None:
    for instance, expected in (("app1:9541", "yes"), ("app2", "no"), ("app2:9541", "no")):
        fires = {"metric": {"alertname": "CeleryFlapping", "instance": instance}}
        answer = {"json": {"status": "success", "data": {"result": [fires]}}}
        assert of(gathered(alerts=answer, others=["app2", "app3"]))["verdict"] == expected


def test_its_rule_is_that_of_the_alert() -> None:
    (rule,) = (rule for rule in documented.alerts() if rule["alert"] == changes.ALERT)
    assert f"[1h:{60 // changes.TIMES}m]" in rule["expr"]
    assert rule["expr"].strip().endswith(f"> {changes.MOST_BOTH}")
