# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `autoscale` keeps of a fleet from one run to the next: one file for each fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    cautious,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.state_file import (
    load_state,
    save_state,
    set_aside,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import Marks
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import fleet_lock
from ansible_collections.muejam.celery.plugins.module_utils.who_else_writes import who_else_writes

DIRECTORY = "/var/lib/muejam-celery/autoscale"
FORGET_AFTER = 3600.0


@dataclass(frozen=True)
class Recalled:
    """What a cycle begins with.

    :ivar changes: keys for the cycle's log line, from which replay learns what happened since the line before.
    :ivar warnings: what a person should hear of it.
    """

    before: Remembered = field(default_factory=Remembered)
    changes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FleetFile:
    """The file of one fleet."""

    path: str
    fleet: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else run a cycle for this fleet meanwhile; make the file's directory when there is none.

        :raises OperationError: when somebody else takes one, or others may write to the directory.
        """
        folder = Path(self.path).parent
        tried = f"keep the state of fleet {self.fleet} in {self.path}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            others = who_else_writes(folder)
        except OSError as error:
            raise OperationError(
                tried, error, "Nothing was changed. Run the task as root, or name another state_path."
            ) from error
        if others:
            raise OperationError(
                tried,
                f"others than root and this user may write to {others}, and so decide how the fleet is scaled",
                "Nothing was changed. Name a state_path in a directory that only this user may write to.",
            )
        with fleet_lock(self.fleet, directory=str(folder)):
            yield

    def recall(self, at: float, forget_after: float = FORGET_AFTER, check_mode: bool = False) -> Recalled:
        """Return what to begin the cycle at C(at) with.

        A file that cannot be used is set aside, and the cycle begins cautiously.

        :param at: seconds since the epoch.
        :param forget_after: seconds after which nobody can say any more what was between the last cycle and this one.
        :param check_mode: whether everything has to stay as it is.
        :raises OperationError: when the file is of something else, or cannot be set aside.
        """
        try:
            kept = self._load()
        except StateUnusable as error:
            aside = "" if check_mode else f" It was set aside as {set_aside(self.path)}."
            return Recalled(
                cautious(at),
                {"restarted": True, "state_lost": True},
                (f"The state of fleet {self.fleet} is lost. {error}{aside}",),
            )
        changes: dict[str, Any] = {"withdrawn": True} if kept.withdrawn else {}
        last = at if kept.state.at is None else kept.state.at
        if last > at:
            return Recalled(kept.shifted(at - last), {**changes, "clock_stepped": at - last})
        if at - last > forget_after:
            return Recalled(kept.restarted(), {**changes, "restarted": True})
        return Recalled(kept, changes)

    def marks(self) -> Marks:
        """Return where the last run's counts of the queues end; none where nothing usable was kept."""
        try:
            return self._load().observed.waiting.marks
        except OperationError:
            return {}

    def keep(self, remembered: Remembered) -> None:
        """Keep what to begin the next cycle with.

        :raises OperationError: when that fails; the file is then as it was.
        """
        save_state(self.path, {self.fleet: replace(remembered, scheduled=True)})

    def _load(self) -> Remembered:
        memories = load_state(self.path)
        if not memories:
            return Remembered()
        kept = memories.get(self.fleet)
        if kept is None or not kept.scheduled:
            raise OperationError(
                f"use the state file {self.path} for fleet {self.fleet}",
                "the autoscaler wrote it" if kept else f"it has the state of {', '.join(sorted(memories))}",
                "Nothing was changed. Name a state_path that is this fleet's alone.",
            )
        return kept


def default_path(fleet: str) -> str:
    """Return where the state of a fleet is kept when nobody says where."""
    return f"{DIRECTORY}/{fleet}.json"
