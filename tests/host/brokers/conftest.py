# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for each kind of broker, with fleets of the demo's app."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from load import Load

from muejam_bed import demo_app
from muejam_bed.systemd_host import SystemdHost

BROKERS = {
    "redis": "redis://:not-a-real-password@127.0.0.1:6379/0",
    "rabbitmq": "amqp://celery:not-a-real-password@127.0.0.1:5672/celery",
}


@dataclass(frozen=True)
class Brokered:
    """A host with a broker and fleets."""

    host: SystemdHost
    broker_url: str

    def load(self, fleet: str) -> Load:
        """A new load for one of the fleets."""
        return Load(self.host, fleet, self.broker_url)

    def waiting(self, queue: str) -> int:
        """Messages that wait in a queue."""
        read = self.host.result("muejam.celery.queue_info", {"broker_url": self.broker_url, "queues": [queue]})
        waiting: int = read["queues"][0]["waiting"]
        return waiting


@pytest.fixture(scope="package", params=list(BROKERS))
def brokered(request: pytest.FixtureRequest, host_for: Callable[[ExitStack, str], SystemdHost]) -> Iterator[Brokered]:
    """A host with one of the brokers."""
    with ExitStack() as hosts:
        host = host_for(hosts, f"brokers-{request.param}")
        demo_app.bring(host.name)
        host.playbook(Path(__file__).parent / "fleets.yml", extra_vars={"broker": request.param})
        yield Brokered(host, BROKERS[request.param])
