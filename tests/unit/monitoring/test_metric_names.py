# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in rules and dashboards are those that the service exports, and nothing is exported for nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator

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


def test_names_of_others_are_none_of_ours() -> None:
    records = [rule["record"] for group in yaml.safe_load(RENAMED.read_text())["groups"] for rule in group["rules"]]
    assert len(records) == len(set(records))
    # A series that is there twice would be counted twice.
    assert not EXPORTED.keys() & set(records)
