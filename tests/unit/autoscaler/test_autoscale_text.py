# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook `autoscale` prints of each host, and how it scales them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def shown(has: int, shall: int, scaled: dict[str, Any], start_again: tuple[str, ...] = ()) -> str:
    """Return the line of host `a`."""
    jinja = Environment(undefined=StrictUndefined, trim_blocks=True)
    jinja.filters["dict2items"] = _pairs
    template = jinja.from_string((PLAYBOOKS / "templates/autoscale.txt.j2").read_text(encoding="utf-8"))
    text = template.render(
        fleet="web",
        autoscale_cycle={
            "observation": {"workers": has, "starting": 0, "draining": 0, "metrics": {}, "unknown": {}},
            "decision": {"action": "hold", "from": has, "to": shall, "reasons": []},
            "current": {"a": has},
            "placement": {"a": shall},
            "start_again": list(start_again),
            "left_over": 0,
        },
        autoscale_applies=True,
        ansible_check_mode=False,
        autoscale_answers={},
        hostvars={"a": {"autoscale_scaled": scaled}},
    )
    return next(line.strip() for line in text.splitlines() if line.startswith("  a: "))


def _pairs(given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in given.items()]


@pytest.mark.parametrize(
    ("has", "shall", "scaled", "line"),
    [
        (2, 2, {"skipped": True}, "a: 2 workers, unchanged"),
        (2, 2, {"before": 2, "after": 2, "started": [], "stopped": []}, "a: 2 workers, unchanged"),
        (1, 3, {"before": 1, "after": 3, "started": ["u", "v"], "stopped": []}, "a: 1 -> 3 workers, 2 started"),
        (
            3,
            1,
            {"before": 3, "after": 1, "started": [], "stopped": ["u", "v"]},
            "a: 3 -> 1 workers, 0 started, 2 drain",
        ),
        (1, 3, {"failed": True, "msg": "no"}, "a: 1 -> 3 workers failed: no"),
    ],
)
def test_a_host_is_shown_with_what_was_done(has: int, shall: int, scaled: dict[str, Any], line: str) -> None:
    assert shown(has, shall, scaled).startswith(line)


def test_a_host_whose_number_stays_shows_the_workers_that_were_started_again() -> None:
    done = {"before": 2, "after": 2, "started": ["celery-worker-web@2.service"], "stopped": []}
    assert shown(2, 2, done, ("a",)) == "a: 2 -> 2 workers, 1 started, 0 draining"
    failed = {"failed": True, "msg": "somebody else is at it"}
    assert shown(2, 2, failed, ("a",)) == "a: 2 workers, starting those that are down failed: somebody else is at it"


def test_cycles_do_not_pile_up_behind_a_deployment() -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / "autoscale.yml").read_text(encoding="utf-8"))
    (scale,) = [task["muejam.celery.scale"] for task in play["tasks"] if "muejam.celery.scale" in task]
    assert scale["lock_timeout"] <= 10
