# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the schedule of a fleet from this host. Whoever only does this needs nothing of what a schedule says."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import places
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import UNIT_DIRECTORY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import fleet_lock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import timers


@dataclass
class Changes:
    """What was written and removed, or would be, and what Ansible shows of it."""

    paths: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def note(self, path: Path, before: str | None, after: str | None) -> None:
        """Add a file that is another one, or is no more."""
        header = {"before_header": str(path), "after_header": str(path)}
        self.paths.append(str(path))
        self.diff.append({**header, "before": before or "", "after": after or ""})


def remove(fleet: str, lock_wait: float, check: bool) -> Changes:
    """Leave nothing of a fleet's schedule.

    :raises OperationError: when that fails.
    """
    changes = Changes()
    paths = [*places.written_paths(fleet), places.applied_path(fleet)]
    for path in paths:
        if path.is_file():
            changes.note(path, text_of(path), None)
    if changes.paths and not check:
        remove_files(fleet, paths, lock_wait)
        for directory in (places.CONFIGURATION, places.STATE):
            # Those of other fleets stay.
            with suppress(OSError):
                Path(directory).rmdir()
    return changes


def remove_files(fleet: str, paths: Sequence[Path], lock_wait: float) -> None:
    """Remove files of a fleet's schedule, and have systemd forget the units among them.

    :raises OperationError: when that fails.
    """
    name = places.name_of(fleet)
    units = [path for path in paths if str(path.parent) == UNIT_DIRECTORY and path.is_file()]
    # Under the lock no run is in the middle of its work.
    with fleet_lock(fleet, lock_wait):
        if units:
            timers.stop(name)
        for path in paths:
            path.unlink(missing_ok=True)
    if units:
        timers.forget(name)


def text_of(path: Path) -> str | None:
    """Return what is in a file; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
