# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo's sender says was sent is with the broker, however slow that is and however soon the sender ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import kombu
from broker_servers import RabbitServer

TASKS = 300
DEMO = Path(__file__).resolve().parents[2] / "demo" / "app"


def test_tasks_that_were_told_of_are_with_a_broker_that_stood_still(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    command = ["-m", "celery_demo.send", "--count", str(TASKS), "--rate", "100", "--queue", "demo"]
    environment = {**os.environ, "PYTHONPATH": str(DEMO), "CELERY_BROKER_URL": rabbitmq_vhost}
    with subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        told = [sender.stdout.readline()]
        rabbitmq_server.freeze()
        try:
            # As long as a sender that asks for no confirmation takes to tell of all its tasks.
            with contextlib.suppress(subprocess.TimeoutExpired):
                sender.wait(2 * TASKS / 100)
            sender.kill()
            told += sender.stdout.readlines()
        finally:
            rabbitmq_server.thaw()
    with kombu.Connection(rabbitmq_vhost) as connection:
        waiting = connection.channel().queue_declare("demo", passive=True).message_count
    assert waiting >= len([line for line in told if line.endswith("\n")])
    assert len(told) < TASKS, "it told of tasks that a broker that stands still cannot have"
