# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Celery app of the workers that are read and drained from outside.

WORKER_SETTINGS: Celery settings as JSON. Each run of a task appends its number to the file WORKER_JOURNAL.
"""

from __future__ import annotations

import json
import os
import time

from celery import Celery
from kombu.transport.redis import SentinelChannel

settings = json.loads(os.environ.get("WORKER_SETTINGS", "{}"))
if settings.pop("as_kombu_before_5_4", False):
    # It did not fill the database into the names by which workers behind sentinels are called.
    SentinelChannel._get_pool = SentinelChannel._sentinel_managed_pool

app = Celery("worker_app")
app.conf.update(broker_connection_retry_on_startup=True, **settings)


@app.task(name="work")
def work(number, seconds=0.0):
    time.sleep(seconds)
    descriptor = os.open(os.environ["WORKER_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{number}\n".encode())
    finally:
        os.close(descriptor)
