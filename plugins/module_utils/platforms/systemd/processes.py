# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes and their host use, by psutil: for hosts whose control groups tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

try:
    import psutil
except ImportError:
    psutil = None

MISSING = "the Python library psutil is not installed"


@dataclass(frozen=True)
class ProcessUsage:
    """What several processes use together, of one kind.

    :ivar used: seconds of CPU time, or bytes of memory.
    :ivar why: why it is None.
    """

    used: float | None = None
    why: str = ""


@dataclass(frozen=True)
class HostTotals:
    """A host's CPU cores that this process may use at most, and its memory in bytes."""

    cores: float | None = None
    memory: float | None = None


def host_totals() -> HostTotals:
    """Return what the host has; None where psutil is missing."""
    if psutil is None:
        return HostTotals()
    return HostTotals(float(psutil.cpu_count() or 1), float(psutil.virtual_memory().total))


def cpu_time_of(processes: Iterable[int]) -> ProcessUsage:
    """Add up the CPU time of processes and of all their children that have ended.

    Those that are gone meanwhile are left out: their parents have their time.
    """
    return _added_up(processes, _cpu_time)


def memory_of(processes: Sequence[int]) -> ProcessUsage:
    """Add up what processes keep in memory.

    A page that several share counts for each in part, else a pool that is forked would seem to use many times what it
    takes. How many share a page is told to root and to the processes' own user alone; without, several are unknown.
    """
    if len(processes) < 2:
        return _added_up(processes, lambda process: float(process.memory_info().rss))
    return _added_up(processes, lambda process: float(process.memory_full_info().pss))


def _cpu_time(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _added_up(processes: Iterable[int], measure: Callable[[Any], float]) -> ProcessUsage:
    if psutil is None:
        return ProcessUsage(why=MISSING)
    total, seen = 0.0, False
    for number in processes:
        try:
            total += measure(_process(number))
        except psutil.NoSuchProcess:
            continue
        except psutil.Error as error:
            return ProcessUsage(why=f"its process {number} cannot be read ({type(error).__name__})")
        seen = True
    return ProcessUsage(total) if seen else ProcessUsage(why="it has no process")


@lru_cache(maxsize=1024)
def _process(number: int) -> Any:
    """Return the process of that number. One that is kept from look to look is whoever has the number now."""
    return psutil.Process(number)


class ProcessTree:
    """Which process is below which, read once for all workers of a host."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] | None = None

    def below(self, process: int) -> tuple[int, ...]:
        """Return a process and all below it; the process alone where psutil is missing."""
        if self._children is None:
            self._children = {}
            for child, parent in _parents().items():
                self._children.setdefault(parent, []).append(child)
        found = [process]
        for one in found:
            found += self._children.get(one, [])
        return tuple(found)


def _parents() -> Mapping[int, int]:
    if psutil is None:
        return {}
    return {one.pid: one.info["ppid"] for one in psutil.process_iter(["ppid"])}
