# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workers to start and which to stop to reach a number. Pure: no I/O, no clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import FleetState, Phase, Unit


@dataclass(frozen=True)
class Plan:
    """What to do, by worker number.

    `start` holds new workers and wanted ones that do not run; `stop` is in the
    order in which workers were chosen; `enable` are workers that are to stay
    and would not come back after a reboot; `await_start` are workers that are
    on their way up already.
    """

    before: int
    start: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()
    enable: tuple[int, ...] = ()
    disable: tuple[int, ...] = ()
    await_start: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether carrying this out changes the host."""
        return bool(self.start or self.stop or self.enable or self.disable)


def plan_scaling(state: FleetState, workers: int, load: Mapping[int, int | None]) -> Plan:
    """Plan to have exactly `workers` workers.

    :param workers: 0 or more.
    :param load: by number, the tasks that a running worker has (active and
        reserved); `None` or absent when unknown.
    :raises ValueError: when `workers` is negative.
    """
    if workers < 0:
        raise ValueError("a fleet cannot have fewer than 0 workers")
    current = state.current
    order = stop_order(current, load)
    stop = order[: max(0, len(order) - workers)]
    keep = [unit for unit in current if unit.number not in stop]
    new = free_numbers(state, workers - len(keep))
    # Its manager starts one that is about to end as soon as it is gone.
    revived = [unit.number for unit in keep if unit.phase in (Phase.DOWN, Phase.ENDING)]
    not_kept_by_boot = [unit.number for unit in keep if not unit.enabled_for_good and not unit.masked]
    return Plan(
        before=len(current),
        start=tuple(sorted((*revived, *new))),
        stop=tuple(stop),
        enable=tuple(sorted({*not_kept_by_boot, *new})),
        # Somebody told them to stop. They are on their way out and must not come back as wanted ones.
        disable=tuple(unit.number for unit in state.draining if unit.enabled),
        await_start=tuple(unit.number for unit in keep if unit.phase is Phase.STARTING),
        after=tuple(sorted((*(unit.number for unit in keep), *new))),
    )


def stop_order(units: Iterable[Unit], load: Mapping[int, int | None]) -> list[int]:
    """The numbers of `units`, the one to be stopped first in front; equal ones from the highest number down."""

    def cost(unit: Unit) -> tuple[tuple[int, int], int]:
        return stop_rank(unit.phase, load.get(unit.number)), -unit.number

    return [unit.number for unit in sorted(units, key=cost)]


def stop_rank(phase: Phase, tasks: int | None) -> tuple[int, int]:
    """Where a worker stands among those of which some are to be stopped; the lowest goes first.

    Those that do not run go first, then those that end by themselves, those
    that do not consume yet, those that do not answer, then by tasks in hand.
    One that does not answer is never kept in place of one that does: it may
    not work at all, and if it does, it drains like any other.

    :param tasks: that a running worker has, `None` when unknown.
    """
    idle_phases = (Phase.DOWN, Phase.ENDING, Phase.STARTING)
    if phase in idle_phases:
        return idle_phases.index(phase), 0
    return (3, 0) if tasks is None else (4, tasks)


def free_numbers(state: FleetState, count: int) -> list[int]:
    """The `count` lowest numbers that no worker holds.

    A draining worker holds its number until it is gone, and a masked unit is
    one that somebody forbade to start.
    """
    taken = {unit.number for unit in state.units if unit.current or unit.masked or unit.leaving}
    return list(itertools.islice((number for number in itertools.count(1) if number not in taken), count))
