# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards are drawn with all of their panels, whatever Prometheus answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from muejam_demo import panels

PERIOD = panels.Period(1000.0, 1600.0, 60.0)


def everything(queries: Sequence[str], period: panels.Period) -> list[list[panels.Series]]:
    points = [(period.begin + 60 * minute, float(minute)) for minute in range(10)]
    return [[({"fleet": "web", "queue": "celery"}, points)] for _query in queries]


@pytest.mark.parametrize("path", sorted(panels.DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_drawn(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "picture.png"
    assert panels.draw(path.stem, everything, PERIOD, out) == []
    assert out.read_bytes().startswith(b"\x89PNG")


def test_panels_that_stay_empty_are_named(tmp_path: Path) -> None:
    empty = panels.draw("workers", lambda queries, period: [[] for _query in queries], PERIOD, tmp_path / "p.png")
    shown = json.loads((panels.DASHBOARDS / "workers.json").read_text(encoding="utf-8"))["panels"]
    assert empty == [panel["title"] for panel in shown if panel["type"] != "row"]


def test_a_query_is_sent_as_grafana_does_where_everything_is_chosen() -> None:
    query = 'rate(celery_tasks_total{fleet=~"$fleet", task=~"$task"}[$__rate_interval])'
    assert panels.as_sent(query, "20s") == 'rate(celery_tasks_total{fleet=~".*", task=~".*"}[20s])'


def test_a_series_has_the_name_of_its_legend() -> None:
    assert panels.legend("{{fleet}} {{ state }} now", {"fleet": "web", "state": "down"}) == "web down now"
    assert panels.legend("{{instance}}", {}) == ""


def test_what_is_no_number_is_no_point() -> None:
    result = [{"metric": {"fleet": "web"}, "values": [[1, "NaN"], [2, "3"]]}]
    assert panels.answered(json.dumps({"data": {"result": result}})) == [({"fleet": "web"}, [(2.0, 3.0)])]
