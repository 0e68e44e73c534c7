# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the workers of a fleet on this host: systemd's account of them, their own, and what they use."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import node_name, status_path
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DOWN,
    FleetReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.reading_phase import reading_phase
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import cgroups, processes
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import (
    StatusMissing,
    read_status,
    require_own,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Systemd
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import (
    Status,
    StatusUnknown,
    require_fresh,
)


@dataclass(frozen=True)
class Places:
    """Where a host keeps what is read, and its clocks: C(wall) in seconds since the epoch."""

    status_path: Callable[[str, int], str] = status_path
    groups: Path = cgroups.ROOT
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    host: Callable[[], str] = socket.gethostname


def read_host(fleet: str, systemd: Systemd, places: Places | None = None) -> FleetReading:
    """Read all workers of a fleet; what cannot be read is part of the answer, and nothing is raised.

    Calls of one C(systemd) remember what cannot have changed, see C(Systemd.watch_fleet).
    """
    places = places or Places()
    host, totals = places.host(), processes.host_totals()
    try:
        state = systemd.watch_fleet(fleet)
    except OperationError as error:
        return FleetReading(host, places.wall(), None, str(error), totals.cores, totals.memory)
    if not state.exists:
        problem = f"this host has no fleet {fleet}"
        return FleetReading(host, places.wall(), None, problem, totals.cores, totals.memory, exists=False)
    tree, limits = processes.ProcessTree(), cgroups.GroupLimits(str(places.groups))
    units = [unit for unit in state.units if unit.current or unit.leaving]
    workers = tuple(_worker(fleet, unit, host, totals, tree, limits, places) for unit in units)
    return FleetReading(host, places.wall(), workers, "", totals.cores, totals.memory, exists=True)


def _worker(
    fleet: str,
    unit: Unit,
    host: str,
    totals: processes.HostTotals,
    tree: processes.ProcessTree,
    limits: cgroups.GroupLimits,
    places: Places,
) -> WorkerReading:
    name = node_name(fleet, unit.number, host)
    phase = reading_phase(unit)
    now = places.monotonic()
    if phase == DOWN:
        state = f"{unit.sub_state or 'unknown'}, {unit.result}"
        return WorkerReading(
            name=name,
            phase=phase,
            down_for=max(now - unit.inactive_enter_at / 1e6, 0.0) if unit.inactive_enter_at else None,
            retried=unit.retrying,
            restarts=unit.restarts,
            state=state,
            why=f"it does not run ({state})",
            id=unit.name,
        )
    own = _own_account(places.status_path(fleet, unit.number), unit.main_pid, now)
    used = _usage(unit, tree, limits, places.groups)
    return WorkerReading(
        name=name,
        phase=phase,
        life=f"{unit.main_pid}:{unit.main_start_at}",
        active=own.active,
        reserved=own.reserved,
        started=own.started,
        taken=own.taken,
        cpu_seconds=used.cpu_seconds,
        cores=_capped(_least(used.cores, unit.cpu_quota) or own.processes or used.processes, totals.cores),
        memory=used.memory,
        memory_allowed=_least(used.memory_max, unit.memory_max),
        since=max(now - unit.active_enter_at / 1e6, 0.0) if phase == CONSUMING and unit.active_enter_at else None,
        silent=own.silent,
        restarts=unit.restarts,
        why="; ".join(filter(None, (own.why, used.why))),
        concurrency=own.concurrency,
        scheduled=own.scheduled,
        id=unit.name,
    )


@dataclass(frozen=True)
class _OwnAccount:
    active: int | None = None
    reserved: int | None = None
    started: int | None = None
    taken: Mapping[str, int] | None = None
    processes: float | None = None
    why: str = ""
    concurrency: int | None = None
    scheduled: int | None = None
    silent: bool = False


def _own_account(path: str, main_pid: int, now: float) -> _OwnAccount:
    try:
        status = read_status(path)
        require_own(status, main_pid)
        require_fresh(status.monotonic if status.written is None else status.written, now)
    except StatusUnknown as reason:
        # Without a file it may be one that keeps none, and is heard of by its heartbeats.
        return _OwnAccount(silent=not isinstance(reason, StatusMissing), why=str(reason))
    pool = _pool_processes(status)
    try:
        require_fresh(status.monotonic, now)
    except StatusUnknown as reason:
        # Its event loop stands still, and takes no message. What its tasks have done meanwhile it does not know.
        return _OwnAccount(taken=status.taken, processes=pool, silent=True, why=str(reason))
    return _OwnAccount(
        status.active,
        status.reserved,
        status.begun,
        status.taken,
        pool,
        concurrency=status.concurrency,
        scheduled=status.scheduled,
    )


def _pool_processes(status: Status) -> float | None:
    """Return how many processes run tasks; a pool of greenlets or threads is one."""
    if status.pool != "prefork":
        return 1.0 if status.pool else None
    return float(status.concurrency) if status.concurrency else None


@dataclass(frozen=True)
class _Usage:
    cpu_seconds: float | None
    memory: float | None
    cores: float | None = None
    memory_max: float | None = None
    processes: float | None = None
    why: str = ""


def _usage(unit: Unit, tree: processes.ProcessTree, limits: cgroups.GroupLimits, groups: Path) -> _Usage:
    group = cgroups.read_group(unit.control_group, groups, limits)
    if group.cpu_seconds is not None and group.memory is not None:
        return _Usage(group.cpu_seconds, group.memory, group.cores, group.memory_max)
    running = cgroups.processes_of(unit.control_group, groups)
    if running is None:
        running = tree.below(unit.main_pid) if unit.main_pid else ()
    cpu = processes.cpu_time_of(running) if group.cpu_seconds is None else processes.ProcessUsage(group.cpu_seconds)
    memory = processes.memory_of(running) if group.memory is None else processes.ProcessUsage(group.memory)
    missing = dict.fromkeys(filter(None, (cpu.why, memory.why)))
    return _Usage(
        cpu_seconds=cpu.used,
        memory=memory.used,
        cores=group.cores,
        memory_max=group.memory_max,
        # The main process of a pool of processes runs no tasks; one without others does.
        processes=float(max(len(running) - 1, 1)) if running else None,
        why=", and ".join((group.why, *missing)) if missing else "",
    )


def _least(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _capped(cores: float | None, most: float | None) -> float | None:
    return None if cores is None else _least(cores, most)
