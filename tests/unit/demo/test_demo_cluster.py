# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo in a cluster reads of KEDA, and how it compares its two runs."""

from __future__ import annotations

import json
from pathlib import Path

import cluster_watch
import pytest
from celery_demo import ledger
from muejam_demo import plan
from muejam_demo.comparison import Comparison, Run
from muejam_demo.recording import record

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import ManifestOptions, translate

INVENTORY = Path(plan.__file__).resolve().parents[1] / "cluster.yml"
BENCHMARK = Path(plan.__file__).resolve().parents[2] / "tests/benchmark/keda.yml"
BEGIN = 1000.0


def hpa(current: int, desired: int, average: str = "37500m", **conditions: tuple[str, str, str]) -> dict:
    said = {"ScalingActive": ("True", "ValidMetricFound", "it is read"), **conditions}
    return {
        "spec": {"metrics": [{"external": {"target": {"averageValue": "20"}}}]},
        "status": {
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": [{"external": {"current": {"averageValue": average}}}],
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": message}
                for kind, (status, reason, message) in said.items()
            ],
        },
    }


def test_an_hpa_is_told_in_the_words_of_a_decision():
    limited = ("True", "ScaleUpLimit", "not so fast")
    said = cluster_watch.decision(hpa(2, 7, ScalingLimited=limited, AbleToScale=("True", "SucceededRescale", "x")), 1.0)
    assert said == {
        "at": 1.0,
        "action": "up",
        "from": 2,
        "to": 7,
        "reasons": ["37.5 messages for each worker, wanted are 20", "not so fast"],
    }
    assert (cluster_watch.decision(hpa(2, 2, "3"), 1.0) or {})["action"] == "hold"


@pytest.mark.parametrize(
    "unread",
    [
        {"spec": {}},
        {"spec": {}, "status": {"desiredReplicas": 0}},
        hpa(2, 2, ScalingActive=("False", "FailedGetExternalMetric", "no")),
    ],
)
def test_an_hpa_that_read_nothing_has_decided_nothing(unread: dict):
    assert cluster_watch.decision(unread, 1.0) is None


class Api:
    namespace = "n"

    def __init__(self, *answers: dict) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get(self, path: str) -> dict:
        self.asked.append(path)
        return self.answers.pop(0)


def test_changes_are_seen_between_two_looks():
    # An HPA says what it wants when the pods are already told, so its own "current" has no change in it.
    api = Api({"spec": {}}, hpa(2, 2), hpa(7, 7), hpa(7, 7), hpa(7, 5))
    decisions = cluster_watch.DecisionsOfKeda(api, clock=lambda: 5.0)
    assert decisions.told() == (None, "the HPA of KEDA has not read the queue yet")
    assert [decisions.told()[0]["to"] for _look in range(4)] == [2, 7, 7, 5]
    assert [(each["action"], each["from"], each["to"]) for each in decisions.changes] == [("up", 2, 7), ("down", 7, 5)]
    assert api.asked[0].endswith("/namespaces/n/horizontalpodautoscalers/keda-hpa-celery-worker-demo-scaler")


def test_the_ledger_of_pods_is_a_list_in_redis(monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []

    class Redis:
        def rpush(self, name: str, line: str) -> None:
            assert name == ledger.LIST
            lines.append(line)

        def llen(self, name: str) -> int:
            return len(lines)

    monkeypatch.setattr(ledger, "of_redis", lambda url: Redis())
    monkeypatch.setenv("DEMO_LEDGER", "redis://127.0.0.1:1/1")
    noted = ledger.Entry("a", "t", 1.0, 2.0, 3.0, "n@h", 5)
    ledger.append(noted)
    assert list(ledger.parse(lines)) == [noted]
    assert cluster_watch.LedgerOfPods("redis://127.0.0.1:1/1").count() == 1


def test_the_inventory_has_a_sound_policy():
    fleet = plan.fleet(INVENTORY)
    assert 1 <= fleet.floor < fleet.ceiling
    assert plan.in_words(fleet.policy)


def test_the_benchmark_against_keda_has_the_briefs_scaled_object():
    described = plan.load_document(str(BENCHMARK), "an inventory")["celery_workers"]["vars"]["celery_worker_fleets"][0]
    options = ManifestOptions(
        workload="celery-worker", broker_url="redis://redis:6379/0", **described["autoscaling_options"]
    )
    [made] = translate(plan.fleet(BENCHMARK).policy, "keda", options, BEGIN).manifests
    metadata = {"address": "redis:6379", "listName": "celery", "listLength": "50", "databaseIndex": "0"}
    assert made["spec"] == {
        "scaleTargetRef": {"name": "celery-worker"},
        "minReplicaCount": 2,
        "maxReplicaCount": 20,
        "pollingInterval": 30,
        "cooldownPeriod": 300,
        "triggers": [{"type": "redis", "metadata": metadata}],
    }


def test_tasks_of_one_priority_are_asked_for():
    assert "--priority" not in plan.CLUSTER_LOAD.options()
    load = plan.Load(0, 600, 0, 1.0, 0.0, 1.0, 1.0, priorities=(1,))
    assert load.options()[-2:] == ("--priority", "1")


def test_when_a_task_ran_first_on_a_new_worker():
    def ran(number: int, node: str, started: float) -> str:
        return json.dumps(
            {"id": str(number), "node": node, "sent": BEGIN, "started": BEGIN + started, "ended": BEGIN + started + 1}
        )

    old = {"at": BEGIN - 1, "waiting": {"0": 0}, "workers": [{"name": "a@1", "state": "consuming"}]}
    problem = {"at": BEGIN - 0.5, "problem": "no answer"}
    begun = {"at": BEGIN + 1, "waiting": {"0": 0}, "workers": []}
    lines = [ran(1, "a@1", 0.1), ran(2, "a@2", 7.5), ran(3, "a@3", 9.0)]
    assert record(lines, [old, problem, begun], (), ()).first_new == 7.5
    assert record(lines[:1], [old, begun], (), ()).first_new is None
    assert record(lines, [begun], (), ()).first_new is None


def run(autoscaling: str, *pods: int, lost: tuple[str, ...] = ()) -> Run:
    tasks = [
        json.dumps({"id": str(one), "sent": BEGIN + one, "started": BEGIN + one + 1, "ended": BEGIN + one + 2})
        for one in range(3)
    ]
    readings = [
        {"at": BEGIN + 10 * place, "waiting": {"0": 0}, "workers": [{"state": "consuming"}] * number}
        for place, number in enumerate(pods)
    ]
    change = {"at": BEGIN + 5, "action": "up", "from": 2, "to": 4, "reasons": ["because"]}
    found = {"sent": 3, "done": 3, "lost": list(lost), "twice": [], "unknown": [], "waits": {"p50": 1.0, "p95": 1.5}}
    return Run(autoscaling, record(tasks, readings, [json.dumps(change)], ()), found)


@pytest.fixture
def compared() -> Comparison:
    runs = [run("keda", 2, 4, 4, 2), run("policy", 2, 4, 2)]
    return Comparison(runs, plan.fleet(INVENTORY), plan.CLUSTER_LOAD)


def test_what_both_cost_is_compared_over_the_same_time(compared: Comparison):
    keda, policy = (compared.summary(each) for each in compared.runs)
    # In the last 10 s it stays at its minimum of 2.
    assert (keda["worker-seconds"], policy["worker-seconds"]) == ("100", "80")
    assert (keda["back at 2"], policy["back at 2"]) == ("30 s", "20 s")
    assert keda["lost"] == policy["lost"] == "0"
    assert compared.verdict().startswith("6 tasks: 0 lost, 0 run twice. KEDA: 95 % waited under 1.5 s, 100 worker-")


def test_faults_are_lost_tasks_and_a_fleet_that_did_not_grow(compared: Comparison):
    assert compared.faults() == ""
    wrong = Comparison([run("keda", 2, 4, 2, lost=("a",)), run("policy", 2, 2)], compared.fleet, compared.load).faults()
    assert "KEDA (keda): 1 lost: ['a']" in wrong
    assert "muejam.celery (policy): the fleet was never grown" in wrong


def test_the_page_has_both_runs_and_what_flatters_whom(compared: Comparison, tmp_path: Path):
    page, picture = compared.write(tmp_path)
    text = page.read_text()
    for said in (
        "KEDA (keda)",
        "muejam.celery (policy)",
        "this flatters KEDA",
        "after 5 s from 2 to 4 workers: because",
    ):
        assert said in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert compared.table().row_count == len(compared.summary(compared.runs[0]))
