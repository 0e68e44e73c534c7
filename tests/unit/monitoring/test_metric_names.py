# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in rules and dashboards are those that the service exports, and nothing is exported for nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import dashboards
import documented

OF_PROMETHEUS = {"up", "ALERTS"}
LABELS_OF_ALL = {"job", "instance", "le"}
RENAMED = documented.CHECKOUT / "monitoring/celery-exporter-names.yml"

EXPORTED = {
    name: {*family._labelnames, *LABELS_OF_ALL}
    for family in documented.exported()
    for name in documented.series(family)
}


def panels() -> Iterator[tuple[str, str]]:
    for name, dashboard in dashboards.DASHBOARDS.items():
        for row in dashboard.rows.values():
            for panel in row:
                for query in panel.queries.values():
                    yield f"{name}: {panel.title}", dashboards.chosen(query)
    for name, _colour, counter, _title in dashboards.ANNOTATIONS:
        yield f"annotation {name}", dashboards.growth(counter)
    for name, _colour, gauge, _title in dashboards.TIMES:
        yield f"annotation {name}", dashboards.lasting(gauge)


def rules() -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in documented.alerts())
    groups = yaml.safe_load(RENAMED.read_text(encoding="utf-8"))["groups"]
    yield from ((rule["record"], rule["expr"]) for group in groups for rule in group["rules"])


QUERIES = [*rules(), *panels()]


def metrics(query: str) -> set[str]:
    """Names of metrics in a query: words with nothing but a selector, a range or an end behind them."""
    bare = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"\b(celery_\w+|up|ALERTS)\b", bare))


def selectors(query: str) -> Iterator[tuple[str, str]]:
    """Each metric with each label that is asked of it."""
    for name, inside in re.findall(r"\b(celery_\w+)\{([^}]*)\}", query):
        yield from ((name, label) for label in re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', inside))


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _query in QUERIES])
def test_a_query_asks_for_what_is_exported(where: str, query: str) -> None:
    assert metrics(query) - OF_PROMETHEUS <= EXPORTED.keys()
    assert metrics(query)
    assert not [(name, label) for name, label in selectors(query) if label not in EXPORTED[name]]


def test_nothing_is_exported_that_no_alert_and_no_panel_reads() -> None:
    asked = set().union(*(metrics(query) for _where, query in QUERIES))
    assert EXPORTED.keys() - asked == set()


NAMES_OF_OTHERS = {"celery_task_sent_total"} | {
    f"celery_active_{what}_count" for what in ("worker", "process", "consumer")
}
"""Of celery-exporter, and spoken of because they are not there."""

NO_METRICS = {
    "celery_beat",
    "celery_broker",
    "celery_flower",
    "celery_monitoring",
    "celery_workers",
    "celery_demo",
    "celery_names",
    "celery_settings",
} | {
    "celery_result",
    "celery_results",
}
"""Groups of the inventory, files and facts."""


def variables() -> set[str]:
    """All variables of all roles."""
    found: set[str] = set()
    for path in documented.ROLES.glob("*/meta/argument_specs.yml"):
        found |= set(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"])
    return found


PAGES = sorted(path for folder in ("docs", "roles") for path in (documented.CHECKOUT / folder).rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_page_names_metrics_that_are_exported(path: Path) -> None:
    records = {rule["record"] for group in yaml.safe_load(RENAMED.read_text())["groups"] for rule in group["rules"]}
    families = {family.name for family in documented.exported()}
    known = EXPORTED.keys() | families | records | NAMES_OF_OTHERS | NO_METRICS | variables()
    for name, open_end in re.findall(r"\b(celery_[a-z_]*[a-z])\b(_?[*…<'])?", path.read_text(encoding="utf-8")):
        if open_end:
            assert [one for one in known if one.startswith(name)], name
        else:
            assert name in known, name


def test_every_metric_is_on_the_page_of_metrics() -> None:
    page = documented.MONITORING.read_text(encoding="utf-8")
    assert [family.name for family in documented.exported() if f"| `{family.name}" not in page] == []


def test_names_of_others_are_none_of_ours() -> None:
    records = [rule["record"] for group in yaml.safe_load(RENAMED.read_text())["groups"] for rule in group["rules"]]
    assert len(records) == len(set(records))
    # A series that is there twice would be counted twice.
    assert not EXPORTED.keys() & set(records)
