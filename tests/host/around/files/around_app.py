# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application with a task for each second, and one that lasts as long as a test wants."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from redis import Redis

app = Celery("around")
app.conf.task_default_queue = "web"
app.conf.beat_schedule = {"each-second": {"task": "around_app.tick", "schedule": 1.0}}
LEDGER = "ticks"


@app.task(bind=True)
def tick(self: Any) -> None:
    """Note which process sent it, and when it ran."""
    with Redis.from_url(os.environ["CELERY_RESULT_BACKEND"]) as redis:
        redis.rpush(LEDGER, f"{self.request.origin} {time.time()}")


@app.task
def hold(name: str) -> str:
    """Run until the file /run/around/release/NAME exists, and leave a line behind that says so."""
    while not Path("/run/around/release", name).exists():
        time.sleep(0.05)
    with Path("/run/around/done").open("a", encoding="utf-8") as done:
        done.write(f"{name}\n")
    return name
