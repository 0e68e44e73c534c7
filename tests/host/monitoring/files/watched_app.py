# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application whose tasks last, and one that keeps what it has used."""

from __future__ import annotations

import time

from celery import Celery

app = Celery("watched")
kept: list[bytearray] = []


@app.task
def hold(seconds: float) -> None:
    """Run for a while."""
    time.sleep(seconds)


@app.task
def leak(megabytes: int) -> None:
    """Take memory and never give it back."""
    # Written to, or the kernel would not have given it yet.
    kept.append(bytearray(b"x") * (megabytes * 2**20))
