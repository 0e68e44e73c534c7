# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the schedule of a fleet on this host: only what is another text is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import places, texts
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.crontab_times import crontab_times
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.remembered import schedule_text
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.removing import (
    Changes,
    remove_files,
    text_of,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import timers
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

SYSTEMD, CRON = "systemd", "cron"
TIMERS = (SYSTEMD, CRON)
"""What can wake up."""

ZONES = "/usr/share/zoneinfo"


def texts_of(
    fleet: str,
    written: Mapping[str, Any],
    policy: Policy,
    timer: str,
    calendar: Sequence[str],
    at: float,
    platform: str = DEFAULT,
) -> dict[Path, str]:
    """Return the files that keep and run a schedule.

    :param written: the limits and the schedule, as the policy has them.
    :param timer: one of C(TIMERS).
    :param calendar: the times for systemd.
    :param at: seconds since the epoch; what is over by then needs no wake-up.
    :param platform: the name of what runs the workers.
    """
    kept = {places.schedule_path(fleet): schedule_text(written)}
    if timer == CRON:
        return {**kept, places.crontab_path(fleet): texts.crontab(fleet, crontab_times(policy, at), platform)}
    service, waits = places.unit_paths(fleet)
    return {**kept, service: texts.service(fleet, platform), waits: texts.timer(fleet, calendar)}


def put(fleet: str, wanted: Mapping[Path, str], lock_wait: float, check: bool) -> Changes:
    """Have these files of a fleet's schedule, and no others.

    :raises OperationError: when that fails.
    """
    changes = Changes()
    extra = [path for path in places.written_paths(fleet) if path not in wanted and path.is_file()]
    for path in extra:
        changes.note(path, text_of(path), None)
    for path, text in wanted.items():
        before = text_of(path)
        if before != text:
            changes.note(path, before, text)
            if not check:
                _write(path, text)
    if extra and not check:
        remove_files(fleet, extra, lock_wait)
    return changes


def run_timer(fleet: str, changes: Changes, check: bool) -> bool:
    """Have systemd wait for the times of a fleet's schedule, and return whether it did not yet.

    :raises OperationError: when that fails.
    """
    name = places.name_of(fleet)
    changed = any(str(path) in changes.paths for path in places.unit_paths(fleet))
    if not changed and timers.state_of(name).ready:
        return False
    if not check:
        timers.start(name)
    return True


def require_zone(zone: str, timer: str) -> None:
    """Refuse a zone that the host's systemd would not know.

    :raises OperationError: when it does not.
    """
    if timer == SYSTEMD and zone != "UTC" and not Path(ZONES, zone).is_file():
        raise OperationError(
            f"have timers on the clock of {zone}",
            f"systemd on this host does not know the zone: there is no {ZONES}/{zone}",
            "Nothing was changed. Install the package tzdata on the host.",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_whole(path, text, 0o644)
    except OSError as error:
        raise OperationError(
            f"write {path}", error, "Check that nothing else is in its place, and that its disk has space."
        ) from None
