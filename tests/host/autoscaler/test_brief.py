# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The default policy, written out as a user would paste it, with its own times: a quarter of an hour for real."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import yaml
from load import Load

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from muejam_bed import demo_app
from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

URL = "redis://:not-a-real-password@127.0.0.1:6379/0"
TASKS = 1200  # of a second each
POLICY = yaml.safe_load(
    """
    limits:
      min_workers: 2
      max_workers: 20
      scale_up_max: 5
      scale_down_max: 2
      cooldown_up: 60s
      cooldown_down: 300s
    scale_up:
      any:
        - {metric: queue_depth, above: 100, for: 60s}
        - {metric: cpu, above: 80, for: 2m}
        - {metric: memory, above: 85, for: 2m}
        - {metric: wait_time, above: 30s}
      add: {workers: 2, percent: 50, choose: larger}
    scale_down:
      all:
        - {metric: queue_depth, below: 10, for: 300s}
        - {metric: cpu, below: 30, for: 5m}
        - {metric: memory, below: 40, for: 5m}
        - {metric: tasks_processed, equals: 0, for: 2m}
      remove: {workers: 1, percent: 25, choose: smaller}
    schedule:
      timezone: UTC
      windows:
        - {name: peak, time: "08:00-18:00", min_workers: 5, max_workers: 20}
        - {name: off_peak, time: "18:00-08:00", min_workers: 2, max_workers: 10}
        - {name: weekend, days: [sat, sun], min_workers: 2, max_workers: 8}
    """
)


@pytest.mark.brief
def test_the_policy_of_the_brief_with_its_own_times(host_for: Callable[[ExitStack, str], SystemdHost]) -> None:
    with ExitStack() as hosts:
        host = host_for(hosts, "brief")
        _deploy(host)
        load = Load(host, "web", URL)
        load.send(TASKS, 1.0, 1.0)
        # Two steps down are enough to see how far apart they are.
        wait_until(lambda: _steps(_cycles(host), "down") >= 2, 1500, lambda: _cycles(host)[-1], every=5)
        cycles = _cycles(host)
        assert load.left() == 0
        assert len({run["id"] for run in load.runs()}) == len(load.runs()) == TASKS
    decided = [{key: cycle[key] for key in ("at", "action", "from", "to", "reasons")} for cycle in cycles]
    again = [json.loads(line) for line in replay(parse_policy(POLICY), map(json.dumps, cycles))]
    assert decided == again

    ups = [cycle for cycle in cycles if cycle["action"] == "up"]
    assert len(ups) >= 2
    for cycle in ups:
        assert cycle["to"] - cycle["from"] <= max(2, -(-cycle["from"] // 2))
        assert any("queue_depth" in reason or "wait_time" in reason for reason in cycle["reasons"]), cycle
    assert all(later["at"] - earlier["at"] >= 60 for earlier, later in itertools.pairwise(ups))
    # The first task waits longer than 30 s before the queue was long for 60 s.
    burst = next(cycle for cycle in cycles if cycle["metrics"].get("queue_depth", 0) > 100)
    assert 25 <= ups[0]["at"] - burst["at"] <= 45, ups[0]

    downs = [cycle for cycle in cycles if cycle["action"] == "down"]
    assert all(cycle["from"] - cycle["to"] == 1 for cycle in downs)
    assert all(later["at"] - earlier["at"] >= 300 for earlier, later in itertools.pairwise(downs))
    last_long = max(cycle["at"] for cycle in cycles if cycle["metrics"].get("queue_depth", 0) >= 10)
    assert 300 <= downs[0]["at"] - last_long <= 360, downs[0]


def _deploy(host: SystemdHost) -> None:
    demo_app.bring(host.name)
    fleet = {
        "name": "web",
        "app": "celery_demo",
        "workers": 2,
        "queues": ["web"],
        "working_directory": "/opt/celery-demo",
        "packages": ["celery[redis]==5.7.0"],
        "virtualenv": "/opt/celery-demo/venv",
        "broker_url": URL,
        "concurrency": 1,
        "prefetch_multiplier": 1,
        "environment": {"DEMO_LEDGER": "/var/lib/celery-demo/web.jsonl"},
        "read_write_paths": ["/var/lib/celery-demo"],
        "policy": POLICY,
    }
    variables = {
        "celery_broker_type": "redis",
        "celery_broker_password": "not-a-real-password",
        "celery_worker_fleets": [fleet],
    }
    host.playbook("playbooks/deploy.yml", extra_vars=variables)


def _cycles(host: SystemdHost) -> list[dict[str, Any]]:
    text = host.output("journalctl", "-u", "celery-autoscaler.service", "--output=cat", "--no-pager")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if "action" in line]


def _steps(cycles: list[dict[str, Any]], action: str) -> int:
    return sum(cycle["action"] == action for cycle in cycles)
