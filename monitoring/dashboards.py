# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the dashboards of Grafana beside this file, from tables: one row is one panel.

Needs Python alone: C(python3 monitoring/dashboards.py). In a query C({F}) stands for the fleets and autoscalers that
were chosen, C({T}) for the tasks besides, C({W}) for the workers, C({Q}) for queues, which belong to no fleet. More
labels may follow: C({F,state="consuming"}).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"

_CHOSEN = {
    "Q": 'instance=~"$instance"',
    "F": 'fleet=~"$fleet", instance=~"$instance"',
    "T": 'fleet=~"$fleet", instance=~"$instance", task=~"$task"',
    "W": 'fleet=~"$fleet", instance=~"$instance", worker=~"$worker"',
}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_LINKS = {
    "type": "dashboards",
    "title": "Celery",
    "tags": ["celery"],
    "icon": "external link",
    "tooltip": "",
    "targetBlank": False,
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
}
_STAT = {
    "reduceOptions": {"calcs": ["lastNotNull"]},
    "colorMode": "value",
    "graphMode": "area",
    "justifyMode": "auto",
    "orientation": "auto",
    "textMode": "auto",
    "wideLayout": True,
    "showPercentChange": False,
    "percentChangeColorMode": "standard",
}

PER_SECOND = "suffix: /s"
SHARE = "percentunit"
SECONDS = "s"
BYTES = "bytes"
COUNT = "short"


@dataclass(frozen=True)
class Panel:
    """One panel.

    :ivar queries: PromQL by legend.
    :ivar unit: Grafana's name of it.
    :ivar width: of 24.
    :ivar kind: C(timeseries), C(stat) or C(table).
    :ivar red: from which value on a C(stat) is red.
    :ivar note: what a reader has to know.
    """

    title: str
    unit: str
    queries: Mapping[str, str]
    width: int = 12
    kind: str = "timeseries"
    stacked: bool = False
    red: float | None = None
    note: str = ""

    @property
    def height(self) -> int:
        """In Grafana's rows."""
        return 4 if self.kind == "stat" else 8


@dataclass(frozen=True)
class Dashboard:
    """One dashboard: panels under the titles of their rows, and which variables besides those that all have."""

    title: str
    rows: dict[str, tuple[Panel, ...]]
    variables: tuple[tuple[str, str], ...] = ()


def _stat(title: str, unit: str, query: str, red: float | None = None, note: str = "") -> Panel:
    return Panel(title, unit, {"": query}, 4, "stat", red=red, note=note)


def _share(of: str) -> str:
    """The query for the share of runs that C(celery_tasks_<of>_total) counts, by task."""
    return (
        f"sum by (task) (rate(celery_tasks_{of}_total{{T}}[$__rate_interval]))"
        " / sum by (task) (rate(celery_tasks_total{T}[$__rate_interval]))"
    )


def _took(share: str, by: str = "le") -> str:
    """The query for the run time that C(share) of the runs stay below."""
    seconds = f"sum by ({by}) (rate(celery_task_duration_seconds_bucket{{T}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {seconds})"


_WORKERS = Panel(
    "Workers, wanted workers, and the bounds in force",
    COUNT,
    {
        "{{fleet}} current": "sum by (fleet) (celery_autoscaler_current_workers{F})",
        "{{fleet}} desired": "sum by (fleet) (celery_autoscaler_desired_workers{F})",
        "{{fleet}} min": "sum by (fleet) (celery_autoscaler_min_workers{F})",
        "{{fleet}} max": "sum by (fleet) (celery_autoscaler_max_workers{F})",
    },
)

FLEETS = Dashboard(
    "Celery / Fleets",
    {
        "At a glance": (
            _stat("Tasks waiting", COUNT, "sum(max by (broker, queue) (celery_queue_length{Q}))"),
            _stat("Longest wait", SECONDS, "max(celery_task_wait_seconds{F})"),
            _stat("Workers consuming", COUNT, 'sum(celery_workers{F,state="consuming"})'),
            _stat("Workers busy", COUNT, "sum(celery_workers_active{F})"),
            _stat(
                "Runs that fail",
                SHARE,
                "sum(rate(celery_tasks_failed_total{F}[5m])) / sum(rate(celery_tasks_total{F}[5m]))",
                red=0.05,
            ),
            _stat(
                "Alerts",
                COUNT,
                'count(ALERTS{alertname=~"Celery.+", alertstate="firing"}) or vector(0)',
                red=1,
                note="Those of monitoring/alerts.yml that fire.",
            ),
        ),
        "Queues": (
            Panel(
                "Tasks waiting, by queue",
                COUNT,
                {"{{queue}} at {{broker}}": "max by (broker, queue) (celery_queue_length{Q})"},
                note="All priorities. Several autoscalers may look at one queue: it is counted once.",
            ),
            Panel(
                "Tasks waiting, by priority",
                COUNT,
                {"{{queue}} {{priority}}": "max by (broker, queue, priority) (celery_queue_priority_length{Q})"},
                stacked=True,
                note="As the broker counts priorities: on Redis 0 runs first.",
            ),
            Panel(
                "Wait of the oldest task",
                SECONDS,
                {
                    "{{fleet}}": "max by (fleet) (celery_task_wait_seconds{F})",
                    "{{fleet}} promised": "max by (fleet) (celery_autoscaler_promised_wait_seconds{F})",
                },
            ),
            Panel(
                "Tasks in hand",
                COUNT,
                {
                    "{{fleet}} running": "sum by (fleet) (celery_worker_tasks_active{F})",
                    "{{fleet}} fetched, not begun": "sum by (fleet) (celery_worker_tasks_reserved{F})",
                    "{{fleet}} not acknowledged": "max by (fleet) (celery_tasks_unacknowledged{F})",
                },
            ),
        ),
        "Workers": (
            _WORKERS,
            Panel(
                "Workers by state",
                COUNT,
                {"{{fleet}} {{state}}": "sum by (fleet, state) (celery_workers{F})"},
                stacked=True,
            ),
            Panel(
                "Consuming workers",
                COUNT,
                {
                    "{{fleet}} busy": "sum by (fleet) (celery_workers_active{F})",
                    "{{fleet}} idle": "sum by (fleet) (celery_workers_idle{F})",
                    "{{fleet}} do not tell": "sum by (fleet) (celery_workers_unknown{F})",
                    "{{fleet}} stuck": "sum by (fleet) (celery_workers_stuck{F})",
                },
                stacked=True,
            ),
            Panel(
                "CPU and memory used, of what is allowed",
                "percent",
                {
                    "{{fleet}} CPU": 'celery_autoscaler_metric{F,metric="cpu"}',
                    "{{fleet}} memory": 'celery_autoscaler_metric{F,metric="memory"}',
                },
            ),
        ),
        "The five usual questions, for all fleets": (
            Panel("Queue depth", COUNT, {"{{instance}}": 'celery_queue_length{queue="celery"}'}, 8),
            Panel("Task processing rate", PER_SECOND, {"{{fleet}} {{task}}": "rate(celery_tasks_total[5m])"}, 8),
            Panel("Active workers", COUNT, {"{{fleet}} {{instance}}": "celery_workers_active"}, 8),
            Panel(
                "Task duration P95",
                SECONDS,
                {"{{fleet}} {{task}}": "histogram_quantile(0.95, rate(celery_task_duration_seconds_bucket[5m]))"},
            ),
            Panel(
                "Task failure rate",
                SHARE,
                {"{{fleet}} {{task}}": "rate(celery_tasks_failed_total[5m]) / rate(celery_tasks_total[5m])"},
            ),
        ),
    },
)

TASKS = Dashboard(
    "Celery / Tasks",
    {
        "All chosen tasks": (
            Panel(
                "Runs, by what came of them",
                PER_SECOND,
                {
                    what.replace("_", " "): f"sum(rate(celery_tasks_{what}_total{{T}}[$__rate_interval]))"
                    for what in ("succeeded", "failed", "retried", "timed_out", "revoked", "rejected")
                },
                note="Those that timed out are failed ones as well. Needs task_events: true in the fleet.",
            ),
            Panel(
                "Run time of those that succeeded",
                SECONDS,
                {"p50": _took("0.5"), "p95": _took("0.95"), "p99": _took("0.99")},
            ),
            Panel(
                "Taken, begun, ended",
                PER_SECOND,
                {
                    "taken from a queue": "sum(rate(celery_tasks_received_total{T}[$__rate_interval]))",
                    "begun": "sum(rate(celery_tasks_started_total{T}[$__rate_interval]))",
                    "ended": "sum(rate(celery_tasks_total{T}[$__rate_interval]))",
                },
            ),
            Panel(
                "Runs that no event told of",
                PER_SECOND,
                {"{{fleet}}": "sum by (fleet) (rate(celery_task_events_missed_total{F}[$__rate_interval]))"},
                note="The other panels miss as many.",
            ),
        ),
        "By task": (
            Panel(
                "Runs that ended",
                PER_SECOND,
                {"{{task}}": "sum by (task) (rate(celery_tasks_total{T}[$__rate_interval]))"},
            ),
            Panel("Success", SHARE, {"{{task}}": _share("succeeded")}),
            Panel("Failures", SHARE, {"{{task}}": _share("failed")}, 8),
            Panel("Retries", SHARE, {"{{task}}": _share("retried")}, 8),
            Panel("Time limits exceeded", SHARE, {"{{task}}": _share("timed_out")}, 8),
            Panel("Run time p50", SECONDS, {"{{task}}": _took("0.5", "le, task")}, 8),
            Panel("Run time p95", SECONDS, {"{{task}}": _took("0.95", "le, task")}, 8),
            Panel("Run time p99", SECONDS, {"{{task}}": _took("0.99", "le, task")}, 8),
            Panel(
                "Time spent in a task, in workers",
                COUNT,
                {"{{task}}": "sum by (task) (rate(celery_task_duration_seconds_sum{T}[$__rate_interval]))"},
                stacked=True,
                note="How many pool processes are busy with it on average.",
            ),
            Panel(
                "Mean run time",
                SECONDS,
                {
                    "{{task}}": (
                        "sum by (task) (rate(celery_task_duration_seconds_sum{T}[$__rate_interval]))"
                        " / sum by (task) (rate(celery_task_duration_seconds_count{T}[$__rate_interval]))"
                    )
                },
            ),
        ),
    },
    (("task", 'label_values(celery_tasks_total{fleet=~"$fleet"}, task)'),),
)

WORKERS = Dashboard(
    "Celery / Workers",
    {
        "Each worker": (
            Panel(
                "CPU",
                COUNT,
                {"{{worker}}": "rate(celery_worker_cpu_seconds_total{W}[$__rate_interval])"},
                note="In cores.",
            ),
            Panel("Memory", BYTES, {"{{worker}}": "celery_worker_memory_bytes{W}"}),
            Panel(
                "Memory, of the worker's limit",
                SHARE,
                {"{{worker}}": "celery_worker_memory_bytes{W} / celery_worker_memory_limit_bytes{W}"},
                note="Workers with a limit only (memory_max). At 100 % the kernel kills.",
            ),
            Panel(
                "Growth of memory in an hour",
                BYTES,
                {
                    # A process that starts takes its memory within seconds, which is no growth in an hour.
                    "{{worker}}": (
                        "deriv(celery_worker_memory_bytes{W}[1h]) * 3600"
                        " and celery_worker_memory_bytes{W} offset 1h"
                        " unless resets(celery_worker_cpu_seconds_total{W}[1h]) > 0"
                        " unless resets(celery_worker_tasks_processed_total{W}[1h]) > 0"
                    )
                },
                note="Of workers that have run for an hour. One that stays above 0 for hours is a leak.",
            ),
            Panel("Tasks running", COUNT, {"{{worker}}": "celery_worker_tasks_active{W}"}),
            Panel(
                "Tasks finished",
                PER_SECOND,
                {"{{worker}}": "rate(celery_worker_tasks_processed_total{W}[$__rate_interval])"},
            ),
            Panel("Tasks fetched and not begun", COUNT, {"{{worker}}": "celery_worker_tasks_reserved{W}"}),
            Panel("Tasks held until their time", COUNT, {"{{worker}}": "celery_worker_tasks_scheduled{W}"}),
        ),
        "Ends and starts": (
            Panel(
                "Ended without having been told to, in 15 minutes",
                COUNT,
                {"{{fleet}} {{instance}}": "increase(celery_workers_ended_total{F}[15m])"},
            ),
            Panel(
                "Started again by the autoscaler, in 15 minutes",
                COUNT,
                {"{{fleet}} {{instance}}": "increase(celery_workers_started_again_total{F}[15m])"},
            ),
        ),
    },
    (("worker", 'label_values(celery_worker_cpu_seconds_total{fleet=~"$fleet"}, worker)'),),
)

AUTOSCALER = Dashboard(
    "Celery / Autoscaler",
    {
        "Decisions": (
            _WORKERS,
            Panel(
                "Changes in 10 minutes",
                COUNT,
                {
                    "{{fleet}} {{action}}": (
                        'sum by (fleet, action) (increase(celery_autoscaler_decisions_total{F,action!="hold"}[10m]))'
                    )
                },
                note="Up and down in turn is flapping. The reasons are in the log: journalctl -u celery-autoscaler.",
            ),
            Panel("What is decided on", COUNT, {"{{fleet}} {{metric}}": "celery_autoscaler_metric{F}"}, kind="table"),
            Panel(
                "What is only known between bounds",
                COUNT,
                {"{{fleet}} {{metric}} {{side}}": "celery_autoscaler_metric_bound{F}"},
                note="Empty where everything is known exactly.",
            ),
            Panel(
                "What a policy needs and is unknown",
                COUNT,
                {
                    "{{fleet}} {{metric}}": (
                        "celery_autoscaler_metric_unknown{F}"
                        " * on (job, instance, fleet, metric) celery_autoscaler_metric_needed{F}"
                    )
                },
                note="1 is unknown.",
            ),
            Panel(
                "What could not be done, in 15 minutes",
                COUNT,
                {"{{fleet}} {{what}}": "increase(celery_autoscaler_errors_total{F}[15m])"},
            ),
        ),
        "The service": (
            Panel(
                "Age of the last look",
                SECONDS,
                {
                    "{{fleet}} {{instance}}": "celery_autoscaler_observation_age_seconds{F}",
                    "interval of {{instance}}": "celery_autoscaler_interval_seconds{Q}",
                },
            ),
            Panel(
                "Broker takes no tasks; configuration refused",
                COUNT,
                {
                    "{{fleet}}: broker blocked": "celery_autoscaler_broker_blocked{F}",
                    "{{instance}}: configuration refused": "celery_autoscaler_reload_failed{Q}",
                },
            ),
            Panel(
                "What happened to the service, in 15 minutes",
                COUNT,
                {"{{event}} {{instance}}": "increase(celery_autoscaler_events_total{Q}[15m]) > 0"},
                note="The events of its log, by their names there.",
            ),
            Panel(
                "Events of workers heard",
                PER_SECOND,
                {
                    "{{broker}}": "rate(celery_autoscaler_events_heard_total{Q}[$__rate_interval])",
                    "{{broker}} no event": "rate(celery_autoscaler_events_not_understood_total{Q}[$__rate_interval])",
                },
            ),
            Panel(
                "Who leads, of several in a cluster",
                COUNT,
                {"{{instance}}": "celery_autoscaler_leader{Q}"},
                note="The one at 1 acts, the others stand by. All at 0 for longer than a lease: nobody scales.",
            ),
            Panel(
                "Event stream connected", COUNT, {"{{broker}} {{instance}}": "celery_autoscaler_events_connected{Q}"}
            ),
            Panel(
                "Event stream lost, in an hour",
                COUNT,
                {
                    "{{broker}}: times": "increase(celery_autoscaler_event_gaps_total{Q}[1h])",
                    "{{broker}}: seconds": "increase(celery_autoscaler_event_gap_seconds_total{Q}[1h])",
                },
            ),
        ),
    },
)

DASHBOARDS = {"fleets": FLEETS, "tasks": TASKS, "workers": WORKERS, "autoscaler": AUTOSCALER}

ANNOTATIONS = (
    ("Decisions", "blue", 'celery_autoscaler_decisions_total{F,action!="hold"}', "{{fleet}}: {{action}}"),
    ("Workers that ended", "red", "celery_workers_ended_total{F}", "{{fleet}}: a worker ended, not told to"),
)
"""By name, colour, counter and title. Each growth of the counter is marked in all panels."""

TIMES = (("Paused", "orange", "celery_autoscaler_paused{F}", "{{fleet}} is paused"),)
"""Likewise, by a gauge: the time for which it is not 0 is marked."""

_VARIABLES = (
    ("fleet", "label_values(celery_autoscaler_observation_age_seconds, fleet)"),
    ("instance", 'label_values(celery_autoscaler_observation_age_seconds{fleet=~"$fleet"}, instance)'),
)


def chosen(query: str) -> str:
    """Return the query with the selectors that a placeholder stands for."""
    return re.sub(r"\{([QFTW])(,?)", lambda found: "{" + _CHOSEN[found[1]] + found[2].replace(",", ", "), query)


def growth(counter: str) -> str:
    """Return the query that tells when a counter of C(ANNOTATIONS) grew."""
    return chosen(f"increase({counter}[1m]) > 0")


def lasting(gauge: str) -> str:
    """Return the query that tells when a gauge of C(TIMES) is not 0."""
    return chosen(f"{gauge} > 0")


def written() -> dict[Path, str]:
    """Return every file and the text that it is to have."""
    return {FOLDER / f"{name}.json": _text(name, dashboard) for name, dashboard in DASHBOARDS.items()}


def _text(name: str, dashboard: Dashboard) -> str:
    return json.dumps(_dashboard(name, dashboard), indent=1) + "\n"


def _dashboard(name: str, dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"muejam-celery-{name}",
        "title": dashboard.title,
        "tags": ["celery"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [_LINKS],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                *(_variable(*variable) for variable in (*_VARIABLES, *dashboard.variables)),
            ]
        },
        "annotations": {
            "list": [
                *(_annotation(name, colour, growth(counter), title) for name, colour, counter, title in ANNOTATIONS),
                *(_annotation(name, colour, lasting(gauge), title) for name, colour, gauge, title in TIMES),
            ]
        },
        "panels": list(_panels(dashboard)),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _annotation(name: str, colour: str, query: str, title: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": query,
        "step": "60s",
        "titleFormat": title,
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in dashboard.rows.items():
        number += 1
        row = {"type": "row", "title": title, "collapsed": False, "panels": []}
        yield {"id": number, "gridPos": _place(0, top, 24, 1), **row}
        top += 1
        left = height = 0
        for panel in panels:
            if left + panel.width > 24:
                left, top, height = 0, top + height, 0
            number += 1
            yield {"id": number, "gridPos": _place(left, top, panel.width, panel.height), **_panel(panel)}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"h": height, "w": width, "x": left, "y": top}


def _panel(panel: Panel) -> dict[str, Any]:
    asked = {"format": "table", "instant": True} if panel.kind == "table" else {}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, **_look(panel)}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": reference, "datasource": _SOURCE, "expr": chosen(query), "legendFormat": legend, **asked}
            for reference, (legend, query) in zip(ascii_uppercase, panel.queries.items())
        ],
    }


def _look(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        stacked = {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        return {"custom": {"axisSoftMin": 0, "fillOpacity": 10, **(stacked if panel.stacked else {})}}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    return {"thresholds": {"mode": "absolute", "steps": steps}}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return _STAT
    if panel.kind == "table":
        return {"showHeader": True, "frameIndex": 0}
    return {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
