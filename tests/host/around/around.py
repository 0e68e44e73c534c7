# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with a fleet, one broker, beat on one of them, and Flower, as a test wants to see and to use them."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from muejam_bed import reach
from muejam_bed.shell import CHECKOUT
from muejam_bed.systemd_host import SystemdHost, ansible

PASSWORD = "not-a-real-password-77a1"
USER_PASSWORD = "not-a-real-login-4c0d"
CELERY = "/opt/scaled/venv/bin/celery"
BEAT = "celery-beat-web.service"
FLOWER = "celery-flower.service"

_RESULTS = ("redis-cli", "--no-auth-warning", "-a", PASSWORD, "-n", "1")
"""Ask the database in which tasks leave what they did."""


class Around:
    """The two hosts; the broker and Flower are on the first one."""

    def __init__(self, first: SystemdHost, second: SystemdHost) -> None:
        self.hosts = (first, second)
        self.first, self.second = first, second
        self.variables: dict[str, Any] = {}

    def redis(self, database: int) -> str:
        """The URL of a database of the broker's server, as both hosts reach it."""
        return f"redis://:{PASSWORD}@{self.first.address}:6379/{database}"

    def inventory(self) -> Path:
        """Write the inventory of the two."""
        fleet = {
            "name": "web",
            "workers": 1,
            "app": "around_app",
            "working_directory": "/srv/around",
            "virtualenv": "/opt/scaled/venv",
            "packages": ["celery[redis]==5.7.0"],
            "broker_url": self.redis(0),
            "result_backend": self.redis(1),
            "queues": ["web"],
            "concurrency": 2,
            "prefetch_multiplier": 1,
            "acks_late": True,
            "time_limit": 100,
            "drain_timeout": 110,
            "read_write_paths": ["/run/around"],
        }
        variables = {
            "celery_broker_type": "redis",
            "celery_broker_password": PASSWORD,
            "celery_broker_bind": ["127.0.0.1", self.first.address],
            "celery_worker_fleets": [fleet],
            "celery_beats": [{"fleet": "web"}],
            "celery_beat_host": self.first.name,
            "celery_flower_fleet": "web",
            "celery_flower_users": {"ops": USER_PASSWORD},
            "celery_flower_url_prefix": "flower",
            **self.variables,
        }
        names = [host.name for host in self.hosts]
        groups = {
            "celery_broker": {"hosts": {names[0]: None}},
            "celery_workers": {"hosts": dict.fromkeys(names)},
            "celery_flower": {"hosts": {names[0]: None}},
        }
        path = self.first.scratch / "around.yml"
        inventory = {
            "all": {"hosts": {name: reach.variables(name) for name in names}, "vars": variables, "children": groups}
        }
        path.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
        return path

    def play(self, playbook: str, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection against the two."""
        arguments = ["-i", str(self.inventory()), str(CHECKOUT / "playbooks" / f"{playbook}.yml"), *flags]
        return ansible("ansible-playbook", *arguments, cwd=self.first.scratch, check=check)

    def bring_the_application(self) -> None:
        """Put its code on both hosts."""
        for host in self.hosts:
            host.run("mkdir", "-p", "/srv/around", "/run/around/release")
            host.run("chmod", "0777", "/run/around", "/run/around/release")
            source = Path(__file__).parent / "files/around_app.py"
            host.put("/srv/around/around_app.py", source.read_text(encoding="utf-8"))

    def ticks(self) -> list[tuple[str, float]]:
        """Which process sent each task of the schedule, and when it ran."""
        printed = self.first.output(*_RESULTS, "lrange", "ticks", "0", "-1")
        return [(line.split()[0], float(line.split()[1])) for line in printed.splitlines()]

    def begin_anew(self) -> None:
        """Forget the ticks so far."""
        self.first.run(*_RESULTS, "del", "ticks")

    def call(self, task: str, *arguments: str) -> None:
        """Send a task."""
        self.first.run(
            *("env", "--chdir=/srv/around", f"CELERY_BROKER_URL={self.redis(0)}", CELERY, "-A", "around_app", "call"),
            *(f"around_app.{task}", "--args", json.dumps(arguments)),
        )

    def flower(self, path: str, method: str = "GET", login: str | None = f"ops:{USER_PASSWORD}") -> tuple[int, str]:
        """Ask Flower over HTTP; return the code and the body of its answer."""
        header = f"Authorization: Basic {base64.b64encode((login or '').encode()).decode()}"
        answer = self.first.output(
            *("python3", "-c", _ASK, f"http://127.0.0.1:5555/flower{path}", method, header if login else ""),
        )
        code, _line, body = answer.partition("\n")
        return int(code), body

    def flower_answers(self) -> bool:
        """Whether Flower takes connections."""
        health = "http://127.0.0.1:5555/flower/healthcheck"
        return self.first.run("python3", "-c", _ASK, health, "GET", "", check=False).returncode == 0


_ASK = """
import sys, urllib.error, urllib.request
url, method, header = sys.argv[1:]
request = urllib.request.Request(url, method=method)
if header:
    request.add_header(*header.split(": ", 1))
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
"""


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks of a run changed something, on all hosts."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", done.stdout))


def shown(host: SystemdHost, unit: str, name: str) -> str:
    """A property of a unit as systemd knows it."""
    return host.output("systemctl", "show", f"--property={name}", "--value", unit)


def exposure(host: SystemdHost, unit: str) -> float:
    """What `systemd-analyze security` says of a unit: 0 is the best, 10 the worst."""
    report = host.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert found, report
    return float(found[1])


def secrets_on(host: SystemdHost, *units: str) -> list[str]:
    """Where a secret of these tests can be read by others than root and the service: files of units, journals, `ps`."""
    places = {
        "units": host.run("sh", "-c", "cat /etc/systemd/system/celery-*").stdout,
        "journal": host.journal("celery-*"),
        "show": "".join(host.run("systemctl", "show", unit).stdout for unit in units),
        "commands": host.run("ps", "axww", "-o", "args").stdout,
    }
    return [name for name, text in places.items() if PASSWORD in text or USER_PASSWORD in text]
