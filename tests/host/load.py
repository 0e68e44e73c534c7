# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks for a fleet on a host, and what became of them."""

from __future__ import annotations

import json
from typing import Any

from muejam_bed.systemd_host import SystemdHost


class Load:
    """Tasks for one fleet, whose name is also that of its queue, and what became of them."""

    def __init__(self, host: SystemdHost, fleet: str, broker_url: str) -> None:
        self.host = host
        self.fleet = fleet
        self.broker_url = broker_url
        self.ledger = f"/var/lib/celery-demo/{fleet}.jsonl"
        self.sent: list[str] = []
        host.run("sh", "-c", f": > {self.ledger}; chmod 0666 {self.ledger}")

    def send(self, count: int, shortest: float, longest: float) -> None:
        """Publish so many tasks of three priorities; lengths in seconds."""
        sender = ["/opt/celery-demo/venv/bin/python", "-m", "celery_demo.send", "--queue", self.fleet]
        length = ["--min", str(shortest), "--max", str(longest), "--count", str(count), "--seed", str(len(self.sent))]
        environment = ["env", "--chdir=/opt/celery-demo", f"CELERY_BROKER_URL={self.broker_url}"]
        printed = self.host.output(*environment, *sender, *length)
        self.sent += [json.loads(line)["id"] for line in printed.splitlines()]

    def done(self) -> int:
        """The number of tasks that came to their end, counted as often as they did."""
        return int(self.host.output("sh", "-c", f"wc -l < {self.ledger}"))

    def left(self) -> int:
        """The number of tasks that were sent and did not come to their end yet.

        Each counts once: where a broker went away meanwhile, some that are acknowledged late may have run twice.
        """
        ended = self.host.output("sh", "-c", f"cut -d'\"' -f4 {self.ledger} | sort -u")
        return len(set(self.sent) - set(ended.split()))

    def runs(self) -> list[dict[str, Any]]:
        """What ran, in the order in which it ended."""
        return [json.loads(line) for line in self.host.output("cat", self.ledger).splitlines()]

    def evidence(self) -> str:
        """What an operator would want to see where tasks do not end."""
        shown = [f"{self.left()} of {len(self.sent)} tasks of {self.fleet} are left"]
        for command in (
            f"systemctl list-units --all --no-pager --plain 'celery-worker-{self.fleet}@*'",
            f"tail -n +1 /run/celery-worker/{self.fleet}-*/status.json",
            "rabbitmqctl --quiet list_queues --vhost celery name messages_ready messages_unacknowledged consumers",
            "rabbitmqctl --quiet list_consumers --vhost celery",
            "rabbitmqctl --quiet list_connections name state channels",
            "redis-cli -a not-a-real-password --no-auth-warning INFO clients",
            f"journalctl --no-pager -n 60 -u 'celery-worker-{self.fleet}@*' | grep -v -e received -e succeeded",
            "uptime",
        ):
            done = self.host.run("sh", "-c", command, check=False)
            shown.append(f"$ {command}\n{done.stdout}{done.stderr}")
        return "\n".join(shown)

    def scale(self, workers: int) -> None:
        """Scale the fleet, until the new ones consume and the old ones are gone."""
        result = self.host.result("muejam.celery.scale", {"fleet": self.fleet, "workers": workers})
        assert result["after"] == workers, result
        assert result["draining"] == [], result
