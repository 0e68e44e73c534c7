# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until workers that were told to stop are gone, and say how they ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import (
    FleetState,
    Manager,
    Phase,
    TasksUnknown,
    Unit,
)

KILLED = frozenset({"timeout", "signal", "core-dump", "oom-kill", "watchdog"})
"""Results of a stopped unit that mean its process was ended before it was done."""

DRAIN_MARGIN = 5.0
"""Seconds beyond the manager's own limit, in which it kills what is left and says so."""

_POLL_FIRST = 0.1
_POLL_MOST = 1.0


def read_loads(fleet: str, units: Iterable[Unit], manager: Manager) -> tuple[dict[int, int], dict[int, str]]:
    """Tasks in hand by worker number, and for those where that is unknown, why."""
    load: dict[int, int] = {}
    unknown: dict[int, str] = {}
    for unit in units:
        try:
            load[unit.number] = manager.tasks_in_hand(fleet, unit)
        except TasksUnknown as reason:
            unknown[unit.number] = str(reason)
    return load, unknown


def drain_limit(units: Iterable[Unit], asked: float | None) -> float:
    """Seconds to wait until `units` are gone, infinite for as long as it takes.

    :param asked: what the user wants, `None` for the manager's own limit.
    """
    if asked is not None:
        return asked
    return max((unit.stop_timeout for unit in units), default=0.0) + DRAIN_MARGIN


def wait_until_gone(
    fleet: str, victims: Mapping[str, Unit], manager: Manager, tried: str, timeout: float | None
) -> list[str]:
    """Wait until workers are gone that were told to stop, and return what to warn of.

    :param victims: by name, as they were before.
    :param timeout: seconds, `None` for as long as the manager allows.
    :raises OperationError: when some still drain after that, or were killed.
    """
    limit = drain_limit(victims.values(), timeout)
    deadline = manager.clock.monotonic() + limit
    pause = _POLL_FIRST
    while True:
        state = manager.read_fleet(fleet)
        left = [unit for unit in state.draining if unit.name in victims]
        if not left:
            return _judge_ends(state, victims, manager, tried)
        remaining = deadline - manager.clock.monotonic()
        if remaining <= 0:
            load, unknown = read_loads(fleet, left, manager)
            busy = ", ".join(f"{unit.name} ({_busy(load.get(unit.number), unknown.get(unit.number))})" for unit in left)
            raise OperationError(
                tried,
                f"{len(left)} of {len(victims)} stopped workers still drain after {limit:g} s: {busy}",
                "They take no new tasks, go on draining and end by themselves; what is left at the end of the fleet's "
                "own drain_timeout is killed. Wait for them, or give a longer drain_timeout next time.",
            )
        manager.clock.sleep(min(pause, max(0.01, remaining)))
        pause = min(_POLL_MOST, pause * 1.5)


def _judge_ends(state: FleetState, victims: Mapping[str, Unit], manager: Manager, tried: str) -> list[str]:
    troubled = [unit for unit in state.units if unit.name in victims and unit.result != "success"]
    manager.reset_failed([unit.name for unit in troubled])
    ended = [unit for unit in troubled if victims[unit.name].phase in (Phase.RUNNING, Phase.DRAINING)]
    killed = [unit for unit in ended if unit.result in KILLED]
    if killed:
        raise OperationError(
            tried,
            "the workers are gone, but not all of them got to finish their tasks: "
            + ", ".join(f"{unit.name} was killed (result {unit.result})" for unit in killed),
            f"See {manager.log_command(killed[0].name)}. Make drain_timeout of the fleet longer than its longest task.",
            killed=[unit.name for unit in killed],
        )
    return [
        f"{unit.name} ended with result {unit.result} while it drained; see {manager.log_command(unit.name)}."
        for unit in ended
    ]


def _busy(tasks: int | None, reason: str | None) -> str:
    if tasks is None:
        return f"what it does is not known: {reason}"
    return f"{tasks} task{'' if tasks == 1 else 's'} in hand"
