# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says about the units of a fleet, read out of `systemctl`'s text. Pure: no process is run here."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import (
    instance_of,
    is_unit_of,
    unit_name,
    unit_template,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import FleetState, Phase, Unit

PROBE_NUMBER = 0
"""Workers are numbered from 1, so instance 0 can be asked for at any time to learn what the template says."""

PROPERTIES = (
    "Id,LoadState,LoadError,ActiveState,SubState,Result,NRestarts,UnitFileState,MainPID,Job,NeedDaemonReload,"
    "InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,ActiveExitTimestampMonotonic,"
    "InactiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,"
    "ControlGroup,MemoryMax,CPUQuotaPerSecUSec,TimeoutStopUSec,ExecStop,"
    "FragmentPath,DropInPaths,Environment,EnvironmentFiles"
)
"""Everything that is asked of `systemctl show`, in one call for all units."""

_SECONDS_OF = {
    "y": 31557600.0,
    "month": 2629800.0,
    "w": 604800.0,
    "d": 86400.0,
    "h": 3600.0,
    "min": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
}
_SPAN_PART = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_SECONDS_OF)})")


def parse_blocks(text: str) -> list[dict[str, str]]:
    """Split the text of `systemctl show` into one mapping per unit.

    A key that comes several times (EnvironmentFiles) keeps all its values, one per line.
    """
    blocks: list[dict[str, str]] = []
    for chunk in re.split(r"\n\s*\n", text.strip()):
        block: dict[str, str] = {}
        for line in chunk.splitlines():
            key, found, value = line.partition("=")
            if found:
                block[key] = f"{block[key]}\n{value}" if key in block else value
        if block:
            blocks.append(block)
    return blocks


def parse_jobs(text: str) -> dict[str, str]:
    """Read the text of `systemctl list-jobs`: the kind of job (start, stop, restart ...) by unit name."""
    jobs: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0].isdigit():
            jobs[words[1]] = words[2]
    return jobs


def parse_span(text: str) -> float:
    """Read a time span as systemd prints it ("1min 30s", "0", "infinity") into seconds.

    :raises ValueError: when the text is no time span.
    """
    if text in ("0", "infinity"):
        return float(text)
    parts = [_SPAN_PART.fullmatch(part) for part in text.split()]
    if not parts or None in parts:
        raise ValueError(f"{text!r} is no time span of systemd")
    return sum(float(part[1]) * _SECONDS_OF[part[2]] for part in parts if part)


def parse_environment(text: str) -> dict[str, str]:
    """Read the Environment property: words quoted as a shell would."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    pairs = (word.partition("=") for word in words)
    return {key: value for key, found, value in pairs if found}


def fleet_state(fleet: str, blocks: Iterable[Mapping[str, str]], jobs: Mapping[str, str]) -> FleetState | None:
    """Put together what `systemctl show` and `systemctl list-jobs` said, `None` when the probe is not in it."""
    units: dict[str, Unit] = {}
    probe: Mapping[str, str] | None = None
    needs_reload = False
    for block in blocks:
        name = block.get("Id", "")
        if name == unit_name(fleet, PROBE_NUMBER):
            probe = block
        elif is_unit_of(fleet, name):
            units[name] = unit_from(block, jobs.get(name, ""))
        needs_reload = needs_reload or block.get("NeedDaemonReload") == "yes"
    if probe is None:
        return None
    load = probe.get("LoadState", "")
    said = f"{load} {probe.get('LoadError', '')}".strip()
    problem = f"systemd cannot start {unit_template(fleet)}, which it reports as {said}"
    return FleetState(
        fleet=fleet,
        exists=load != "not-found" or any(unit.current or unit.leaving for unit in units.values()),
        load_problem="" if load == "loaded" else f"{problem} (look at it with systemd-analyze verify)",
        needs_reload=needs_reload,
        units=tuple(sorted(units.values(), key=lambda unit: unit.number)),
    )


def unit_from(block: Mapping[str, str], job: str) -> Unit:
    """One unit from its properties and the kind of job that waits or runs for it, empty when there is none.

    :raises ValueError: when the block is not of a worker unit.
    """
    name = block.get("Id", "")
    instance = instance_of(name)
    if instance is None:
        raise ValueError(f"{name!r} is no worker unit")
    file_state = block.get("UnitFileState", "")
    quota = _span(block, "CPUQuotaPerSecUSec", math.inf)
    return Unit(
        name=name,
        number=instance[1],
        phase=phase_of(block.get("ActiveState", ""), block.get("SubState", ""), job),
        enabled=file_state in ("enabled", "enabled-runtime"),
        enabled_for_good=file_state == "enabled",
        masked=block.get("LoadState") == "masked" or file_state in ("masked", "masked-runtime"),
        sub_state=block.get("SubState", ""),
        result=block.get("Result", ""),
        main_pid=_integer(block, "MainPID"),
        # systemd allows TimeoutStopSec to the ExecStop= command and once more to the signal that follows it.
        stop_timeout=_span(block, "TimeoutStopUSec", 90.0) * (2 if block.get("ExecStop") else 1),
        inactive_exit_at=_integer(block, "InactiveExitTimestampMonotonic"),
        active_enter_at=_integer(block, "ActiveEnterTimestampMonotonic"),
        active_exit_at=_integer(block, "ActiveExitTimestampMonotonic"),
        inactive_enter_at=_integer(block, "InactiveEnterTimestampMonotonic"),
        main_start_at=_integer(block, "ExecMainStartTimestampMonotonic"),
        files=tuple(filter(None, (block.get("FragmentPath", ""), *block.get("DropInPaths", "").split()))),
        environment_files=tuple(
            line.rsplit(" (ignore_errors=", 1)[0] for line in block.get("EnvironmentFiles", "").splitlines() if line
        ),
        environment=parse_environment(block.get("Environment", "")),
        control_group=block.get("ControlGroup", ""),
        restarts=_integer(block, "NRestarts"),
        # systemd prints a limit that is not set as "infinity".
        memory_max=_integer(block, "MemoryMax") or None,
        cpu_quota=quota if 0 < quota < math.inf else None,
    )


def phase_of(active_state: str, sub_state: str, job: str) -> Phase:
    """What a unit's states and its job mean for the worker.

    A job that has not begun counts as if it had: a unit with a stop job is on
    its way out, and one that stops only to be started again is on its way up.
    A unit that is told to stop has its stop job until it is gone. One that
    deactivates without a job came to its end by itself.
    """
    if job in ("restart", "try-restart"):
        return Phase.STARTING
    if job == "stop" and active_state in ("active", "reloading", "refreshing", "activating", "deactivating"):
        return Phase.DRAINING
    if active_state in ("active", "reloading", "refreshing"):
        return Phase.RUNNING
    if active_state == "deactivating":
        return Phase.STARTING if job == "start" else Phase.ENDING
    if active_state == "activating" and not sub_state.startswith("auto-restart"):
        return Phase.STARTING
    if job == "start" and active_state in ("inactive", "failed"):
        return Phase.STARTING
    return Phase.DOWN


def _integer(block: Mapping[str, str], key: str) -> int:
    text = block.get(key, "")
    return int(text) if text.isdigit() else 0


def _span(block: Mapping[str, str], key: str, otherwise: float) -> float:
    try:
        return parse_span(block.get(key, ""))
    except ValueError:
        return otherwise
