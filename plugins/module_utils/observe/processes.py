# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes and their host use, by psutil: for hosts whose control groups tell nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

try:
    import psutil
except ImportError:
    psutil = None

MISSING = "the Python library psutil is not installed"


@dataclass(frozen=True)
class ProcessUsage:
    """Several processes together.

    :ivar cpu_seconds: CPU time of those that run and of all their children that have ended.
    :ivar memory: resident bytes. Pages that a pool process still shares with its parent count once for each, so this
        is more than they really take.
    :ivar why: why both are None.
    """

    cpu_seconds: float | None = None
    memory: float | None = None
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


def usage_of(processes: Iterable[int]) -> ProcessUsage:
    """Add up processes by their ids. Those that are gone meanwhile are left out: their parents have their CPU time."""
    if psutil is None:
        return ProcessUsage(why=MISSING)
    cpu = memory = 0.0
    seen = False
    for process in processes:
        try:
            found = psutil.Process(process)
            with found.oneshot():
                times, resident = found.cpu_times(), found.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        except psutil.Error as error:
            return ProcessUsage(why=f"its process {process} cannot be read ({type(error).__name__})")
        cpu += times.user + times.system + times.children_user + times.children_system
        memory += resident
        seen = True
    return ProcessUsage(cpu, memory) if seen else ProcessUsage(why="it has no process")


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
