# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fleet over two hosts with one broker, as a test wants to see and to use it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from muejam_bed import container, reach
from muejam_bed.shell import CHECKOUT, wait_until
from muejam_bed.systemd_host import SystemdHost, ansible

CELERY = "/opt/scaled/venv/bin/celery"
PASSWORD = "not-a-real-password"
POLICY: dict[str, Any] = {
    "limits": {
        "min_workers": 2,
        "max_workers": 8,
        "scale_up_max": 4,
        "scale_down_max": 4,
        "cooldown_up": "1h",
        "cooldown_down": "1s",
    },
    "scale_up": {"any": [{"metric": "queue_depth", "above": 3}], "add": {"workers": 4}},
    "scale_down": {"all": [{"metric": "backlog", "below": 1, "for": "2s"}], "remove": {"workers": 4}},
}


@dataclass(frozen=True)
class Played:
    """How a playbook ended: what it printed, and its recap by host."""

    code: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())


class Pair:
    """A fleet over two hosts; the broker is on the first one."""

    def __init__(self, first: SystemdHost, second: SystemdHost) -> None:
        self.hosts = (first, second)
        self.first, self.second = first, second
        self.held: set[str] = set()
        self.broker_url = f"redis://:{PASSWORD}@{first.address}:6379/0"

    def inventory(self, **of_second: Any) -> Path:
        """Return an inventory of the two, with more variables for the second one."""
        fleet = {
            "name": "web",
            "workers": 1,
            "app": "scaled_app",
            "working_directory": "/srv/scaled",
            "virtualenv": "/opt/scaled/venv",
            "packages": ["celery[redis]==5.7.0"],
            "broker_url": self.broker_url,
            "queues": ["web"],
            "concurrency": 1,
            "prefetch_multiplier": 1,
            "acks_late": True,
            # Tasks end when a test releases them.
            "time_limit": 600,
            "drain_timeout": 610,
            "read_write_paths": ["/var/lib/scaled"],
            "policy": POLICY,
        }
        workers = {host.name: reach.variables(host.name) for host in self.hosts}
        workers[self.second.name].update(of_second)
        groups = {
            "celery_broker": {"hosts": {self.first.name: None}},
            "celery_workers": {"hosts": dict.fromkeys(workers)},
        }
        variables = {
            "celery_broker_type": "redis",
            "celery_broker_password": PASSWORD,
            "celery_broker_bind": ["127.0.0.1", self.first.address],
            "celery_worker_fleets": [fleet],
            # Ansible scales the fleet; the daemon of a host knows nothing of the other one.
            "celery_autoscaler_mode": "observe",
        }
        path = self.first.scratch / "pair.yml"
        text = yaml.safe_dump({"all": {"hosts": workers, "vars": variables, "children": groups}}, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return path

    def play(self, playbook: str | Path, *flags: str, check: bool = True, **of_second: Any) -> Played:
        """Run a playbook of the collection, or a file, against the two hosts."""
        path = playbook if isinstance(playbook, Path) else CHECKOUT / "playbooks" / f"{playbook}.yml"
        arguments = ["-i", str(self.inventory(**of_second)), str(path), *flags]
        done = ansible("ansible-playbook", *arguments, cwd=self.first.scratch, check=check, ANSIBLE_TIMEOUT="5")
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", done.stdout, re.MULTILINE)
        recap = {host: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}
        return Played(done.returncode, done.stdout, recap)

    def autoscale(self, *flags: str, check: bool = True, **of_second: Any) -> Played:
        """Run one cycle by the playbook."""
        return self.play("autoscale", "-e", "fleet=web", *flags, check=check, **of_second)

    def workers(self) -> tuple[int, int]:
        """How many workers consume on each host."""
        first, second = (len(self._consuming(host)) for host in self.hosts)
        return first, second

    def busy(self) -> int:
        """How many tasks run on both hosts."""
        return sum(status["active"] for host in self.hosts for status in self._consuming(host))

    def hold(self, *names: str) -> None:
        """Send tasks that last until they are released, and wait until as many run as can at first."""
        for name in names:
            self.first.run(
                *("env", "--chdir=/srv/scaled", CELERY, "-b", self.broker_url, "-A", "scaled_app", "call"),
                *("scaled_app.hold", "--args", json.dumps([name]), "--queue", "web"),
            )
        self.held.update(names)
        wait_until(lambda: self.busy() == sum(self.workers()), 60, lambda: f"{self.busy()} tasks run")

    def release(self) -> None:
        """Let all tasks come to their end, and wait until they did."""
        for host in self.hosts:
            host.run("touch", *(f"/var/lib/scaled/release/{name}" for name in self.held or {"none"}))
        wait_until(lambda: self.held <= set(self.done()), 120, lambda: f"{self.held - set(self.done())} did not end")
        self.held.clear()

    def done(self) -> list[str]:
        """The tasks that came to their end on both hosts, each as often as it ran."""
        printed = [host.run("cat", "/var/lib/scaled/done", check=False).stdout for host in self.hosts]
        return sorted("".join(printed).splitlines())

    def reset(self) -> None:
        """Have one idle worker on each host, and nothing remembered."""
        self.unpause()
        self.release()
        for host in self.hosts:
            host.result("muejam.celery.scale", {"fleet": "web", "workers": 1})
            host.run("rm", "-rf", "/var/lib/muejam-celery", "/var/lib/alone")

    def pause(self) -> None:
        """Freeze the second host, as if it had lost its power or its network."""
        container.docker("pause", self.second.name)

    def unpause(self) -> None:
        """Let the second host go on."""
        container.docker("unpause", self.second.name, check=False)

    def _consuming(self, host: SystemdHost) -> list[dict[str, Any]]:
        active = host.output(
            "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "celery-worker-web@*"
        )
        numbers = [line.split("@")[1].split(".")[0] for line in active.splitlines()]
        printed = [
            host.run("cat", f"/run/celery-worker/web-{number}/status.json", check=False).stdout for number in numbers
        ]
        statuses = [json.loads(text) for text in printed if text]
        return [status for status in statuses if status["state"] == "consuming"]
