# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle of the module `autoscale`: recall, decide, keep, act. What it reads and how it acts are given to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import (
    Cycle,
    decision_as_json,
    observation_as_json,
    run_cycle,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import (
    FORGET_AFTER,
    FleetFile,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, ADVISE
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Decision
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    DRAINING,
    FleetReading,
    QueuesReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RESULT_KEYS, ScaleResult

Act = Callable[[int, int], ScaleResult]
"""Brings the fleet to so many workers (first), from as many as were seen (second)."""


@dataclass(frozen=True)
class Outcome:
    """What came of a cycle.

    :ivar log_line: the cycle as the autoscaler would log it, for replay.
    :ivar scaled: what was done, None where nothing was to be done here.
    :ivar started_again: workers that are down and that were, or are to be, started again.
    """

    cycle: Cycle
    decision: Decision
    log_line: dict[str, Any]
    scaled: ScaleResult | None = None
    warnings: tuple[str, ...] = ()
    started_again: tuple[str, ...] = ()


@dataclass(frozen=True)
class OneCycle:
    """What is asked for.

    :ivar apply: whether the decision will be carried out, here or by whoever asked for it.
    :ivar check_mode: whether everything has to stay as it is.
    :ivar forget_after: seconds without a cycle after which runs of conditions begin anew.
    """

    file: FleetFile
    policy: Policy
    apply: bool = True
    check_mode: bool = False
    forget_after: float = FORGET_AFTER

    def run(
        self,
        at: float,
        hosts: Sequence[FleetReading],
        queues: QueuesReading,
        act: Act | None = None,
        room: int | None = None,
    ) -> Outcome:
        """Decide, and act.

        :param at: seconds since the epoch.
        :param act: None where somebody else acts.
        :param room: workers that the hosts together have room for; None is no limit.
        :raises OperationError: when the state cannot be kept, and then nothing was changed; or when acting failed, with
            the observation and the decision in its details.
        """
        recalled = self.file.recall(at, self.forget_after, self.check_mode)
        cycle = run_cycle(self.policy, recalled.before, at, hosts, queues, room=room)
        decision = cycle.decision
        if decision is None:  # only a cycle without a policy has none
            raise TypeError("a cycle with a policy has a decision")
        line = {
            "at": at,
            "fleet": self.file.fleet,
            "mode": ACT if self.apply else ADVISE,
            **cycle.as_json(),
            **recalled.changes,
        }
        changes = decision.after is not None and decision.after != decision.before
        wanted = hosts[0].wanted if len(hosts) == 1 else None
        workers = cycle.workers_to_have(wanted)
        acts = workers is not None and (workers != wanted or bool(cycle.due))
        dropped = changes and not (self.apply and (acts or act is None))
        due = cycle.due if self.apply and (acts or act is None) else []
        cycle = cycle.started_again(due)
        # Before anything is done: who is killed in the middle must find the cooldown begun.
        if not self.check_mode:
            self.file.keep(cycle.if_withdrawn if dropped else cycle.after)
        scaled = None
        if acts and self.apply and act and workers is not None and wanted is not None:
            try:
                scaled = act(workers, wanted)
            except OperationError as error:
                self._note_failure(cycle, error, workers)
                error.details.update(
                    observation=observation_as_json(cycle.seen), decision=decision_as_json(decision), log_line=line
                )
                raise
        return Outcome(cycle, decision, line, scaled, recalled.warnings, tuple(due))

    def _note_failure(self, cycle: Cycle, error: OperationError, wanted: int) -> None:
        # It has its number when all that failed was, say, to see the last one drained in time.
        if self.check_mode or error.details.get("after") == wanted:
            return
        try:
            self.file.keep(cycle.if_withdrawn)
        except OperationError as second:
            error.details["state_problem"] = str(second)


def counts(outcome: Outcome, reading: FleetReading) -> dict[str, Any]:
    """Return what the module tells of the workers of this host: before, after, started, stopped, draining."""
    scaled = outcome.scaled
    if scaled is not None:
        return {key: getattr(scaled, key) for key in RESULT_KEYS}
    seen = outcome.cycle.seen.workers
    draining = [worker.id for worker in reading.workers or () if worker.phase == DRAINING]
    return {"before": seen, "after": seen, "started": [], "stopped": [], "draining": draining}
