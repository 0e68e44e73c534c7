# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards are written from their table, and Grafana can place what is in them."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import dashboards
import documented

FIVE_LINES = """
celery_queue_length{queue="celery"}
rate(celery_tasks_total[5m])
celery_workers_active
histogram_quantile(0.95, rate(celery_task_duration_seconds_bucket[5m]))
rate(celery_tasks_failed_total[5m]) / rate(celery_tasks_total[5m])
"""
WRITTEN = dashboards.written()


def test_files_are_what_the_table_writes() -> None:
    assert sorted(dashboards.FOLDER.glob("*")) == sorted(WRITTEN)
    for path, text in WRITTEN.items():
        assert path.read_text(encoding="utf-8") == text, f"run make docs: {path.name} is not what its table says"


def test_the_five_usual_queries_stand_as_they_are() -> None:
    asked = [target["expr"] for panel in read("fleets")["panels"] for target in panel.get("targets", ())]
    assert set(FIVE_LINES.split("\n")) - {""} <= set(asked)
    assert FIVE_LINES in (documented.CHECKOUT / "docs/autoscaler.md").read_text(encoding="utf-8")


def read(name: str) -> Any:
    return json.loads(WRITTEN[dashboards.FOLDER / f"{name}.json"])


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_panels_have_their_own_place_and_number(name: str) -> None:
    panels = read(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_every_query_has_a_letter_and_known_variables(name: str) -> None:
    dashboard = read(name)
    known = {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}
    for panel in dashboard["panels"]:
        targets = panel.get("targets", [])
        assert len({target["refId"] for target in targets}) == len(targets)
        assert len({target["legendFormat"] for target in targets}) == len(targets)
        for target in targets:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= known


def test_dashboards_can_be_told_apart() -> None:
    assert len({read(name)["uid"] for name in dashboards.DASHBOARDS}) == len(WRITTEN)
    assert all(isinstance(path, Path) and path.suffix == ".json" for path in WRITTEN)
