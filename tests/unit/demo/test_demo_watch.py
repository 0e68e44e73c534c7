# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo reads on its host."""

from __future__ import annotations

import json
from pathlib import Path

import watch

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import write_status


def line(action: str, before: int | None, after: int | None, fleet: str = "demo") -> str:
    made = {"at": 1.0, "action": action, "from": before, "to": after, "reasons": ["a"]}
    return json.dumps({"fleet": fleet, "metrics": {}, **made})


def test_decisions_that_change_something_are_kept():
    decisions = watch.Decisions()
    decisions.note(
        [
            "Starting celery-autoscaler.service - Celery autoscaler...",
            json.dumps({"at": 0.5, "event": "started", "fleets": ["demo"]}),
            line("hold", 2, 2),
            line("up", 2, 4),
            line("hold", None, None),
            json.dumps({"at": 1.5, "event": "scaled", "fleet": "demo", "before": 2, "after": 4}),
            line("up", 2, 4, fleet="other"),
            line("down", 4, 3),
        ]
    )
    assert [(change["from"], change["to"]) for change in decisions.changes] == [(2, 4), (4, 3)]


def test_the_fleet_is_found_in_the_autoscalers_status(tmp_path: Path):
    path = str(tmp_path / "status.json")
    assert "does not run" in watch.autoscaler(path)[1]
    write_status(path, {"at": 1.0, "fleets": [{"fleet": "other"}]})
    assert watch.autoscaler(path) == (None, "the autoscaler does not know the fleet demo")
    write_status(path, {"at": 1.0, "fleets": [{"fleet": "other"}, {"fleet": "demo", "action": "hold"}]})
    assert watch.autoscaler(path) == ({"fleet": "demo", "action": "hold"}, "")


def test_whole_lines_of_a_growing_ledger_are_counted(tmp_path: Path):
    path = tmp_path / "ledger"
    ledger = watch.Ledger(path)
    assert ledger.count() == 0
    path.write_text("a\nb")
    assert ledger.count() == 1
    path.write_text("a\nb\nc\n")
    assert ledger.count() == 3
