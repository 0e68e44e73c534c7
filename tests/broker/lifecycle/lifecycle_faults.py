# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults for the lifecycle tests, loaded into a worker beside the lifecycle module.

A file named by LIFECYCLE_FAULT says what is wrong as long as it exists: "stuck" blocks the worker's main loop,
"deaf" makes the Redis transport ask for no message, "slow" lets a worker take long to become ready, "endless" lets it
never stop, "import" lets it go on importing its modules.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from celery import bootsteps, signals

from muejam_celery_lifecycle import reporter, silence, status

if "gevent.monkey" in sys.modules:
    from gevent.monkey import get_original

    native_sleep = get_original("time", "sleep")
else:
    native_sleep = time.sleep

# The tests need not wait as long as a real service manager should.
reporter.STALE_AFTER = 3.0
silence.STALL_AFTER = 1.0
status.LAST_STEPS_WITHIN = float(os.environ.get("LIFECYCLE_LAST_STEPS", "30"))

FAULT = Path(os.environ["LIFECYCLE_FAULT"])


def fault():
    try:
        return FAULT.read_text()
    except FileNotFoundError:
        return ""


if fault() == "import":
    print("importing", flush=True)
while fault() == "import":
    native_sleep(0.05)


class Faults(bootsteps.StartStopStep):
    # After the lifecycle's own step, so that the fault lies between it and the transport's callers.
    requires = ("muejam_celery_lifecycle.signals:LifecycleStep",)

    def start(self, c):
        while fault() == "slow":
            native_sleep(0.05)
        channel = c.task_consumer.channel
        ask = getattr(channel, "_brpop_start", None)
        if ask is not None:
            channel._brpop_start = lambda *args, **kwargs: None if fault() == "deaf" else ask(*args, **kwargs)
        self.look(c)

    def stop(self, c):
        while fault() == "endless":
            native_sleep(0.05)

    def look(self, c):
        while fault() == "stuck":
            native_sleep(0.05)
        c.timer.call_after(0.1, self.look, (c,))


@signals.worker_init.connect
def on_worker_init(sender=None, **kwargs):
    sender.app.steps["consumer"].add(Faults)
