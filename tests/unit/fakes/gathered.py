# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook diagnose gathers of a fleet that is well, for tests to change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.filter.diagnose import fleet_diagnosis

NOW = 1_767_600_000.0
"""Monday 2026-01-05 08:00 UTC."""

MIB = 1024.0**2


def worker(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A worker of the fleet C(web) that runs a task."""
    return {"name": f"web-{number}@app1", "phase": "consuming", "active": 1, "memory_allowed": 512 * MIB, **changes}


def status(**changes: Any) -> dict[str, Any]:
    """The fleet's part of the status: two workers, and nothing to do."""
    return {
        "fleet": "web",
        "policy": True,
        "at": NOW - 2,
        "workers": 2,
        "metrics": {"queue_depth": 0.0, "wait_time": 0.0, "cpu": 20.0},
        "unknown": {},
        "errors": {},
        "stuck": {},
        "action": "hold",
        "from": 2,
        "to": 2,
        "reasons": ["no scale-up: queue_depth 0 is not above 100"],
        "promised_wait": 30.0,
        "window": {"name": None, "min_workers": 1, "max_workers": 8, "until": None},
        **changes,
    }


def decision(ago: float, action: str, before: int, after: int, **changes: Any) -> dict[str, Any]:
    """A decision of so many seconds ago."""
    reasons = ["queue_depth 120 is above 100" if action == "up" else "queue_depth 0 is below 10"]
    made = {"at": NOW - ago, "until": NOW - ago, "action": action, "before": before, "after": after}
    return {**made, "reasons": reasons, "withdrawn": False, **changes}


def samples(size: Callable[[float], float], hours: float = 3, start: float = 0.0) -> list[list[float]]:
    """A sample for every five minutes of the last hours, by how many MiB there were after so many hours."""
    count = int(hours * 12)
    return [[NOW - (count - each) * 300, size(start + each / 12) * MIB] for each in range(count + 1)]


def printed(document: object) -> dict[str, Any]:
    """The result of a command that printed JSON."""
    return {"rc": 0, "stdout": json.dumps(document), "stderr": ""}


def failed(stderr: str, code: int = 2) -> dict[str, Any]:
    """The result of a command that failed."""
    return {"rc": code, "stdout": "", "stderr": stderr}


def gathered(
    waiting: int | None = 0,
    workers: Sequence[dict[str, Any]] | None = (),
    fleet: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    decisions: Iterable[dict[str, Any]] = (),
    watched: float = 7200,
    finished: Sequence[float | None] = (1000.0, 1500.0),
    memory: dict[str, list[list[float]]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """All of it.

    :param fleet: the fleet's part of the status, and C(service) what stands above it.
    :param watched: seconds since the first look.
    """
    there = [worker(1), worker(2)] if workers == () else workers
    names = [] if there is None else [each["name"] for each in there]
    samples_of = {name: samples(lambda _hours: 100.0) for name in names} if memory is None else memory
    past = {
        "at": NOW - 2,
        "first_look": NOW - 2 - watched,
        "decisions": list(decisions),
        "points": {"start": NOW - 3600, "step": 12, "columns": {"finished": list(finished)}},
        "memory": {name: {"life": "1", "samples": each} for name, each in samples_of.items()},
    }
    return {
        "reading": {
            "at": NOW,
            "workers": there,
            "problem": "" if there is not None else "systemd hangs",
            "wanted_workers": None,
            "owned_by_daemon": True,
            "scaled_by": "",
            "pause": None,
        },
        "in_cluster": False,
        "queues": {"queues": [{"name": "web", "exists": True, "waiting": waiting}]},
        "workers": {"workers": [{"name": name, "queues": ["web"]} for name in names]},
        "status": printed(
            {"mode": "act", "at": NOW - 2, "interval": 5, "fleets": [fleet or status()], **(service or {})}
        ),
        "history": printed({"last": "1h", "fleets": {"web": past}}),
        "journal": {"rc": 1, "stdout": "", "stderr": ""},
        "alerts": {},
        "memory": {},
        "finished": {},
        **changes,
    }


def firing(*alerts: str) -> dict[str, Any]:
    """The answer of a Prometheus in which these alerts fire."""
    return {"json": {"status": "success", "data": {"result": [{"metric": {"alertname": name}} for name in alerts]}}}


def verdict(trouble: str, found: dict[str, Any], policy: object = None, described: bool = True) -> dict[str, Any]:
    """What is said of a trouble."""
    return fleet_diagnosis(found, "web", policy, described)[trouble]
