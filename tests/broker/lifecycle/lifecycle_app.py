# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Celery app whose workers the lifecycle tests run. It knows nothing of the lifecycle module.

Each run of a task appends a line "<name> <number>" to the file named by LIFECYCLE_JOURNAL.
"""

from __future__ import annotations

import json
import os
import time

from celery import Celery

app = Celery("lifecycle_app")
app.conf.update(json.loads(os.environ.get("LIFECYCLE_SETTINGS", "{}")))
app.conf.update(broker_connection_retry_on_startup=True)


def record(name, number):
    descriptor = os.open(os.environ["LIFECYCLE_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{name} {number}\n".encode())
    finally:
        os.close(descriptor)


@app.task(name="work")
def work(number, seconds=0.0):
    record("begun", number)
    time.sleep(seconds)
    record("done", number)


@app.task(name="clocked")
def clocked(number, seconds):
    """Write down when it began."""
    record("taken", f"{number} {time.time()}")
    time.sleep(seconds)


@app.task(name="limited", rate_limit="1/s")
def limited(number):
    record("done", number)


@app.task(name="again", bind=True)
def again(self, number):
    """Come to grief once and be tried again."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    record("done", number)


@app.task(name="environment")
def environment(number):
    record("environment", ",".join(sorted(name for name in os.environ if name.startswith(("NOTIFY_", "WATCHDOG_")))))


@app.task(name="chained")
def chained(number, priority):
    """Send another task from inside the worker."""
    app.send_task("work", [number], priority=priority)
