# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay of logs: what the service decided is decided again, whatever happened to the service meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import Passed, replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide, withdrawn
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

STEPS = parse_policy({})
TARGET = parse_policy({"target": {"wait_time": "30s"}})
START = 1_767_225_600.0


class Service:
    """Decides as the service does, and writes its log."""

    def __init__(self, policy: Any = STEPS) -> None:
        self.policy = policy
        self.before = self.state = State()
        self.log: list[str] = []
        self.decided: list[tuple[str, int | None, list[str]]] = []

    def cycle(self, at: float, workers: int | None, told: dict[str, Any] | None = None, /, **metrics: float) -> None:
        unknown = {"cpu": "no cgroup could be read"}
        seen = Observation(at, workers, metrics, starting=1, draining=1, unknown=unknown)
        self.before = self.state
        decision, self.state = decide(self.policy, self.state, seen)
        self.decided.append((decision.action.value, decision.after, list(decision.reasons)))
        line = {
            "at": at,
            "fleet": "web",
            "mode": "act",
            "workers": workers,
            "starting": 1,
            "draining": 1,
            "metrics": metrics,
            "unknown": unknown,
            "action": decision.action.value,
            "from": decision.before,
            "to": decision.after,
            "reasons": list(decision.reasons),
            **(told or {}),
        }
        self.log.append(json.dumps(line))

    def withdraw(self) -> None:
        self.state = withdrawn(self.before, self.state)


def again(service: Service, fleet: str | None = None) -> list[tuple[str, int | None, list[str]]]:
    answers = [json.loads(line) for line in replay(service.policy, service.log, fleet)]
    return [(answer["action"], answer["to"], answer["reasons"]) for answer in answers]


def test_a_log_is_decided_again_with_the_same_reasons() -> None:
    service = Service()
    for cycle in range(40):
        service.cycle(START + 5 * cycle, 4 if cycle < 13 else 6, queue_depth=500.0, wait_time=3.0 * cycle)
    assert again(service) == service.decided
    assert "no cgroup could be read" in str(service.decided[0])
    assert {action for action, _to, _reasons in service.decided} == {"hold", "up"}


def test_a_restart_begins_the_runs_anew_and_keeps_the_cooldowns() -> None:
    service = Service()
    service.cycle(START, 4, queue_depth=500.0)
    service.cycle(START + 55, 4, queue_depth=500.0)
    service.state = service.state.restarted()
    service.cycle(START + 60, 4, {"restarted": True}, queue_depth=500.0)
    service.cycle(START + 120, 4, queue_depth=500.0)
    assert [action for action, _to, _reasons in service.decided] == ["hold", "hold", "hold", "up"]
    assert again(service) == service.decided


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_was_set_is_no_time_that_went_by(seconds: float) -> None:
    service = Service()
    service.cycle(START, 4, queue_depth=500.0)
    service.state = service.state.shifted(seconds)
    service.cycle(START + seconds + 5, 4, {"clock_stepped": seconds}, queue_depth=500.0)
    service.cycle(START + seconds + 60, 4, queue_depth=500.0)
    assert [action for action, _to, _reasons in service.decided] == ["hold", "hold", "up"]
    assert again(service) == service.decided


def test_a_decision_that_failed_begins_no_cooldown() -> None:
    service = Service()
    service.cycle(START, 4, queue_depth=0.0, wait_time=60.0)
    service.withdraw()
    service.cycle(START + 5, 4, {"withdrawn": True}, queue_depth=0.0, wait_time=60.0)
    assert [action for action, _to, _reasons in service.decided] == ["up", "up"]
    assert again(service) == service.decided


def test_a_lost_state_is_replayed_as_cautiously_as_the_service_went_on() -> None:
    service = Service()
    service.state = State(last_up=START, last_down=START)
    service.cycle(START, 4, {"restarted": True, "state_lost": True}, queue_depth=0.0, wait_time=60.0)
    assert service.decided[0][0] == "hold"
    assert again(service) == service.decided


def test_target_mode_is_replayed_too() -> None:
    service = Service(TARGET)
    for cycle in range(30):
        service.cycle(START + 5 * cycle, 4, queue_depth=20.0 * cycle, running=4.0, processed_total=20.0 * cycle)
    assert again(service) == service.decided


def test_events_in_a_log_are_passed_over() -> None:
    service = Service()
    service.cycle(START, 4, queue_depth=0.0)
    service.log.insert(0, json.dumps({"at": START, "event": "started", "mode": "act"}))
    assert again(service) == service.decided


def test_one_fleet_of_several_is_chosen() -> None:
    service = Service()
    service.cycle(START, 4, queue_depth=0.0)
    other = json.dumps({"at": START, "fleet": "mail", "workers": 9, "metrics": {}})
    service.log = [other, *service.log, other]
    assert again(service, "web") == service.decided
    with pytest.raises(OperationError, match=r"line 2 .*'web'.*--fleet"):
        again(service)


def test_keys_that_nobody_knows_are_passed_over() -> None:
    line = {"at": 5, "workers": 4, "draining": ["web-3"], "unknown": 7, "zone": "a", "metrics": {"queue_depth": 0}}
    (answer,) = replay(STEPS, [json.dumps(line)])
    assert set(json.loads(answer)) == {"at", "action", "from", "to", "reasons"}


def test_an_event_that_names_workers_is_none() -> None:
    event = {"at": 1, "event": "stuck", "fleet": "web", "workers": {"celery-worker-web@1.service": 12.0}}
    assert list(replay(parse_policy({}), [json.dumps(event)])) == []


def test_a_line_with_workers_is_answered_whatever_else_it_has() -> None:
    (answer,) = replay(parse_policy({}), ['{"at": 1, "workers": 4, "event": "x"}'])
    assert json.loads(answer)["from"] == 4


@pytest.mark.parametrize(
    "line",
    [
        '{"at": 1, "workers": 1000000000000000000000}',
        '{"at": 1, "workers": "4"}',
        '{"at": 1, "metrics": "ready"}',
        '{"at": 1, "metrics": []}',
        '{"at": null, "workers": 4}',
        'host celery-autoscaler[812]: {"at": "noon", "workers": 4}',
    ],
)
def test_an_observation_with_wrong_values_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(OperationError, match="line 1 of the observations"):
        list(replay(parse_policy({"target": {"wait_time": "30s"}}), [line]))


@pytest.mark.parametrize(
    "line",
    [
        "    {**self.defaults, **given}",
        "{",
        "{'at': 1, 'workers': 3}",
        "[1, 2]",
        "[]",
        "[" * 100_000,
        '{"a": ' * 100_000,
        '{"at": 1, "workers": 4, "metrics": {"queue_de',
        '{"metrics": "ready", "level": "info"}',
        '{"workers": ["a"], "msg": "x"}',
        '{"at": "2026-01-01 12:00:00,123", "msg": "x"}',
        '{"at": null, "msg": "x"}',
        '{"starting": "nginx"}',
        '{"event": "x", "at": 1, "workers": null, "metrics": null}',
        '{"event": "x", "at": 1, "workers": ["a"], "metrics": "ready"}',
    ],
)
@pytest.mark.parametrize("before", ["", "Nov 28 12:00:05 app1 celery-autoscaler[812]: "])
def test_a_line_that_is_no_observation_is_passed_over(before: str, line: str) -> None:
    good = '{"at": 1, "workers": 4, "metrics": {"queue_depth": 0}}'
    passed = Passed()
    assert len(list(replay(STEPS, [good, before + line, good], passed=passed))) == 2
    assert (passed.decided, passed.over) == (2, 1)
