# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play whose hosts would send the schedule of an app twice is refused on each of them, before anything is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[3] / "roles"
PASSWORD = "not-a-real-password"
FLEET = {
    "name": "web",
    "app": "shop",
    "virtualenv": "/srv/venv",
    "broker_url": f"redis://:{PASSWORD}@h/0",
    "extra_args": "{{ senders }}",
}
AFTER = {"name": "After", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} would be changed"}}


def play_of(role: str, preflight: str) -> list[dict[str, Any]]:
    """What the role does up to this check, and then a change."""
    tasks = yaml.safe_load((ROLES / role / preflight).read_text(encoding="utf-8"))
    last = [task["name"] for task in tasks].index("Preflight | Senders")
    return [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars": {"ansible_facts": {"memtotal_mb": 512}},
            "vars_files": [str(ROLES / role / "vars/main.yml")],
            "tasks": [*tasks[: last + 1], AFTER],
        }
    ]


BEAT = play_of("beat", "tasks/preflight.yml")
WORKER = play_of("worker", "tasks/systemd/preflight.yml")


def run(tmp_path: Path, play: list[dict[str, Any]], **of_hosts: dict[str, Any]) -> str:
    """What the play says of hosts with these variables."""
    shared = {
        "ansible_connection": "local",
        "celery_worker_fleet_defaults": {},
        "celery_worker_platform": "systemd",
        "celery_worker_autoscaling": "policy",
        "celery_worker_fleets": [FLEET],
        "celery_beats": [{"fleet": "web"}],
        "celery_beat_hosts": list(of_hosts),
        "celery_beat_host": "",
        "senders": [],
    }
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"vars": shared, "hosts": of_hosts}}))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", str(tmp_path / "inventory.yml"), str(tmp_path / "play.yml")]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    told = done.stdout + done.stderr
    assert PASSWORD not in told
    return told


def test_each_host_of_a_play_with_two_beats_refuses(tmp_path: Path) -> None:
    told = run(tmp_path, BEAT, app1={"celery_beat_host": "app1"}, app2={"celery_beat_host": "app2"}, app3={})
    assert told.count('"msg": ["Nothing was changed. Correct these first:"') == 3, told
    assert "shop: app1 (beat of fleet web) and app2 (beat of fleet web) would each send everything" in told
    assert "would be changed" not in told


def test_one_beat_passes_wherever_it_moves(tmp_path: Path) -> None:
    for host in ("app1", "app2"):
        told = run(tmp_path, BEAT, app1={"celery_beat_host": host}, app2={"celery_beat_host": host})
        assert told.count("would be changed") == 2, told


def test_workers_that_send_on_two_hosts_are_refused_there(tmp_path: Path) -> None:
    told = run(tmp_path, WORKER, app1={"senders": ["-B"]}, app2={"senders": ["-B"]})
    assert told.count('"msg": ["Nothing was changed. Correct these first:"') == 2, told
    assert "shop: app1 (fleet web, extra_args) and app2 (fleet web, extra_args) would each send everything" in told
    told = run(tmp_path, WORKER, app1={"senders": ["-B"]}, app2={})
    assert told.count("would be changed") == 2, told
