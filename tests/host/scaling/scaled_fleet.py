# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet of these tests, as a test wants to see and to use it."""

from __future__ import annotations

import json
from typing import Any

from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

CELERY = "/opt/scaled/venv/bin/celery"
BROKER = "redis://:not-a-real-password@127.0.0.1:6379/0"


def unit(number: int) -> str:
    """The unit of one worker of the fleet."""
    return f"celery-worker-web@{number}.service"


class Fleet:
    """The fleet on the host."""

    def __init__(self, host: SystemdHost) -> None:
        self.host = host

    def scale(self, workers: int, *flags: str, check: bool = True, **options: Any) -> dict[str, Any]:
        """Run the module."""
        return self.host.result(
            "muejam.celery.scale", {"fleet": "web", "workers": workers, **options}, *flags, check=check
        )

    def restart(self, *flags: str, check: bool = True, **options: Any) -> dict[str, Any]:
        """Run the module that restarts workers."""
        return self.host.result("muejam.celery.restart", {"fleet": "web", **options}, *flags, check=check)

    def main_pid(self, number: int) -> int:
        """The main process of a worker."""
        return int(self.host.output("systemctl", "show", "--property=MainPID", "--value", unit(number)))

    def active(self) -> list[int]:
        """The numbers of the workers that run."""
        listed = self.host.output(
            "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "celery-worker-web@*"
        )
        return sorted(int(line.split("@")[1].split(".")[0]) for line in listed.splitlines())

    def enabled(self) -> list[int]:
        """The numbers of the workers that come back after a reboot."""
        listed = self.host.output("find", "/etc/systemd/system/multi-user.target.wants", "-name", "celery-worker-web@*")
        return sorted(int(line.split("@")[1].split(".")[0]) for line in listed.splitlines())

    def status(self, number: int) -> dict[str, Any]:
        """What a worker says about itself."""
        printed = self.host.output("cat", f"/run/celery-worker/web-{number}/status.json")
        status: dict[str, Any] = json.loads(printed)
        return status

    def busy(self) -> list[int]:
        """The numbers of the workers that have a task."""
        return [number for number in self.active() if self.status(number)["active"]]

    def hold(self, *names: str) -> None:
        """Send tasks that last until they are released, and wait until they run."""
        before = len(self.busy())
        for name in names:
            self.host.run(
                "env",
                "--chdir=/srv/scaled",
                CELERY,
                "-b",
                BROKER,
                "-A",
                "scaled_app",
                "call",
                "scaled_app.hold",
                "--args",
                json.dumps([name]),
                "--queue",
                "web",
            )
        wait_until(lambda: len(self.busy()) == before + len(names), 30, lambda: f"tasks {names} do not run")

    def release(self, *names: str) -> None:
        """Let tasks come to their end."""
        self.host.run("touch", *(f"/var/lib/scaled/release/{name}" for name in names))

    def done(self) -> list[str]:
        """The tasks that came to their end, in this order, each as often as it ran."""
        return self.host.run("cat", "/var/lib/scaled/done", check=False).stdout.splitlines()
