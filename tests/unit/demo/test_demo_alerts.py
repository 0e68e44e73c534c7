# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo concludes of what its Prometheus answers about alerts."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from muejam_demo import alerts
from muejam_demo.ending import DemoError

Rule = Mapping[str, Any]

BLIND: Rule = {"type": "alerting", "name": "CeleryAutoscalerBlind", "health": "ok", "alerts": []}
NO_WORKER: Rule = {**BLIND, "name": "CeleryNoWorker"}
RECORDED: Rule = {"type": "recording", "name": "celery_task_received_total", "health": "ok"}
WELL = alerts.Watched(2, (), (), ())


def success(**data: Any) -> str:
    return json.dumps({"status": "success", "data": data})


def states(*told: Mapping[str, str]) -> str:
    return success(resultType="vector", result=[{"metric": labels, "value": [1000.0, "7"]} for labels in told])


def rules(*groups: Sequence[Rule]) -> str:
    return success(groups=[{"name": f"group {place}", "rules": list(group)} for place, group in enumerate(groups)])


def state(name: str, alertstate: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "alertstate": alertstate, "severity": "critical", **labels}


def test_a_demo_that_goes_well() -> None:
    seen = alerts.watched(states(), rules([BLIND], [NO_WORKER, RECORDED]))
    assert seen == WELL
    assert str(seen) == "alerts: 2 rules, none fired"
    assert seen.faults() == []


def test_what_fired_is_named_with_its_labels() -> None:
    told = [state("CeleryNoWorker", "firing", fleet=fleet) for fleet in ("web", "demo")]
    seen = alerts.watched(states(*told), rules([BLIND, NO_WORKER]))
    named = 'CeleryNoWorker{fleet="demo", severity="critical"}; CeleryNoWorker{fleet="web", severity="critical"}'
    assert str(seen) == f"alerts: 2 rules, 2 fired: {named}"
    assert seen.faults() == [f"2 alerts fired: {named}"]


def test_what_was_pending_before_it_fired_is_told_once() -> None:
    told = [state("CeleryNoWorker", which, fleet="demo") for which in ("pending", "firing")]
    seen = alerts.watched(states(*told), rules([NO_WORKER]))
    assert seen.fired == (alerts.Alert("CeleryNoWorker", {"fleet": "demo", "severity": "critical"}),)
    assert seen.pending == ()


def test_what_was_only_pending_is_no_fault() -> None:
    told = [
        state("CeleryNoWorker", "pending", fleet="web"),
        state("CeleryNoWorker", "pending", fleet="demo"),
        state("CeleryAutoscalerBlind", "pending", fleet="demo"),
    ]
    seen = alerts.watched(states(*told), rules([BLIND, NO_WORKER]))
    assert len(seen.pending) == 3
    assert str(seen) == "alerts: 2 rules, none fired (pending: CeleryAutoscalerBlind, CeleryNoWorker)"
    assert seen.faults() == []


def test_one_that_is_pending_for_another_fleet_is_told_beside_one_that_fired() -> None:
    told = [state("CeleryNoWorker", "firing", fleet="web"), state("CeleryNoWorker", "pending", fleet="demo")]
    seen = alerts.watched(states(*told), rules([NO_WORKER]))
    assert [alert.labels["fleet"] for alert in seen.pending] == ["demo"]
    assert str(seen).endswith("(pending: CeleryNoWorker)")


@pytest.mark.parametrize("loaded", [rules(), rules([]), rules([RECORDED])])
def test_it_is_a_fault_when_there_is_no_alert_that_could_fire(loaded: str) -> None:
    seen = alerts.watched(states(), loaded)
    assert str(seen) == "alerts: 0 rules, none fired"
    assert seen.faults() == ["Prometheus has no alerts loaded"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({**NO_WORKER, "health": "err", "lastError": "duplicate series"}, "CeleryNoWorker: duplicate series"),
        ({**NO_WORKER, "health": "err"}, "CeleryNoWorker: err"),
        ({**NO_WORKER, "health": "unknown", "lastError": ""}, "CeleryNoWorker: unknown"),
        ({**RECORDED, "health": "err", "lastError": "no"}, "celery_task_received_total: no"),
    ],
)
def test_it_is_a_fault_when_a_rule_was_not_evaluated(rule: Rule, said: str) -> None:
    seen = alerts.watched(states(), rules([BLIND], [rule]))
    assert seen.unhealthy == (said,)
    assert str(seen).endswith(f"; not evaluated: {said}")
    assert seen.faults() == [f"1 rules were not evaluated: {said}"]


def test_a_refusal_is_no_silence() -> None:
    refused = json.dumps({"status": "error", "errorType": "execution", "error": "query timed out"})
    for series, loaded in ((refused, rules([BLIND])), (states(), refused)):
        with pytest.raises(DemoError, match="query timed out"):
            alerts.watched(series, loaded)


def test_the_whole_period_is_asked_for() -> None:
    asked: list[str] = []

    def get(paths: Sequence[str]) -> list[str]:
        asked.extend(paths)
        return [states(), rules([BLIND, NO_WORKER])]

    assert alerts.watch(get, 1000.0, 1180.25) == WELL
    path, query = asked[0].split("?")
    assert path == "query"
    assert urllib.parse.parse_qs(query) == {"query": ["count_over_time(ALERTS[181s])"], "time": ["1180.250"]}
    assert asked[1:] == ["rules"]
