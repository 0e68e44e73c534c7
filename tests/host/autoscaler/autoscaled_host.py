# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a fleet that has a policy and one that has none, and a way to ask the scaler on it."""

from __future__ import annotations

import copy
import json
from typing import Any

from muejam_bed.systemd_host import SystemdHost

PASSWORD = "not-a-real-password-77e1"
# It asks for nothing by itself while the tests here ask: who decides what is tested elsewhere.
POLICY: dict[str, Any] = {
    "limits": {"min_workers": 1, "max_workers": 3},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 1000000}]},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "24h"}]},
}
VARIABLES: dict[str, Any] = {
    "celery_broker_type": "redis",
    "celery_broker_password": PASSWORD,
    "celery_worker_fleet_defaults": {
        "app": "celery_demo",
        "working_directory": "/opt/celery-demo",
        "virtualenv": "/opt/celery-demo/venv",
        "packages": ["celery[redis]==5.7.0"],
        "broker_url": f"redis://:{PASSWORD}@127.0.0.1:6379/0",
        "result_backend": f"redis://:{PASSWORD}@127.0.0.1:6379/1",
        "concurrency": 1,
        "drain_timeout": 60,
    },
    "celery_worker_fleets": [
        {"name": "web", "workers": 1, "queues": ["web"], "policy": POLICY},
        {"name": "bulk", "workers": 1, "queues": ["bulk"]},
    ],
    "celery_autoscaler_interval": "1s",
}

# The same few lines that the service itself has: connect, send a line, read a line.
ASK = """
import socket, sys
way = socket.socket(socket.AF_UNIX)
way.settimeout(60)
way.connect("/run/celery-autoscaler-scale.sock")
way.sendall(sys.argv[1].encode() + b"\\n")
answer = b""
while not answer.endswith(b"\\n"):
    more = way.recv(65536)
    if not more:
        break
    answer += more
print(answer.decode())
"""


def variables(**changes: Any) -> dict[str, Any]:
    """The variables of the deployment, with other ones for the autoscaler or the first fleet."""
    changed = copy.deepcopy(VARIABLES)
    for name, value in changes.items():
        if name.startswith("celery_"):
            changed[name] = value
        else:
            changed["celery_worker_fleets"][0][name] = value
    return changed


class Scaled:
    """The host, as a test of the autoscaler wants to see and to use it."""

    def __init__(self, host: SystemdHost) -> None:
        self.host = host

    def deploy(self, *flags: str, check: bool = True, **changes: Any) -> str:
        """Run the playbook deploy and return what it printed."""
        done = self.host.playbook("playbooks/deploy.yml", *flags, extra_vars=variables(**changes), check=check)
        assert check or done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def ask(self, user: str = "celery-autoscaler", **request: Any) -> dict[str, Any]:
        """Ask the scaler as a user of the host."""
        told: dict[str, Any] = json.loads(self.run_as(user, "python3", "-c", ASK, json.dumps(request)))
        return told

    def ask_twice(self, user: str = "celery-autoscaler", **request: Any) -> list[dict[str, Any]]:
        """Ask the scaler the same twice, one right after the other."""
        twice = 'python3 -c "$0" "$1" && python3 -c "$0" "$1"'
        said = self.run_as(user, "sh", "-c", twice, ASK, json.dumps(request))
        return [json.loads(line) for line in said.splitlines() if line]

    def run_as(self, user: str, *command: str, check: bool = True) -> str:
        """Run a command as a user of the host and return what it printed, complaints included."""
        done = self.host.run("runuser", "-u", user, "--", *command, check=check)
        return done.stdout + done.stderr

    def workers(self, fleet: str) -> list[int]:
        """The numbers of the fleet's workers that run, and are to run after a reboot as well."""
        running = self.host.output(
            "systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"celery-worker-{fleet}@*"
        )
        enabled = self.host.output(
            "find",
            "/etc/systemd/system/multi-user.target.wants",
            "-name",
            f"celery-worker-{fleet}@*",
            "-printf",
            "%f\n",
        )
        found = [{int(line.split("@")[1].split(".")[0]) for line in lines.splitlines()} for lines in (running, enabled)]
        return sorted(found[0] & found[1])

    def show(self, unit: str, prop: str) -> str:
        """A property of a unit."""
        return self.host.output("systemctl", "show", f"--property={prop}", "--value", unit)

    def traces(self) -> str:
        """What would differ if anything had been touched."""
        places = "/etc/celery-worker /etc/celery-autoscaler /etc/systemd/system /opt/*/lib"
        files = f"find {places} -type f ! -name '*.pyc'"
        sums = self.host.output("sh", "-c", f"{files} -print0 2>/dev/null | sort -z | xargs -0 sha256sum")
        units = self.host.output(
            "systemctl", "show", "--property=Id,MainPID,InvocationID", "celery-worker-*@*", "celery-autoscaler.service"
        )
        return sums + units
