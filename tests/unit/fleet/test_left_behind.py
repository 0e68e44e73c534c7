# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that left the inventory is named, with what removes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROLE = Path(__file__).parents[3] / "roles/worker"
PLAY = """
- hosts: localhost
  gather_facts: false
  vars_files: [ROLE/vars/main.yml]
  tasks:
    - ansible.builtin.import_tasks: ROLE/tasks/systemd/left_behind.yml
"""


def test_a_fleet_that_the_inventory_does_not_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY.replace("ROLE", str(ROLE)))
    given = {
        "__celery_worker_found": {"fleets": ["gone", "web", "web-old"]},
        "celery_worker_fleet_defaults": {},
        "celery_worker_platform": "systemd",
        "celery_worker_fleets": [{"name": "web"}, {"name": "gone", "state": "absent"}],
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-c",
        "local",
        "-i",
        "localhost,",
        "-e",
        json.dumps(given),
        str(tmp_path / "play.yml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "There is a fleet web-old on localhost" in done.stdout
    assert "{name: web-old, state: absent}" in done.stdout
    assert done.stdout.count("There is a fleet") == 1
