# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the scenarios' tests look at a fleet: by systemd, by Celery's own remote control, and by running tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

VIRTUALENV = "/opt/probe/venv"
WORKING_DIRECTORY = "/srv/probe"


@dataclass(frozen=True)
class Fleet:
    """One fleet on a host that runs the probe application."""

    host: Host
    name: str

    def units(self) -> list[str]:
        """Return the units that run, sorted by name."""
        listed = self.host.check_output(
            f"systemctl list-units --plain --no-legend --state=active 'celery-worker-{self.name}@*'"
        )
        return sorted(line.split()[0] for line in listed.splitlines())

    def enabled(self) -> list[str]:
        """Return the units that come back after a reboot, sorted by name."""
        wanted = self.host.file("/etc/systemd/system/multi-user.target.wants")
        return sorted(name for name in wanted.listdir() if name.startswith(f"celery-worker-{self.name}@"))

    def node(self, number: int) -> str:
        """Return the node name of a worker."""
        return f"{self.name}-{number}@{self.host.check_output('hostname')}"

    def show(self, number: int, *properties: str) -> dict[str, str]:
        """Return properties of a worker's unit as systemd knows them."""
        shown = self.host.check_output(
            f"systemctl show --property={','.join(properties)} celery-worker-{self.name}@{number}.service"
        )
        return dict(line.split("=", 1) for line in shown.splitlines())

    def main_pid(self, number: int) -> int:
        """Return the process id that systemd watches for a worker."""
        return int(self.show(number, "MainPID")["MainPID"])

    def status(self, number: int) -> dict[str, Any]:
        """Return what a worker last wrote of itself, with the age of that in seconds."""
        # The clock first: how long the reading takes is not the worker's fault.
        clock = "import time; print(time.monotonic(), flush=True)"
        path = f"/run/celery-worker/{self.name}-{number}/status.json"
        now, text = self.host.check_output(f"python3 -c '{clock}' && cat {path}").split("\n", 1)
        written: dict[str, Any] = json.loads(text)
        return {**written, "age": float(now) - written["monotonic"]}

    def inspect(self, what: str, number: int) -> dict[str, Any]:
        """Return the answer of one worker to an inspection."""
        node = self.node(number)
        answer: dict[str, Any] = json.loads(
            self._as_fleet(f"celery --app probe inspect --json --timeout 10 --destination {node} {what}")
        )
        told: dict[str, Any] = answer[node]
        return told

    def look(self, queue: str, count: int = 1, seconds: float = 0.0, mebibytes: int = 0) -> list[dict[str, Any]]:
        """Send tasks to a queue and return what each told of where it ran."""
        answers: list[dict[str, Any]] = json.loads(
            self._as_fleet(f"python -m probe {queue} {count} {seconds} {mebibytes}")
        )
        return answers

    def _as_fleet(self, command: str) -> str:
        # The environment file is systemd's to read: no shell quotes as it does.
        output: str = self.host.check_output(
            "systemd-run --quiet --wait --pipe --collect"
            f" --property=EnvironmentFile=/etc/celery-worker/{self.name}.env"
            f" --property=WorkingDirectory={WORKING_DIRECTORY}"
            f" {VIRTUALENV}/bin/{command}"
        )
        return output


def at_once(answers: list[dict[str, Any]]) -> int:
    """Return how many tasks ran at the same time at most."""
    edges = sorted([(one["begun"], 1) for one in answers] + [(one["ended"], -1) for one in answers])
    running = peak = 0
    for _at, step in edges:
        running += step
        peak = max(peak, running)
    return peak
