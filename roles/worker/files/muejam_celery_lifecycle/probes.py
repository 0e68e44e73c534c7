# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks whether the worker is ready and alive, as a kubelet does, gets an answer by HTTP; no process is started."""

from __future__ import annotations

import json
import time
from typing import Mapping

from . import reporter
from .http_port import Answer, HttpPort
from .log import report
from .status import Status

START_WITHIN = 600.0  # seconds that a worker is alive without a connection to the broker, before it has ever consumed


def read_port(environ: Mapping[str, str]) -> int | None:
    """Return the port that probes are answered on, None for none; the log is told what is no port."""
    text = environ.get("CELERY_LIFECYCLE_HTTP", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    report(f"CELERY_LIFECYCLE_HTTP has to be a port, 1 to 65535, and is {text!r}: probes are not answered")
    return None


def read_within(environ: Mapping[str, str], otherwise: float) -> float:
    """Return the age in seconds from which a proof of life is too old, infinite where none is."""
    text = environ.get("CELERY_LIFECYCLE_ALIVE_WITHIN", "").strip()
    if not text:
        return otherwise
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        report(f"CELERY_LIFECYCLE_ALIVE_WITHIN has to be seconds, 0 or more, and is {text!r}: it is {otherwise:g}")
        return otherwise
    # A loop that is well may take seconds to turn, and would be killed in the middle of its tasks.
    return max(seconds, reporter.STALE_AFTER) if seconds else float("inf")


class Probes:
    """What is answered. Read by the thread of the port."""

    def __init__(self, status: Status, reporting: reporter.Reporter, environ: Mapping[str, str]) -> None:
        self.status = status
        self.reporting = reporting
        self.number = read_port(environ)
        self.within = read_within(environ, reporting.stale_after)
        self.port = HttpPort(self.answer)

    def start(self) -> None:
        if self.number is None:
            return
        try:
            self.port.start(self.number)
        except OSError as error:
            report(
                f"listening on port {self.number} (CELERY_LIFECYCLE_HTTP) failed: {error}. The worker goes on, and its "
                "probes get no answer. Workers that share a network, as in one pod, need a port each"
            )

    def answer(self, path: str) -> Answer:
        now = time.monotonic()
        if path == "/ready":
            return self.ready(now)
        if path == "/alive":
            return self.alive(now)
        if path == "/status":
            snapshot = self.status.snapshot(self.reporting.is_blocked())
            document = self.status.document(snapshot, self.status.proven_at(now))
            return Answer(200, json.dumps(document), "application/json")
        return Answer(404, "There are /ready, /alive and /status.")

    def ready(self, now: float) -> Answer:
        """Answer whether the worker takes tasks. One whose loop stands still does not, whatever it did last."""
        standstill = self.standstill(now)
        if standstill:
            return Answer(503, standstill)
        snapshot = self.status.snapshot(self.reporting.is_blocked())
        return Answer(200 if snapshot["state"] == "consuming" else 503, self.status.describe(snapshot))

    def alive(self, now: float) -> Answer:
        """Answer whether the worker is worth keeping. One that drains, or waits for the broker, is."""
        standstill = self.standstill(now)
        return Answer(503, standstill) if standstill else Answer(200, f"alive: {self.status.state()}")

    def standstill(self, now: float) -> str:
        """Return since when the worker does nothing that it should, empty where it does."""
        if self.within == float("inf"):
            return ""
        status = self.status
        age = now - status.proven_at(now)
        if age >= self.within:
            return f"the worker's loop has not turned for {age:.1f} seconds; {self.within:g} are allowed"
        started = now - status.began
        # Later on the broker may be away for as long as it likes: tasks may run, and the worker connects again.
        if not (status.ready or status.attached or status.stopping) and started >= START_WITHIN:
            return f"not connected to the broker in {started:.0f} seconds since the start; {START_WITHIN:g} are allowed"
        return ""

    @property
    def fault(self) -> Exception | None:
        return self.port.fault

    def finish(self) -> None:
        self.port.finish()
