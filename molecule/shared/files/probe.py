# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application whose tasks tell where they ran. As a program it sends tasks and prints what they answered.

python -m probe QUEUE COUNT SECONDS MEBIBYTES
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from celery import Celery

RESULT_SECONDS = 60

app = Celery("probe")


@app.task(bind=True)
def look(self: Any, seconds: float, mebibytes: int) -> dict[str, Any]:
    """Take time and memory, and tell who did: the node, the process, the thread, the greenlet, from when until when."""
    begun = time.monotonic()
    # Bytes that are not zero, so that they are really in memory.
    taken = b"x" * (mebibytes << 20)
    time.sleep(seconds)
    del taken
    greenlet = sys.modules.get("greenlet")
    return {
        "node": self.request.hostname,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "in_main_thread": threading.current_thread() is threading.main_thread(),
        "in_greenlet": bool(greenlet and greenlet.getcurrent().parent),
        "begun": begun,
        "ended": time.monotonic(),
    }


def main() -> None:
    """Send the tasks together and wait for all."""
    queue, count, seconds, mebibytes = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    # A program that is run by its name is not the module that the workers know.
    sent = [app.send_task("probe.look", (seconds, mebibytes), queue=queue) for _number in range(count)]
    print(json.dumps([one.get(timeout=RESULT_SECONDS) for one in sent]))


if __name__ == "__main__":
    main()
