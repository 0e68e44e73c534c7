# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus tells the demo of each alert that fired, of one that is over by then as well."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import documented
from muejam_bed.prometheus import prometheus_running, scraping
from muejam_bed.shell import wait_until

# Tests are imported by path (importmode=importlib), so what is beside them and the demo must be put on the path.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(documented.CHECKOUT / "demo"))

from exporting import Exporting
from muejam_demo import alerts


def rule(name: str, expr: str, **more: str) -> dict[str, Any]:
    """Return an alert."""
    return {"alert": name, "expr": expr, "labels": {"severity": "warning"}, **more}


def test_what_fired_what_was_pending_and_what_cannot_be_evaluated_is_told(tmp_path: Path) -> None:
    begin = time.time()
    found = [
        rule("Over", "sum(count_over_time(up[5m])) <= 5"),
        rule("Waits", "vector(1)", **{"for": "1h"}),
        rule("Silent", "vector(1) > 2"),
        # An alert has no name of a metric, so the two are one.
        rule("Broken", '{__name__=~"up|scrape_duration_seconds"}'),
        {"record": "up:sum", "expr": "sum(up)"},
    ]
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "demo", "rules": found}]}), encoding="utf-8")
    configuration = {
        **scraping(f"127.0.0.1:{Exporting('app1', tmp_path).port}"),
        "global": {"evaluation_interval": "1s"},
        "rule_files": [str(rules)],
    }
    with prometheus_running(tmp_path, configuration) as server:

        def get(paths: Sequence[str]) -> list[str]:
            answers = []
            for path in paths:
                with urllib.request.urlopen(f"{server.url}/api/v1/{path}", timeout=10) as said:
                    answers.append(said.read().decode())
            return answers

        def over() -> bool:
            evaluated = all(one["health"] != "unknown" for one in server.rules())
            fired = server.ask('count_over_time(ALERTS{alertname="Over"}[5m])')
            return evaluated and bool(fired) and not server.ask('ALERTS{alertname="Over"}')

        wait_until(over, 60, server.rules, every=1)
        seen = alerts.watch(get, begin, time.time())
    assert seen.rules == 4
    assert seen.fired == (alerts.Alert("Over", {"severity": "warning"}),)
    assert seen.pending == (alerts.Alert("Waits", {"severity": "warning"}),)
    (broken,) = seen.unhealthy
    assert broken.startswith("Broken: ")
    assert "same labelset" in broken
