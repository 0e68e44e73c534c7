# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application whose tasks last exactly as long as a test wants."""

from __future__ import annotations

import time
from pathlib import Path

from celery import Celery

app = Celery("scaled")


@app.task
def hold(name: str) -> str:
    """Run until the file /var/lib/scaled/release/NAME exists, and leave a line behind that says so."""
    while not Path("/var/lib/scaled/release", name).exists():
        time.sleep(0.05)
    with Path("/var/lib/scaled/done").open("a", encoding="utf-8") as done:
        done.write(f"{name}\n")
    return name
