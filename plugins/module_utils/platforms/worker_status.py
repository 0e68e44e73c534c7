# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker says about itself: one document, in a file or over HTTP.

It is written by the workers' own, unprivileged users, so nothing in it is believed before it is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import TasksUnknown

MAX_AGE = 5.0
"""Seconds after which a status says nothing any more; workers write it at least once a second."""

_MAX_TEXT = 256
_MAX_COUNT = 10**9
_MAX_SECONDS = 1e12
MAX_TOTAL = 10**15
_MAX_QUEUES = 1000


@dataclass(frozen=True)
class Status:
    """One worker's own account of itself.

    `monotonic` is when it was last proven alive, `written` when its counts were taken, both in seconds of
    CLOCK_MONOTONIC. `started` and `finished` count tasks, `taken` messages by queue, since its process started;
    `scheduled` are tasks that it has received and that wait for their time. They are `None` where the worker does not
    tell, as those with an older lifecycle module do not.
    """

    pid: int
    state: str
    active: int
    reserved: int
    monotonic: float
    config: str = ""
    written: float | None = None
    started: int | None = None
    finished: int | None = None
    taken: Mapping[str, int] | None = None
    pool: str | None = None
    concurrency: int | None = None
    scheduled: int | None = None

    @property
    def tasks(self) -> int:
        """Tasks in hand: those that run and those received but not started."""
        return self.active + self.reserved

    @property
    def begun(self) -> int | None:
        """Tasks started: Celery counts one a moment before or after it calls it active; what has ended is certain."""
        return self.started if self.finished is None else self.finished + self.active


class StatusUnknown(TasksUnknown):
    """Why nothing is known about a worker, in words for an operator."""


def parse_status(content: bytes) -> Status:
    """Check the content of a status.

    :raises StatusUnknown: when it is not what a worker writes.
    """
    try:
        values = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise StatusUnknown("its status is not JSON") from None
    if not isinstance(values, dict) or values.get("version") != 1:
        raise StatusUnknown("its status is of a version that is not known here")
    return Status(
        pid=_count(values, "pid"),
        state=_text(values, "state"),
        active=_count(values, "active"),
        reserved=_count(values, "reserved"),
        monotonic=_seconds(values, "monotonic"),
        config=_text(values, "config") if "config" in values else "",
        written=_seconds(values, "written") if "written" in values else None,
        started=_count(values, "processed", MAX_TOTAL) if "processed" in values else None,
        finished=_count(values, "finished", MAX_TOTAL) if "finished" in values else None,
        taken=_counts(values, "taken") if "taken" in values else None,
        pool=_text(values, "pool") if "pool" in values else None,
        # Some pools do not know how many tasks they run at once.
        concurrency=_count(values, "concurrency") if values.get("concurrency") is not None else None,
        scheduled=_count(values, "scheduled") if values.get("scheduled") is not None else None,
    )


def require_fresh(written: float, now: float) -> None:
    """Let pass what is of now.

    :param written: seconds of CLOCK_MONOTONIC, as is `now`, of the same machine.
    :raises StatusUnknown: when it is too old to say anything.
    """
    age = now - written
    if age > MAX_AGE:
        raise StatusUnknown(f"its status is {age:.0f} s old")
    if age < -1.0:
        raise StatusUnknown("its status is from the future")


def _count(values: dict[str, object], key: str, most: int = _MAX_COUNT) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise StatusUnknown(f"its status has no usable {key}")
    return value


def _counts(values: dict[str, object], key: str) -> Mapping[str, int]:
    value = values.get(key)
    if not isinstance(value, dict) or len(value) > _MAX_QUEUES:
        raise StatusUnknown(f"its status has no usable {key}")
    try:
        return {name: _count(value, name, MAX_TOTAL) for name in value}
    except StatusUnknown:
        raise StatusUnknown(f"its status has no usable {key}") from None


def _seconds(values: dict[str, object], key: str) -> float:
    value = values.get(key)
    # Not by math.isfinite: a whole number of JSON can be too large for it.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _MAX_SECONDS:
        raise StatusUnknown(f"its status has no usable {key}")
    return float(value)


def _text(values: dict[str, object], key: str) -> str:
    value = values.get(key)
    # What is not printable could be an order to the terminal of whoever reads it.
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise StatusUnknown(f"its status has no usable {key}")
    return value
