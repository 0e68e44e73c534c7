# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to systemd by way of `systemctl`: argument lists in, values out. What to do is decided elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import (
    UNIT_PREFIX,
    is_fleet_name,
    is_unit_of,
    status_path,
    unit_glob,
    unit_name,
    unit_template,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Answer, FleetState, Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import fleet_lock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.bus import Bus
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.commands import Command
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.parsing import (
    PROBE_NUMBER,
    PROPERTIES,
    fleet_state,
    parse_blocks,
    parse_jobs,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.unit_watch import (
    Signs,
    UnitWatch,
    invocations_of,
)
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact

SYSTEM_DIRECTORY = Path("/run/systemd/system")
"""Exists exactly where systemd runs the host (sd_booted(3))."""

UNIT_DIRECTORIES = (Path("/etc/systemd/system"), Path("/run/systemd/system"))
"""Where enabling and masking leave their links, for good and until the next boot."""

COMMAND_TIMEOUT = 90.0
"""Seconds for a call that does not wait for a worker. systemctl itself gives up on a silent bus after 25 s."""

_SYSTEMCTL = ("systemctl", "--no-pager", "--no-ask-password")
_SNAPSHOTS = 5
_LOG_LINES = 8
_JOURNAL_PATIENCE = 5.0
_JOURNAL_POLL = 0.2


class Systemd:
    """The systemd of this host, asked through `systemctl`. It is a `Manager`, where each method is described.

    What not every run asks for is loaded when it is, see `HostPlatform`.
    """

    def __init__(self, clock: Clock = REAL_CLOCK) -> None:
        self.clock = clock
        self._watches: dict[str, UnitWatch] = {}
        self._bus = Bus()

    def require_access(self, tried: str) -> None:
        """Refuse where this is not root, or the host is not run by systemd."""
        if not SYSTEM_DIRECTORY.is_dir():
            raise OperationError(
                tried,
                f"this host is not run by systemd ({SYSTEM_DIRECTORY} does not exist)",
                "Run this on the hosts that the role worker has deployed to.",
            )
        if os.geteuid() != 0:
            raise OperationError(
                tried, "only root may start, stop and enable the workers' units", "Run the task with become: true."
            )

    def lock(self, fleet: str, wait: float) -> AbstractContextManager[None]:
        """Hold the fleet's lock on this host."""
        return fleet_lock(fleet, wait)

    def unit_name(self, fleet: str, number: int) -> str:
        """The unit of one worker, such as `celery-worker-web@1.service`."""
        return unit_name(fleet, number)

    def tasks_in_hand(self, fleet: str, unit: Unit) -> int:
        """What a running worker says in its status file."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import status_files

        status = status_files.read_status(status_path(fleet, unit.number))
        return status_files.tasks_in_hand(status, unit.main_pid, self.clock.monotonic())

    def outdated_reason(self, fleet: str, unit: Unit, from_disk: bool) -> str | None:
        """Compare what a worker was started with and what its unit would give it now."""
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import configuration

        if from_disk:
            text = self._read(["cat", "--", unit.name], tried=f"read the files of {unit.name}")
            wanted = configuration.wanted_fingerprint_on_disk(unit, text)
        else:
            wanted = configuration.wanted_fingerprint(unit)
        return configuration.outdated_reason(fleet, unit, wanted)

    def read_fleet(self, fleet: str) -> FleetState:
        """Read all workers of a fleet: loaded, enabled and masked ones.

        :raises OperationError: when systemd cannot be asked or does not answer
            in full; never an empty fleet for want of an answer.
        """
        tried = f"read the workers of fleet {fleet} from systemd"
        # A pattern matches only units that systemd has loaded, which an enabled but stopped one need not be.
        names = [unit_name(fleet, PROBE_NUMBER), *_units_on_disk(fleet)]
        blocks, jobs = self._read_units([*names, unit_glob(fleet)], tried)
        state = fleet_state(fleet, blocks, jobs)
        missing = set(names) - {block.get("Id", "") for block in blocks}
        if state is None or missing:
            raise OperationError(
                tried,
                f"systemctl said nothing about {', '.join(sorted(missing)) or unit_template(fleet)}",
                "Check that systemd answers: systemctl status.",
            )
        return state

    def watch_fleet(self, fleet: str) -> FleetState:
        """Read all workers of a fleet, for somebody who does so every few seconds.

        The answer is that of :meth:`read_fleet`, but for limits of running
        units, which may be a minute old.

        :raises OperationError: as :meth:`read_fleet` does.
        """
        watch = self._watches.setdefault(fleet, UnitWatch())
        return watch.read(self.clock.monotonic(), lambda: self._signs(fleet), lambda: self.read_fleet(fleet))

    def fleets(self) -> list[str]:
        """The names of all fleets that this host has a template unit for.

        :raises OperationError: when systemd cannot be asked.
        """
        listed = self._read(
            ["list-unit-files", "--no-legend", "--full", "--", f"{UNIT_PREFIX}*@.service"],
            tried="list the fleets of this host",
            # Nothing found is an exit status of 1 since systemd 246.
            accept=(0, 1),
        )
        templates = [line.split()[0] for line in listed.splitlines() if line.strip()]
        names = {template.removeprefix(UNIT_PREFIX).removesuffix("@.service") for template in templates}
        return sorted(filter(is_fleet_name, names))

    def start(self, units: Sequence[str], timeout: float, meanwhile: Callable[[], None]) -> Answer:
        """Start units together and wait until each is up or has failed; no longer than `timeout` seconds.

        What came of it is to be read afterwards.

        :param meanwhile: called while they start.
        """
        deadline = self.clock.monotonic() + timeout
        starting = Command([*_SYSTEMCTL, "start", "--", *units])
        meanwhile()
        return starting.end(max(0.1, deadline - self.clock.monotonic()))

    def start_no_wait(self, units: Sequence[str]) -> Answer:
        """Let systemd start units."""
        return self._run(["start", "--no-block", "--", *units], COMMAND_TIMEOUT)

    def restart_no_wait(self, unit: str) -> Answer:
        """Let systemd stop a unit, in its own time, and start it again."""
        # Restarts that were asked for count towards a limit on starts that is meant for crashes.
        self.reset_failed([unit])
        return self._run(["restart", "--no-block", "--", unit], COMMAND_TIMEOUT)

    def stop_no_wait(self, units: Sequence[str]) -> Answer:
        """Tell units to stop, each in its own time."""
        return self._run(["stop", "--no-block", "--", *units], COMMAND_TIMEOUT)

    def stop(self, units: Sequence[str], timeout: float) -> Answer:
        """Stop units and wait until they are gone, no longer than `timeout` seconds."""
        return self._run(["stop", "--", *units], timeout)

    def enable(self, units: Sequence[str]) -> Answer:
        """Have units started at every boot.

        systemd is not made to read its unit files again, which would hold up
        starts: of units that somebody has asked about before it may go on to
        say that they are disabled, until :meth:`reload`.
        """
        return self._run(["enable", "--no-reload", "--quiet", "--", *units], COMMAND_TIMEOUT)

    def disable(self, units: Sequence[str]) -> Answer:
        """Have units not started at boot any more."""
        return self._run(["disable", "--quiet", "--", *units], COMMAND_TIMEOUT)

    def reset_failed(self, units: Sequence[str]) -> None:
        """Forget the failures of units and how often they were started lately.

        A unit that systemd has not loaded has nothing to forget, and a start
        that is refused all the same is seen when it is made: so no failure of
        this matters by itself.
        """
        # Without a name it would be for every unit of the host.
        if units:
            self._run(["reset-failed", "--", *units], COMMAND_TIMEOUT)

    def reload(self) -> None:
        """Make systemd read the unit files again.

        :raises OperationError: when it does not.
        """
        self._read(["daemon-reload"], tried="make systemd read its unit files again")

    def log_command(self, unit: str) -> str:
        """What a person runs to read the log of a unit."""
        return f"journalctl -u {unit}"

    def log_tail(self, unit: str, since: float, failed: bool) -> list[str]:
        """The last lines that a unit logged since `since` (seconds of the wall clock), passwords masked.

        :param failed: whether the unit has failed, so that there must be lines that say so.
        """
        # Rounded up, whole seconds would leave out what a unit said that died at once. Without --reverse, --since makes
        # the lines the first ones instead of the last.
        begin = f"--since=@{math.floor(since)}"
        arguments = ["--unit", unit, begin, f"--lines={_LOG_LINES}", "--reverse", "--output=cat"]
        deadline = self.clock.monotonic() + _JOURNAL_PATIENCE
        while True:
            answer = Command(["journalctl", "--no-pager", "--quiet", *arguments]).end(COMMAND_TIMEOUT)
            # The journal takes a moment to get what a unit printed just before it died.
            if not failed or f"{unit}: Failed with result" in answer.output or self.clock.monotonic() >= deadline:
                return [
                    printable(redact(line.strip())) for line in reversed(answer.output.splitlines()) if line.strip()
                ]
            self.clock.sleep(_JOURNAL_POLL)

    def _signs(self, fleet: str) -> Signs | None:
        listing = self._bus.list_units(unit_glob(fleet))
        invocations = None if listing is None else invocations_of(listing)
        if listing is None or invocations is None:
            return None
        links = tuple(sorted((str(path), _target(path)) for path in _paths_on_disk(fleet)))
        return Signs(listing, links, invocations)

    def _read_units(self, patterns: Sequence[str], tried: str) -> tuple[list[dict[str, str]], dict[str, str]]:
        blocks: list[dict[str, str]] = []
        jobs: dict[str, str] = {}
        for _attempt in range(_SNAPSHOTS):
            blocks = parse_blocks(self._read(["show", f"--property={PROPERTIES}", "--", *patterns], tried=tried))
            with_job = {block.get("Id", "") for block in blocks if block.get("Job", "") not in ("", "0")}
            if not with_job:
                return blocks, {}
            jobs = parse_jobs(self._read(["list-jobs", "--no-legend", "--plain", "--full"], tried=tried))
            # A job that ended between the two calls has changed its unit's state since.
            if with_job <= set(jobs):
                break
        return blocks, jobs

    def _read(self, arguments: Sequence[str], tried: str, accept: tuple[int, ...] = (0,)) -> str:
        answer = self._run(arguments, COMMAND_TIMEOUT)
        if answer.code not in accept:
            raise OperationError(
                tried, answer.problem, "Nothing was decided on it. Check that systemd answers: systemctl status."
            )
        return answer.output

    def _run(self, arguments: Sequence[str], timeout: float) -> Answer:
        return Command([*_SYSTEMCTL, *arguments]).end(timeout)


def _units_on_disk(fleet: str) -> list[str]:
    """Workers of a fleet that a link or file on disk speaks of: enabled or masked ones, or ones of their own."""
    return sorted({path.name for path in _paths_on_disk(fleet) if is_unit_of(fleet, path.name)})


def _paths_on_disk(fleet: str) -> list[Path]:
    pattern = unit_glob(fleet)
    places = (pattern, f"*.wants/{pattern}", f"*.requires/{pattern}")
    return [path for directory in UNIT_DIRECTORIES for place in places for path in directory.glob(place)]


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
