# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes of the node cost, those of pods among them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from muejam_bed import container

from . import node


@dataclass(frozen=True)
class Cost:
    """CPU time in seconds of one core for each second, and resident memory in MB of 1,000,000 bytes."""

    share_of_a_core: float
    megabytes: float


def of_unit(unit: str) -> int:
    """Return the main process of a unit of the node."""
    shown = container.execute(node.name(), ["systemctl", "show", "--property=MainPID", "--value", f"{unit}.service"])
    return int(shown.stdout)


def measured(processes: Iterable[int], seconds: float) -> Cost:
    """Watch processes for so many seconds."""
    processes = list(processes)
    before, begun = sum(_cpu_seconds(pid) for pid in processes), time.monotonic()
    time.sleep(seconds)
    spent = sum(_cpu_seconds(pid) for pid in processes) - before
    return Cost(spent / (time.monotonic() - begun), sum(_megabytes(pid) for pid in processes))


def _cpu_seconds(pid: int) -> float:
    # The four times of proc(5), after the name, which may have blanks.
    ticks = _file(pid, "stat").rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    return int(_file(pid, "status").partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def _file(pid: int, name: str) -> str:
    return container.execute(node.name(), ["cat", f"/proc/{pid}/{name}"]).stdout
