# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads that were recorded: JSON lines with when each task came and how long it ran."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload

# Numbers from here on are seconds since the epoch, smaller ones seconds since the beginning of the trace.
_EPOCH_FROM = 1e8

# After the last task was done: long enough to see the fleet go back.
_AFTERWARDS = 60.0


def read_trace(name: str, lines: Iterable[str]) -> Workload:
    """Return the workload in C(lines), in any order: C({"at": 12.5, "runtime": 0.8}), seconds or RFC 3339.

    Where the times are of a calendar the workload begins at the first task, else at 0.

    :raises OperationError: when a line is something else, or there is none.
    """
    tasks = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            tasks.append(_task(name, number, line))
    if not tasks:
        raise OperationError(f"read the trace {name}", "it has no task", _HINT)
    tasks.sort()
    begin = tasks[0][0] if tasks[0][0] >= _EPOCH_FROM else 0.0
    horizon = max(at + seconds for at, seconds in tasks) - begin + _AFTERWARDS
    return Workload(name, tuple((at - begin, seconds) for at, seconds in tasks), horizon, begin)


_HINT = 'A line is a task like {"at": 12.5, "runtime": 0.8} or {"at": "2026-03-04T12:00:00Z", "runtime": 0.8}.'


def _task(name: str, number: int, line: str) -> tuple[float, float]:
    try:
        raw = json.loads(line)
        if not isinstance(raw, Mapping):
            raise ValueError("it is not a JSON object")
        at, seconds = instant_of(raw.get("at")), raw.get("runtime")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
            raise ValueError(f"runtime is {seconds!r}, not a number of seconds")
    except (ValueError, OverflowError, RecursionError) as error:
        raise OperationError(f"read line {number} of the trace {name}", error, _HINT) from error
    return at, float(seconds)
