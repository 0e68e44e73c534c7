# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a fleet is said not to scale up: each cause, each that only looks like it, and what nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest
from gathered import NOW, failed, firing, gathered, status, verdict, worker

from ansible_collections.muejam.celery.plugins.filter.diagnose import fleet_diagnosis
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

POLICY = {"limits": {"min_workers": 1, "max_workers": 8}}
IDLE = [worker(1), worker(2, active=0)]
GONE = failed("Could not read the status of the autoscaler: there is no /run/x: it does not run. See systemctl.")
PAUSE = {"workers": 2, "until": NOW + 60, "by": "alice"}


def of(found: dict[str, Any], **more: Any) -> dict[str, Any]:
    return verdict("not_scaling_up", found, more.get("policy", POLICY), more.get("described", True))


def window(ceiling: int, name: str | None = None) -> dict[str, Any]:
    return {"window": {"name": name, "min_workers": 1, "max_workers": ceiling, "until": None}}


def paused(until: float | None) -> dict[str, Any]:
    found = gathered(5)
    found["reading"]["pause"] = {**PAUSE, "until": until}
    return found


def untaken() -> dict[str, Any]:
    found = gathered(5, IDLE)
    found["workers"]["workers"] = [{"name": "web-1@app1", "queues": ["wbe"]}, {"name": "web-2@app1", "queues": []}]
    return found


@pytest.mark.parametrize(
    ("found", "says", "runbook"),
    [
        (gathered(5, fleet=status(**window(2))), "all of the 2 workers that it may have (the limits)", "at-ceiling"),
        (gathered(1, fleet=status(**window(1, "night"))), "(window night)", "at-ceiling"),
        # Between two short tasks a worker is idle for a moment.
        (gathered(5, IDLE, fleet=status(**window(2))), "all of the 2 workers", "at-ceiling"),
        (paused(NOW + 60), "it is paused at 2 (by alice)", "at-ceiling"),
        (paused(None), "it is paused at 2", "at-ceiling"),
        (gathered(5, status=GONE), "it does not run", "autoscaler-gone"),
        (gathered(5, service={"at": NOW - 26}), "last looked 26 s ago", "autoscaler-blind"),
        (gathered(5, fleet=status(fleet="mail")), "does not know this fleet", "autoscaler-blind"),
        (
            gathered(5, fleet=status(withdrawn=True, to=4, action="up", errors={"scale": 3})),
            "2 -> 4, could not be done (failed 3 times scale)",
            "scaling-fails",
        ),
        (
            gathered(5, fleet=status(action="up", to=4), service={"mode": "advise"}),
            "mode advise: it would go",
            "not-scal",
        ),
        (
            gathered(5, fleet=status(action="up", to=4, withdrawn=True), service={"mode": "advise"}),
            "mode advise: it would go from 2 to 4",
            "not-scaling-up",
        ),
        (gathered(5, fleet=status(let_go="keda")), "has let go of it, to keda", "not-scaling-up"),
        (
            gathered(5, [worker(1), worker(2, phase="down", state="failed, exit-code")]),
            "1 worker of those that are wanted do not run: web-2@app1 (failed, exit-code)",
            "workers-not-consuming",
        ),
        (gathered(5, [worker(1, phase="down")]), "web-1@app1 (down)", "celery-no-worker"),
        (gathered(5, []), "no worker that takes tasks", "celery-no-worker"),
        (gathered(5, fleet=status(stuck={"web-1@app1": 400.0})), "web-1@app1 for 7 min: they do not", "worker-stuck"),
        (untaken(), "no worker takes from web, in which tasks wait", "worker-stuck"),
        (
            gathered(5, fleet=status(metrics={"queue_depth": 5.0, "wait_time": 31.0})),
            "waits for 31 s, and the policy promises 30 s",
            "wait-over-promise",
        ),
        (
            gathered(
                5,
                fleet=status(
                    metrics={"queue_depth": 5.0, "wait_time": 90.0}, bounds={"wait_time": {"at_least": 40.0, "why": ""}}
                ),
            ),
            "waits for 40 s",
            "wait-over-promise",
        ),
        (gathered(5, alerts=firing("CeleryNoWorker")), "the alert CeleryNoWorker fires", "celery-no-worker"),
    ],
)
def test_it_is_there(found: dict[str, Any], says: str, runbook: str) -> None:
    told = of(found)
    assert told["verdict"] == "yes", told
    assert says in told["says"]
    assert runbook in told["runbook"]
    assert told["next_step"].endswith(".")
    assert told["evidence"]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (gathered(0), "no task waits"),
        (gathered(0, status=GONE), "no task waits"),
        (gathered(5, fleet=status(action="up", to=4)), "it grows, from 2 to 4 workers"),
        (gathered(5), "asks for no more workers now"),
        (gathered(5, [worker(1), worker(2), worker(3, phase="starting")]), "1 worker is on the way up"),
        # The idle worker takes what waits.
        (gathered(1, IDLE, fleet=status(**window(2))), "asks for no more"),
        # One fewer than the ceiling is not at it, and a pause that is over holds nobody.
        (gathered(5, fleet=status(**window(3))), "asks for no more"),
        (paused(NOW), "asks for no more"),
        # At the promise it is kept.
        (gathered(5, fleet=status(metrics={"queue_depth": 5.0, "wait_time": 30.0})), "asks for no more"),
        # What is late by three intervals and ten seconds is not late yet.
        (gathered(5, service={"at": NOW - 25}), "asks for no more"),
    ],
)
def test_it_is_not_there(found: dict[str, Any], says: str) -> None:
    told = of(found)
    assert told["verdict"] == "no", told
    assert says in told["says"]
    assert told["next_step"] == ""


def test_a_fleet_without_a_policy_is_nobodys_while_all_are_busy() -> None:
    nobody = status(policy=False)
    for key in ("action", "from", "to", "reasons", "window", "promised_wait"):
        nobody.pop(key)
    busy, idle = (of(gathered(5, workers, fleet=nobody), policy=None) for workers in ((), IDLE))
    assert busy["verdict"] == "yes"
    assert "nobody scales it" in busy["says"]
    # One of two, with five tasks waiting, may be idle for a moment only.
    assert (idle["verdict"], "between two tasks" in idle["says"]) == ("cannot tell", True)
    for waiting, workers in ((1, IDLE), (5, [worker(1, active=0), worker(2, active=0)])):
        assert of(gathered(waiting, workers, fleet=nobody), policy=None)["verdict"] == "no"
    # Nor is it where no autoscaler was ever deployed.
    alone = of(gathered(5, status=failed("")), policy=None)
    assert (alone["verdict"], "nobody scales it" in alone["says"]) == ("yes", True)
    unheard = of(gathered(5, [worker(1, active=None)], fleet=nobody), policy=None)
    assert unheard["verdict"] == "cannot tell"
    observed = status(policy=True)
    for key in ("action", "from", "to", "reasons"):
        observed.pop(key)
    told = of(gathered(5, fleet=observed, service={"mode": "observe"}))
    assert (told["verdict"], "mode observe" in told["says"]) == ("yes", True)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            gathered(None, fleet=status(metrics={}, unknown={"queue_depth": "redis:6379: Connection refused"})),
            "Connection refused",
        ),
        (gathered(5, None), "the workers are not known: systemd hangs"),
    ],
)
def test_nobody_can_tell(found: dict[str, Any], says: str) -> None:
    told = of(found)
    assert told["verdict"] == "cannot tell", told
    assert says in told["says"]
    assert told["next_step"].endswith(".")


def test_a_worker_that_does_not_answer_may_take_from_the_queue() -> None:
    found = untaken()
    found["workers"]["workers"][1]["queues"] = None
    assert of(found)["verdict"] == "no"


def test_without_a_broker_url_what_the_autoscaler_saw_counts() -> None:
    found = gathered(fleet=status(metrics={"queue_depth": 7.0}, **window(2)), queues={"skipped": True})
    assert of(found)["evidence"][0] == "7 tasks wait"
    assert of({**found, "status": GONE})["verdict"] == "cannot tell"
    assert "no broker_url" in of({**found, "status": GONE})["says"]


def test_the_broker_now_counts_before_what_was_seen_last() -> None:
    assert of(gathered(0, fleet=status(metrics={"queue_depth": 7.0}, **window(2))))["verdict"] == "no"


def test_where_no_autoscaler_is_deployed_somebody_else_may_decide() -> None:
    told = of(gathered(5, status=failed("")))
    assert told["verdict"] == "cannot tell"
    assert "no autoscaler is deployed here" in told["says"]
    assert "scheduled run" in told["next_step"]
    # The bounds of the policy hold for whoever does.
    assert (
        of(gathered(5, status=failed("")), policy={"limits": {"max_workers": 2, "min_workers": 1}})["verdict"] == "yes"
    )
    assert of(gathered(5, IDLE, status=failed("")))["verdict"] == "cannot tell"
    assert of(gathered(2, [worker(1, active=0), worker(2, active=0)], status=failed("")))["verdict"] == "no"


def test_several_causes_are_all_told() -> None:
    told = of(gathered(5, [worker(1), worker(2, phase="down")], fleet=status(**window(2))))
    assert "that it may have" in told["says"]
    assert any(line.startswith("also: 1 worker of those") for line in told["evidence"])


def test_reasons_of_the_engine_are_understood() -> None:
    policy = parse_policy({**POLICY, "scale_up": {"any": [{"metric": "cpu", "above": 80}]}})
    seen = Observation(NOW, 2, metrics={"queue_depth": 5.0}, unknown={"cpu": "no control group"})
    decided, _state = decide(policy, State(), seen)
    told = of(gathered(5, fleet=status(reasons=list(decided.reasons), unknown=dict(seen.unknown))))
    assert "it decides on what is not known: cpu: no control group" in told["says"]
    assert "metric-unknown" in told["runbook"]


def in_cluster(waiting: int, wanted: int, **changes: Any) -> dict[str, Any]:
    found = gathered(waiting, status={}, history={}, journal={}, in_cluster=True)
    found["reading"].update(wanted_workers=wanted, **changes)
    return found


def test_in_a_cluster_it_goes_by_pods_and_the_policy_of_the_inventory() -> None:
    assert "all of the 8 workers" in of(in_cluster(5, 8))["says"]
    assert of(in_cluster(5, 8))["verdict"] == "yes"
    assert of(in_cluster(0, 8))["verdict"] == "no"
    gone = of(in_cluster(5, 2, owned_by_daemon=False))
    assert (gone["verdict"], gone["says"]) == ("yes", "no autoscaler holds the Lease for it")
    unknown = of(in_cluster(5, 2))
    assert unknown["verdict"] == "cannot tell"
    assert "kubectl logs" in unknown["next_step"]
    # KEDA sizes it, and no daemon is wanted.
    assert of(in_cluster(5, 2, owned_by_daemon=False, scaled_by="keda"))["verdict"] == "cannot tell"


@pytest.mark.parametrize(
    "broken", [{"reading": {}}, {"status": {"rc": 0, "stdout": "[]", "stderr": ""}}, {"workers": 3}]
)
def test_one_fleet_that_cannot_be_read_leaves_the_others_their_diagnosis(broken: dict[str, Any]) -> None:
    told = fleet_diagnosis({**gathered(5), **broken}, "web", POLICY)
    assert {each["verdict"] for each in told.values()} <= {"cannot tell", "yes", "no"}
    unread = fleet_diagnosis({**gathered(5), "reading": {}}, "web", POLICY)
    assert {each["verdict"] for each in unread.values()} == {"cannot tell"}
    assert "cannot be read (KeyError: 'at')" in unread["memory_leak"]["says"]
