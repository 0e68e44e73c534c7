# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the schedule of a fleet lies on a host, and how what runs it is called."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import UNIT_DIRECTORY, is_fleet_name

CONFIGURATION = "/etc/celery-schedule"
STATE = "/var/lib/celery-schedule"
CRONTABS = "/etc/cron.d"


def name_of(fleet: str) -> str:
    """Return how what belongs to the schedule of a fleet is called."""
    return f"celery-schedule-{fleet}"


def schedule_path(fleet: str) -> Path:
    """Return where the schedule of a fleet is kept."""
    return Path(CONFIGURATION, f"{fleet}.json")


def applied_path(fleet: str) -> Path:
    """Return where it is kept what was set last."""
    return Path(STATE, f"{fleet}.json")


def unit_paths(fleet: str) -> tuple[Path, Path]:
    """Return where the service and the timer lie."""
    return Path(UNIT_DIRECTORY, f"{name_of(fleet)}.service"), Path(UNIT_DIRECTORY, f"{name_of(fleet)}.timer")


def crontab_path(fleet: str) -> Path:
    """Return where the crontab lies."""
    return Path(CRONTABS, name_of(fleet))


def written_paths(fleet: str) -> list[Path]:
    """Return where files of a schedule may lie, but for what was set last."""
    return [schedule_path(fleet), *unit_paths(fleet), crontab_path(fleet)]


def scheduled_fleets() -> list[str]:
    """Return the fleets of this host that have a schedule."""
    return sorted(path.stem for path in Path(CONFIGURATION).glob("*.json") if is_fleet_name(path.stem))
