# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus takes the files of monitoring/, its rules say what they are to, and it answers each panel."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import dashboards
import documented
from muejam_bed.prometheus import Prometheus, installed, prometheus_running
from muejam_bed.shell import wait_until

# Tests are imported by path (importmode=importlib), so a module beside them must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))

from exporting import Exporting

MONITORING = documented.CHECKOUT / "monitoring"
PAGE = documented.CHECKOUT / "docs" / "monitoring.md"
OF_THE_EXPORTER = {
    "17509": {
        "Workers": "count(celery_worker_up{JOB} == 1)",
        "Tasks Active": "sum(celery_worker_tasks_active{JOB})",
        "Tasks received by workers": "sum(round(increase(celery_task_received_total{QUEUE}[1m])))",
        "Tasks Success Rate": "sum(increase(celery_task_succeeded_total{QUEUE}[1m])) / (sum(increase("
        "celery_task_succeeded_total{QUEUE}[1m])) + sum(increase(celery_task_failed_total{QUEUE}[1m])))",
        "Average Runtime for Tasks": "sum(rate(celery_task_runtime_sum{QUEUE}[1m]))"
        " / sum(rate(celery_task_runtime_count{QUEUE}[1m])) > 0",
        "Top Failed Tasks": "round(sum by (name) (increase(celery_task_failed_total{QUEUE}[1m]) > 0))",
        "Top Task Exceptions": "round(sum by (exception) (increase(celery_task_failed_total{QUEUE}[1m])) > 0)",
        "Top Average Task Runtime": "sum by (name) (rate(celery_task_runtime_sum{QUEUE}[1m]))"
        " / sum by (name) (rate(celery_task_runtime_count{QUEUE}[1m])) > 0",
        "Queue Length": "sum by (job, queue_name) (celery_queue_length{QUEUE})",
        "Task Stats": "sum by (job) (round(increase(celery_task_STATE_total{QUEUE}[1m]))) > 0",
        "Tasks completed": "sum(round(increase(celery_task_STATE_total{QUEUE}[1m])))",
        "Tasks Runtime": "histogram_quantile(0.5, sum by (job, le) (irate(celery_task_runtime_bucket{QUEUE}[1m]) > 0))",
    },
    "17508": {
        "Task Stats": "sum by (name) (round(increase(celery_task_STATE_total{TASK}[1m]))) > 0",
        "Task Exceptions": "round(sum by (name, exception) (increase(celery_task_failed_total{TASK}[1m])) > 0)",
        "Tasks completed": "sum by (name) (round(increase(celery_task_STATE_total{TASK}[1m])))",
        "Tasks Runtime": "histogram_quantile(0.5,"
        " sum by (name, job, le) (irate(celery_task_runtime_bucket{TASK}[1m]) > 0))",
    },
}
"""What the panels of two public dashboards made for celery-exporter ask, by their titles; with a minute for a week."""
STATES = ("succeeded", "failed", "received", "rejected", "retried", "revoked")
OF_GRAFANA = {"$__rate_interval": "1m", "$fleet": ".*", "$instance": ".*", "$task": ".*", "$worker": ".*"}


def promtool(*arguments: str | Path) -> None:
    """Run promtool, which is to find nothing wrong."""
    command = [installed("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[tuple[str, str]]:
    """Every query of the dashboards as Grafana sends it, with where it stands."""
    found = [
        (f"{name}: {panel.title}: {legend}", query)
        for name, dashboard in dashboards.DASHBOARDS.items()
        for row in dashboard.rows.values()
        for panel in row
        for legend, query in panel.queries.items()
    ]
    found += [
        (f"annotation {name}", f"increase({counter}[1m]) > 0") for name, _c, counter, _t in dashboards.ANNOTATIONS
    ]
    found += [(f"annotation {name}", f"{gauge} > 0") for name, _c, gauge, _t in dashboards.TIMES]
    return [(where, as_sent(dashboards.chosen(query))) for where, query in found]


def as_sent(query: str) -> str:
    for variable, value in OF_GRAFANA.items():
        query = query.replace(variable, value)
    return query


def answered_by_a_young_one(query: str) -> str:
    """The query of a Prometheus that has not seen an hour."""
    return query.replace("offset 1h", "offset 1s")


def configuration(ports: list[int]) -> dict[str, Any]:
    """monitoring/prometheus.yml with its rules in place and these autoscalers, all of it quicker."""
    config: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    job["scrape_interval"] = "1s"
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    rules = [str(MONITORING / name) for name in config["rule_files"]]
    return {**config, "global": {"evaluation_interval": "1s"}, "rule_files": rules}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped two hosts with the same fleets for a while."""
    folder = tmp_path_factory.mktemp("monitoring")
    hosts = [Exporting(name, folder) for name in ("app1", "app2")]
    with prometheus_running(folder, configuration([host.port for host in hosts])) as server:

        def scraped_again() -> bool:
            for host in hosts:
                host.look()
            return (server.value("min(count_over_time(celery_autoscaler_interval_seconds[1m]))") or 0) >= 4

        wait_until(scraped_again, 60, lambda: server.ask("up"), every=1)
        yield server


def test_promtool_finds_no_fault() -> None:
    promtool("check", "config", MONITORING / "prometheus.yml")


def test_rules_fire_when_they_are_to_and_not_otherwise() -> None:
    promtool("test", "rules", MONITORING / "alerts_test.yml")


def test_queries_of_dashboards_can_be_read(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": query} for place, (_where, query) in enumerate(queries())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", file)


def test_the_growth_of_memory_is_of_workers_that_have_run_for_an_hour(tmp_path: Path) -> None:
    (query,) = (query for where, query in queries() if ": Growth of memory in an hour: " in where)
    rules = tmp_path / "panel.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "panel", "rules": [{"record": "growth", "expr": query}]}]}))
    # Bytes, CPU seconds and tasks of each minute for two hours.
    series = {
        "leaks": ("1000000+10000x120", "0+6x120", "0+1x120"),
        "stays": ("1000000+0x120", "0+6x120", "0+1x120"),
        "new": ("_x100 1000+50000x20", "_x100 0+6x20", "_x100 0+1x20"),
        "restarted": ("1000000+10000x99 1000+50000x20", "0+6x99 0+6x20", "0+1x99 0+1x20"),
    }
    names = ("memory_bytes", "cpu_seconds_total", "tasks_processed_total")
    labels = 'fleet="web", instance="app1:9541", worker='
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f'celery_worker_{name}{{{labels}"{worker}"}}', "values": values}
            for worker, each in series.items()
            for name, values in zip(names, each)
        ],
        "promql_expr_test": [
            {
                "expr": "round(growth)",
                "eval_time": "2h",
                "exp_samples": [
                    {"labels": f'{{{labels}"{worker}"}}', "value": value}
                    for worker, value in (("leaks", 600000), ("stays", 0))
                ],
            }
        ],
    }
    file = tmp_path / "panel_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", file)


def test_each_query_of_a_dashboard_is_answered(prometheus: Prometheus) -> None:
    empty = [where for where, query in queries() if not prometheus.ask(answered_by_a_young_one(query))]
    assert empty == []


def test_rules_are_evaluated_without_errors_where_two_hosts_have_the_same_fleets(prometheus: Prometheus) -> None:
    def evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in prometheus.rules())

    wait_until(evaluated, 60, prometheus.rules)
    assert [(rule["name"], rule["lastError"]) for rule in prometheus.rules() if rule["health"] != "ok"] == []
    named = {rule["name"] for rule in prometheus.rules() if rule["type"] == "recording"}
    assert [name for name in sorted(named) if not prometheus.ask(name)] == []


def selectors() -> set[tuple[str, str]]:
    """What alerts and their texts ask for, with the alert that does; of several values of a label each by itself."""
    found = set()
    for rule in documented.alerts():
        texts = [rule["expr"], *rule["annotations"].values()]
        asked = "\n".join(texts).replace("='%s'", "=~'.+'")
        for name, labels in re.findall(r"\b(celery_\w+|up\b)(\{[^{}]*\})?", asked):
            several = re.search(r"\w+(?:\|\w+)+", labels)
            for one in several[0].split("|") if several else [""]:
                found.add((rule["alert"], name + (labels.replace(several[0], one) if several else labels)))
    return found


# What a text says in words: the setting of the service, no series of it.
NOT_SERIES = {("CeleryWorkerStuck", "celery_autoscaler_stuck_after")}


def test_all_that_alerts_ask_for_is_exported(prometheus: Prometheus) -> None:
    asked = selectors()
    assert asked >= NOT_SERIES
    assert ("CeleryNoWorker", 'celery_workers{state=~"ending"}') in asked
    assert [one for one in sorted(asked - NOT_SERIES) if not prometheus.ask(one[1])] == []


def test_names_of_the_exporter_have_its_labels(prometheus: Prometheus) -> None:
    labels = 'name="shop.mail", queue_name="celery"'
    assert prometheus.value(f"min(celery_task_succeeded_total{{{labels}}})") == prometheus.value(
        "min(celery_task_succeeded_total)"
    )
    assert prometheus.ask(f"celery_task_runtime_bucket{{{labels}, le='1.0'}}")
    # Two fleets of three workers on two hosts, each there once.
    assert prometheus.value('count(celery_worker_up{hostname=~".+"} == 1)') == 12
    assert prometheus.value('count(celery_worker_tasks_active{hostname=~".+"})') == 12
    assert prometheus.value('count(celery_queue_length{queue_name="celery", queue="celery"})') == 2


@pytest.mark.parametrize(
    ("dashboard", "panel"), [(dashboard, panel) for dashboard, panels in OF_THE_EXPORTER.items() for panel in panels]
)
def test_panels_of_the_exporters_dashboards(prometheus: Prometheus, dashboard: str, panel: str) -> None:
    query = OF_THE_EXPORTER[dashboard][panel]
    job = 'job="celery-autoscaler"'
    for variable, labels in (
        ("JOB", job),
        ("QUEUE", f'{job}, queue_name=~".+"'),
        ("TASK", 'name=~"shop.mail"'),
    ):
        query = query.replace(f"{{{variable}}}", f"{{{labels}}}")
    told_by_state = "STATE" in query
    for state in STATES if told_by_state else ("",):
        answer = prometheus.ask(query.replace("STATE", state))
        assert answer, state
        # The two that do not work have nothing to tell exceptions apart by.
        assert not [labels for labels, _value in answer if labels.get("exception")]
    if told_by_state:
        assert prometheus.ask(query.replace("STATE", "sent")) == []
    (row,) = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {dashboard}, "))
    assert panel in row
