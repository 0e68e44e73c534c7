# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module worker_info as Ansible runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker_servers import RedisServer
from worker_processes import Workers

ANSIBLE = Path(sys.executable).parent / "ansible"


def run(tmp_path: Path, options: dict[str, Any], *arguments: str) -> tuple[dict[str, Any], str]:
    """Return the module's result and everything that Ansible printed."""
    command = [
        str(ANSIBLE), "localhost", "-i", "localhost,", "-c", "local", "-m", "muejam.celery.worker_info",
        "-e", f"ansible_python_interpreter={sys.executable}", "-a", json.dumps(options), "-vvv", *arguments,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.json",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    begin = done.stdout.find('{\n    "custom_stats"')
    assert begin >= 0, output
    printed = json.JSONDecoder().raw_decode(done.stdout[begin:])[0]
    result: dict[str, Any] = printed["plays"][0]["tasks"][0]["hosts"]["localhost"]
    return result, output


def test_the_module_reads_workers(start_redis: Callable[..., RedisServer], workers: Workers, tmp_path: Path) -> None:
    server = start_redis(password="not-a-real-password")
    workers.start(server.url, "web-1@h", "web-2@h", arguments=["-c", "2"])
    options = {"broker_url": server.url, "workers": ["web-*", "api-1@h"]}
    result, output = run(tmp_path, options)
    assert not result["changed"]
    assert [(one["name"], one["state"]) for one in result["workers"]] == [
        ("api-1@h", "silent"),
        ("web-1@h", "online"),
        ("web-2@h", "online"),
    ]
    uptime = result["workers"][1].pop("uptime")
    assert 0 <= uptime < 120
    assert result["workers"][1] == {
        "name": "web-1@h",
        "state": "online",
        "pool": "threads",
        "concurrency": 2,
        "active": 0,
        "reserved": 0,
        "processed": 0,
        "queues": ["celery"],
        "pid": workers.started[0].process.pid,
    }
    assert "not-a-real-password" not in output

    checked = run(tmp_path, options, "--check", "--diff")[0]
    assert [one["state"] for one in checked["workers"]] == ["silent", "online", "online"]
    assert not checked["changed"]

    workers.started[1].freeze()
    workers.start(server.url, "web-3@h")[0].kill()
    result, output = run(tmp_path, {"broker_url": server.url, "timeout": 5})
    assert [one["state"] for one in result["workers"]] == ["online", "silent", "silent"]
    assert "Redis does not tell which is which" in result["warnings"][0]

    server.kill()
    result, output = run(tmp_path, {"broker_url": server.url})
    assert result["failed"]
    assert "Could not connect to the broker" in result["msg"]
    assert "workers" not in result
    assert "not-a-real-password" not in output
