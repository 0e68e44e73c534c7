# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When tasks are said to time out: as many as the alert wants, and of all runs as many."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from celery.worker import request
from gathered import failed, firing, gathered, status, verdict

import documented
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import timeouts


def of(found: dict[str, Any]) -> dict[str, Any]:
    return verdict("tasks_timing_out", found)


def journal(soft: int, hard: int = 0, both: int = 0, task: str = "shop.bill") -> dict[str, Any]:
    """What workers logged: so many runs that reached the soft limit, the hard one, and both."""
    kinds = ["Soft"] * soft + ["Hard"] * hard
    where = "[2026-01-05 07:59:00,000: WARNING/MainProcess]"
    lines = [f"{where} {kind} time limit (300s) exceeded for {task}[id-{number}]" for number, kind in enumerate(kinds)]
    for number in range(both):
        lines += [f"Soft time limit (300s) exceeded for {task}[both-{number}]"]
        lines += [f"Hard time limit (360.5s) exceeded for {task}[both-{number}]"]
    return {"rc": 0, "stdout": "\n".join(["-- Boot --", *lines]), "stderr": ""}


@pytest.mark.parametrize(
    ("soft", "hard", "both", "finished", "expected"),
    [
        (0, 0, 0, 500, "no"),
        (2, 0, 0, 10, "no"),
        (3, 0, 0, 10, "yes"),
        (1, 1, 1, 10, "yes"),
        # One run that reached both limits is one run.
        (1, 0, 1, 10, "no"),
        # 1 % of all may.
        (5, 0, 0, 500, "no"),
        (6, 0, 0, 500, "yes"),
        # Of how many is not known.
        (3, 0, 0, None, "cannot tell"),
        (2, 0, 0, None, "no"),
    ],
)
def test_as_many_as_the_alert_wants(soft: int, hard: int, both: int, finished: int | None, expected: str) -> None:
    counts = () if finished is None else (100.0, None, 100.0 + finished)
    told = of(gathered(journal=journal(soft, hard, both), finished=counts))
    assert told["verdict"] == expected, told
    if expected == "yes":
        assert f"{soft + hard + both} runs reached their time limit" in told["says"]
        assert any(line.startswith(f"shop.bill: {soft + hard + both} times (") for line in told["evidence"])


def test_a_count_that_begins_anew_is_none_below_zero() -> None:
    told = of(gathered(journal=journal(3), finished=(9000.0, 9100.0, 40.0)))
    assert told["verdict"] == "yes"
    assert told["evidence"][0] == "3 of 140 runs within the hour, 2.1%"


def test_limits_and_waits_are_told() -> None:
    busy = status(metrics={"wait_time": 400.0, "cpu": 99.0})
    told = of(gathered(journal=journal(2, 0, 2), fleet=busy, finished=(0.0, 10.0)))
    assert "shop.bill: 4 times (hard limit of 360.5 s, soft limit of 300 s)" in told["evidence"]
    assert any("waits does so for 7 min" in line for line in told["evidence"])
    assert "CPU is used up" in told["next_step"]
    assert "Compare p95" in of(gathered(journal=journal(4), finished=(0.0, 10.0)))["next_step"]


def test_nobody_can_tell() -> None:
    told = of(gathered(journal=failed("journalctl: unrecognized option '--grep=x'", 1)))
    assert told["verdict"] == "cannot tell"
    assert "unrecognized option" in told["says"]
    nothing = of(gathered(journal=failed("Failed to add filter for units: No data available", 1)))
    assert (nothing["verdict"], "nothing of its workers" in nothing["says"]) == ("cannot tell", True)
    assert of(gathered(journal={"rc": 1, "stdout": "", "stderr": ""}))["verdict"] == "no"
    assert of({**gathered(journal={}), "in_cluster": True})["verdict"] == "cannot tell"


def test_an_alert_that_fires_is_enough() -> None:
    fires = firing("CeleryTaskTimeouts")
    assert of({**gathered(journal={}, alerts=fires), "in_cluster": True})["verdict"] == "yes"
    assert of(gathered(alerts=fires))["verdict"] == "yes"


def test_its_numbers_are_those_of_the_alert() -> None:
    (rule,) = (rule for rule in documented.alerts() if rule["alert"] == timeouts.ALERT)
    assert re.findall(r"(>=?) ([\d.]+)", rule["expr"]) == [(">", f"{timeouts.SHARE:g}"), (">=", f"{timeouts.FEWEST}")]


def test_celery_writes_what_is_looked_for() -> None:
    text = Path(request.__file__).read_text(encoding="utf-8")
    for kind in ("Soft", "Hard"):
        assert f"'{kind} time limit (%ss) exceeded for %s[%s]'" in text
