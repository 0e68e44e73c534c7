# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every platform can do: read a fleet, scale it, restart its workers.

A worker has an id, which only its platform understands: the name of a unit, a container, a pod. Everybody else passes
it on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

if TYPE_CHECKING:
    from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
    from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading

THIS_HOST = "this host"

LOCK_WAIT = 10.0
"""Seconds to wait for another one who is about to be done with the fleet."""


@dataclass(frozen=True)
class Place:
    """Where workers run, for a platform that is not the host itself; `None` is left to its usual settings.

    With `ask_workers`, each reading asks every worker what it does, which tells most and costs a call for each.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    ask_workers: bool = True


@dataclass(frozen=True)
class ScaleRequest:
    """What is asked for; times in seconds.

    `drain_timeout` of `None` stands for as long as the platform itself allows. With
    `keep`, a fleet that has workers keeps as many as it has. `lock_wait` is how
    long to wait for somebody else who scales or restarts the fleet. With `by_daemon`
    it is the autoscaler's daemon that asks, which has no say where the platform notes
    that somebody else sets the number.
    """

    fleet: str
    workers: int
    expected_workers: int | None = None
    keep: bool = False
    wait: bool = True
    wait_timeout: float = 300.0
    drain_timeout: float | None = None
    lock_wait: float = LOCK_WAIT
    by_daemon: bool = False


@dataclass(frozen=True)
class ScaleResult:
    """What came of it: counts and workers' ids. `unknown` tells by id why a worker's tasks are not known."""

    changed: bool
    before: int
    after: int
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    draining: list[str] = field(default_factory=list)
    workers_before: list[str] = field(default_factory=list)
    workers_after: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    start_seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def diff(self) -> dict[str, str]:
        """The workers before and after, one per line, as Ansible shows a difference."""
        return {
            "before_header": "workers before",
            "after_header": "workers after",
            "before": "".join(f"{worker}\n" for worker in self.workers_before),
            "after": "".join(f"{worker}\n" for worker in self.workers_after),
        }


RESULT_KEYS = ("before", "after", "started", "stopped", "draining")
"""Of a result, what modules return and the root helper answers."""


@dataclass(frozen=True)
class RollRequest:
    """Which workers to restart, one at a time; times in seconds as in `ScaleRequest`."""

    fleet: str
    only_outdated: bool = True
    wait_timeout: float = 300.0
    drain_timeout: float | None = None
    lock_wait: float = LOCK_WAIT


@dataclass(frozen=True)
class RollResult:
    """What came of it, in workers' ids; `reasons` says why each was restarted or left."""

    restarted: list[str]
    unchanged: list[str]
    reasons: dict[str, str]
    warnings: list[str] = field(default_factory=list)


class PauseUnusable(OperationError):
    """Something says that a fleet is paused, and it makes no sense, or is not to be trusted."""


class Platform(Protocol):
    """What runs workers. Whatever acts raises OperationError when it could not act, or not in full."""

    @property
    def place(self) -> str:
        """The host or cluster that it acts on, as messages call it."""

    def fleets(self) -> list[str]:
        """The names of all fleets in this place."""

    def read(self, fleet: str) -> FleetReading:
        """Read a fleet. A failure is part of the reading, never an exception."""

    def reader(self) -> Callable[[str], FleetReading]:
        """What reads fleets as `read` does, for one look at many of them.

        A platform that can read many at once does so once for all. So what it tells may be as old as itself.
        """

    def fleet_of(self, name: str) -> str | None:
        """The fleet of this place that the worker of this name belongs to, by its form; None for any other."""

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        """Bring a fleet to a number of workers, or with `check` only say what would be done."""

    def restart(self, fleet: str, worker: str, *, lock_wait: float = LOCK_WAIT) -> None:
        """Have one worker restarted, drained, and do not wait for it."""


class RollingPlatform(Platform, Protocol):
    """A platform as the modules and the root helper use it, who act on it themselves, and may wait for it."""

    def is_worker(self, fleet: str, worker: str) -> bool:
        """Whether a worker of the fleet can have this id."""

    def require_access(self, tried: str) -> None:
        """Refuse early what could not be done later.

        :raises OperationError: when this process may not act here, or the platform is not there.
        """

    def roll(self, request: RollRequest, *, check: bool = False) -> RollResult:
        """Restart workers one at a time, or with `check` only say which would be."""

    def paused(self, fleet: str) -> Pause | None:
        """What somebody holds the fleet at here, over or not; None where nobody does.

        It is part of each reading too: this is for who needs no more.

        :raises PauseUnusable: when there is something that makes no sense.
        :raises OperationError: when that cannot be told.
        """

    def require_sizable(self, fleet: str, tried: str) -> None:
        """Refuse a fleet that is not there, or that something other than our own engine sizes here by itself.

        :raises OperationError: with what to do instead.
        """

    def pause(self, fleet: str, pause: Pause | None) -> None:
        """Have whoever sizes the fleet hold it at this; None lifts it."""


def killed_in_drain(tried: str, killed: list[str], so_far: dict[str, Any]) -> OperationError:
    """The error for workers that were restarted and did not get to finish.

    :param so_far: details of what was done and what was not.
    """
    return OperationError(
        tried,
        "they run again, but not all of them got to finish their tasks: "
        + ", ".join(killed)
        + " did not drain in time and was killed",
        "Make drain_timeout of the fleet longer than its longest task.",
        **so_far,
    )


def nothing_done(error: OperationError) -> bool:
    """Whether it is certain that no worker was started or stopped."""
    return not any(error.details.get(key) for key in ("unsure", "started", "stopped"))


def absent_fleet(fleet: str, place: str = THIS_HOST) -> str:
    """What to warn of in check mode where there is no such fleet yet."""
    return (
        f"{place[:1].upper()}{place[1:]} has no fleet {fleet} yet; check mode takes it for one of 0 workers. "
        "Without check mode this is an error."
    )


def unknown_fleet(tried: str, fleet: str, fleets: list[str], place: str = THIS_HOST) -> OperationError:
    """The error for a fleet that a place does not have.

    :param fleets: those that it has.
    """
    known = f"its fleets are: {', '.join(fleets)}" if fleets else "it has no fleets"
    return OperationError(
        tried,
        f"{place} has no fleet {fleet}; {known}",
        "Check the name, or deploy the fleet with the role muejam.celery.worker first.",
        fleets=fleets,
    )
