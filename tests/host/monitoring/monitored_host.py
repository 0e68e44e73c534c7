# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a fleet and its autoscaler, and with the Prometheus and Alertmanager that watch them."""

from __future__ import annotations

import copy
import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

import documented
from muejam_bed import reach
from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

PASSWORD = "not-a-real-password-31c8"
URL = f"redis://:{PASSWORD}@127.0.0.1:6379/0"
TOKEN = "not-a-real-token-5f10"
SLACK = "https://hooks.slack.example/services/not-a-real-secret-77aa"
APP = "/opt/watched"
FACTOR = 12
"""By how much everything is quicker that alerts wait for."""

FLEET: dict[str, Any] = {
    "name": "web",
    "workers": 1,
    "app": "watched_app",
    "working_directory": APP,
    # The virtual environment that hosts of tests begin with.
    "virtualenv": "/opt/celery-demo/venv",
    "packages": ["celery[redis]==5.7.0"],
    "broker_url": URL,
    "queues": ["web"],
    "concurrency": 1,
    "prefetch_multiplier": 1,
    "memory_max": "256M",
    "task_events": True,
    "drain_timeout": 30,
    "policy": {
        "limits": {"min_workers": 1, "max_workers": 2, "cooldown_up": 0, "cooldown_down": 0},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 10, "for": "2s"}]},
        "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "5s"}]},
    },
}


def _seconds(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def quicker() -> dict[str, dict[str, str]]:
    """For each alert that has to last, how long it has to here."""
    return {
        rule["alert"]: {"for": f"{_seconds(rule['for']) // FACTOR}s"} for rule in documented.alerts() if "for" in rule
    }


class Monitored:
    """The host, as a test of the monitoring wants to see and to use it.

    :ivar gateway: the address of this machine at which the host reaches servers of the test.
    :ivar printed: what the first run of the playbook printed, with all that it can be made to show.
    """

    printed = ""

    def __init__(self, host: SystemdHost, port: int) -> None:
        self.host = host
        self.gateway = host.output("sh", "-c", "ip -4 route show default | cut -d' ' -f3")
        self.webhook = f"http://{self.gateway}:{port}/alerts"
        self.others: dict[str, dict[str, Any]] = {}
        self.fleet = copy.deepcopy(FLEET)

    def variables(self) -> dict[str, Any]:
        """The variables of the monitoring."""
        return {
            "celery_monitoring_scrape_interval": "1s",
            "celery_monitoring_group_wait": "1s",
            "celery_monitoring_group_interval": "2s",
            "celery_monitoring_repeat_interval": "5h",
            "celery_monitoring_retention_size": "1GB",
            "celery_monitoring_runbooks_url": "https://git.example.org/celery/blob/main",
            "celery_monitoring_alerts": quicker(),
            "celery_monitoring_receivers": [
                {"name": "test", "webhook": {"url": self.webhook, "token": TOKEN}},
                {
                    "name": "team",
                    "severities": ["warning"],
                    "fleets": ["nobody-has-this-one"],
                    "slack": {"url": SLACK, "channel": "#celery"},
                    "mail": {
                        "to": "team@example.com",
                        "from": "alerts@example.com",
                        "smarthost": "127.0.0.1:2525",
                        "username": "alerts",
                        "password": f"{TOKEN}-of-mail",
                    },
                },
            ],
        }

    def inventory(self) -> Path:
        """An inventory of this host and of those that are only spoken of."""
        own = json.loads(reach.inventory(self.host.name))
        own["all"]["children"]["celery_monitoring"] = {"hosts": {self.host.name: None}}
        workers = own["all"]["children"]["celery_workers"]
        workers["hosts"][self.host.name] = {"celery_worker_fleets": [self.fleet], "celery_autoscaler_interval": "1s"}
        workers["hosts"].update(self.others)
        path = self.host.scratch / "monitored.yml"
        path.write_text(yaml.safe_dump(own), encoding="utf-8")
        path.chmod(0o600)
        return path

    def monitor(self, *flags: str, check: bool = True, **changes: Any) -> str:
        """Run the playbook monitoring and return what it printed."""
        done = self.host.playbook(
            "playbooks/monitoring.yml",
            "-i",
            str(self.inventory()),
            *flags,
            extra_vars={**self.variables(), **changes},
            check=check,
        )
        assert check or done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def deploy(self, **changes: Any) -> None:
        """Deploy broker, fleet and autoscaler."""
        code = Path(__file__).parent / "files" / "watched_app.py"
        self.host.run("mkdir", "-p", APP)
        self.host.put(f"{APP}/watched_app.py", code.read_text(encoding="utf-8"))
        self.fleet.update(changes)
        given = {
            "celery_broker_type": "redis",
            "celery_broker_password": PASSWORD,
            "celery_worker_fleets": [self.fleet],
            "celery_autoscaler_interval": "1s",
            "celery_autoscaler_stuck_after": "10s",
        }
        self.host.playbook("playbooks/deploy.yml", extra_vars=given)

    def control(self, *command: str) -> None:
        """Tell the workers something, and wait until they have answered: one that is on its way back hears nothing."""
        environment = ["env", f"--chdir={APP}", f"CELERY_BROKER_URL={URL}"]
        program = ["/opt/celery-demo/venv/bin/celery", "--app=watched_app", *command]
        wait_until(lambda: self.host.run(*environment, *program, check=False).returncode == 0, 60)

    def send(self, task: str, *arguments: float, count: int = 1) -> None:
        """Publish tasks."""
        program = (
            "import sys; from watched_app import app\n"
            f"for _ in range({count}): app.send_task('watched_app.{task}', args={list(arguments)}, queue='web')"
        )
        environment = ["env", f"--chdir={APP}", f"CELERY_BROKER_URL={URL}"]
        self.host.run(*environment, "/opt/celery-demo/venv/bin/python", "-c", program)

    def asked(self, path: str, **parameters: str) -> Any:
        """What Prometheus answers."""
        # It can be reached from its own host alone, which has no curl.
        fetch = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=10).read().decode())"
        url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(self.host.output("python3", "-c", fetch, url))["data"]

    def value(self, query: str) -> float | None:
        """The value of the one series that answers; None when there is none."""
        result = self.asked("query", query=query)["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def wait_for(self, query: str, value: float, seconds: float = 60) -> None:
        """Wait until a query has this answer."""
        wait_until(lambda: self.value(query) == value, seconds, lambda: f"{query}: {self.value(query)}")

    def targets(self) -> dict[str, str]:
        """The health of each autoscaler that Prometheus scrapes, by its instance."""
        active = self.asked("targets", state="active")["activeTargets"]
        return {one["labels"]["instance"]: one["health"] for one in active if one["scrapePool"] == "celery-autoscaler"}

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {one["labels"]["alertname"] for one in self.asked("alerts")["alerts"] if one["state"] == "firing"}


def changes(output: str) -> int:
    """How many tasks changed something."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))
