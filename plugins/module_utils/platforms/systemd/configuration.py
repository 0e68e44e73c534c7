# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a running worker was started with the configuration that its unit would give it now."""

from __future__ import annotations

import re
import time
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import status_path
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.parsing import parse_environment
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.status_files import read_status
from ansible_collections.muejam.celery.plugins.module_utils.platforms.worker_status import StatusUnknown

VARIABLE = "CELERY_LIFECYCLE_CONFIG"
"""Holds the fingerprint of the configuration that a worker was started with."""

# systemd gives this to every process it starts, so an environment without it is not the one that was given.
_GIVEN_BY_SYSTEMD = "INVOCATION_ID"
_MAX_ENVIRON_BYTES = 4 * 1024 * 1024
# In a file of EnvironmentFile=, as far as plain and quoted values on one line go.
_SETTING = re.compile(
    rf"^[ \t]*(?:export\s+)?{VARIABLE}=[ \t]*(?P<quote>[\"']?)(?P<value>.*?)(?P=quote)\s*$", re.MULTILINE
)


def outdated_reason(fleet: str, unit: Unit, wanted: str | None) -> str | None:
    """Why a worker that runs should be restarted, `None` when it has the present configuration.

    Compared are fingerprints: the one in the process's environment, or in its
    status file where a worker has overwritten its environment by renaming
    itself. Without fingerprints the times of the unit's files decide. When
    nothing can be told, the worker counts as outdated: one restart too many
    loses no task, an old configuration that stays may.

    :param wanted: the fingerprint that the unit would give now, `None` when it gives none.
    """
    environment = process_environment(unit.main_pid)
    genuine = _GIVEN_BY_SYSTEMD in environment
    if wanted is not None:
        running = environment.get(VARIABLE) if genuine else _reported(fleet, unit)
        if running == wanted:
            return None
        if running is not None or genuine:
            return "it was started with another configuration"
    changed = newest_change(unit)
    if changed is None or not unit.main_start_at:
        return "it cannot be told which configuration it was started with"
    return "the unit's files were changed after it was started" if changed > unit.main_start_at / 1e6 else None


def wanted_fingerprint(unit: Unit) -> str | None:
    """The fingerprint that systemd would give to the worker now, as it has read the unit's files."""
    return _with_environment_files(unit, unit.environment.get(VARIABLE))


def wanted_fingerprint_on_disk(unit: Unit, text: str) -> str | None:
    """The same from the unit's files as they lie on disk, for when systemd has not read them again yet.

    :param text: what `systemctl cat` prints.
    """
    value = None
    for line in text.splitlines():
        key, found, words = line.strip().partition("=")
        if found and key.strip() == "Environment":
            value = parse_environment(words.strip()).get(VARIABLE, value) if words.strip() else None
    return _with_environment_files(unit, value)


def parse_environ(content: bytes) -> dict[str, str]:
    """Read the content of /proc/PID/environ."""
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, found, value in pairs if found}


def process_environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with, empty when it cannot be read, as that of no process, 0."""
    try:
        with Path(f"/proc/{pid}/environ").open("rb") as environ:
            return parse_environ(environ.read(_MAX_ENVIRON_BYTES))
    except OSError:
        return {}


def newest_change(unit: Unit) -> float | None:
    """When the newest of the unit's files was changed, in seconds of CLOCK_MONOTONIC; `None` when there is no file."""
    times = []
    for path in (*unit.files, *unit.environment_files):
        try:
            times.append(Path(path).stat().st_mtime)
        except OSError:
            continue
    return max(times) - time.time() + time.monotonic() if times else None


def _with_environment_files(unit: Unit, value: str | None) -> str | None:
    for path in unit.environment_files:
        try:
            text = read_plain_file(path, _MAX_ENVIRON_BYTES).decode("utf-8", "replace")
        except (OSError, NotAPlainFile):
            continue
        # What a file says wins over Environment=, and a later file or line over an earlier one.
        for setting in _SETTING.finditer(text):
            value = setting["value"]
    return value


def _reported(fleet: str, unit: Unit) -> str | None:
    try:
        status = read_status(status_path(fleet, unit.number))
    except StatusUnknown:
        return None
    return status.config if status.config and status.pid == unit.main_pid else None
