# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of fleets from one cycle to the next, and the file that keeps it.

The service has one file for all fleets, scheduled runs have one for each. A file is written as a whole under another
name and renamed, so a reader finds the old one or the new one, whenever the writer was killed. It is read without
mercy: cooldowns and runs that were guessed from a damaged file could shrink a fleet that must not shrink.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State
from ansible_collections.muejam.celery.plugins.module_utils.decide.instants import OnAClock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

FORMAT = "muejam.celery autoscaler state"
# Counts up when a field goes away or changes its meaning. One that is added with a default needs no new version.
VERSION = 2

_LARGEST = 64 * 1024 * 1024  # bytes: a thousand fleets take a few
_SET_ASIDE_AT_MOST = 5


class StateUnusable(OperationError):
    """There is a state file, and it cannot be used: damaged, of something else, of another version, unreadable."""


@dataclass(frozen=True)
class Remembered(OnAClock):
    """What is remembered of a fleet: by the engine, and by the observer.

    :ivar withdrawn: whether the last decision was not carried out.
    :ivar scheduled: whether scheduled runs keep it, and not the service.
    """

    state: State = field(default_factory=State)
    observed: Memory = field(default_factory=Memory)
    withdrawn: bool = False
    scheduled: bool = False

    def restarted(self) -> Remembered:
        """Return what is left after a break in which nobody looked."""
        return replace(self, state=self.state.restarted())


def cautious(at: float) -> Remembered:
    """Return what to begin with at C(at) when something was remembered and is lost.

    Nobody knows when the fleet was last scaled, so it is taken for just now: every cooldown begins.
    """
    return Remembered(State(last_up=at, last_down=at))


def load_state(path: str | os.PathLike[str]) -> dict[str, Remembered]:
    """Return what the file C(path) remembers, by fleet. A file that is not there remembers nothing.

    :raises StateUnusable: when there is a file and it cannot be used.
    """
    try:
        text = _read(Path(path))
        return {} if text is None else _memories(text)
    except (OSError, ValueError, RecursionError) as error:
        raise StateUnusable(
            f"use the state file {os.fspath(path)}",
            "it is nested without end" if isinstance(error, RecursionError) else error,
            "Set it aside; without it every cooldown begins anew, and waits are unknown for a while.",
        ) from error


def save_state(path: str | os.PathLike[str], memories: Mapping[str, Remembered]) -> None:
    """Put C(memories) into the file C(path), readable by its owner alone; whoever reads it sees all or nothing of it.

    :raises OperationError: when that fails; the file is then as it was.
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "version": VERSION, "fleets": to_json(memories)}, allow_nan=False)
    try:
        with _alone_in(path.parent) as folder:
            write_whole(path, text, 0o600)
            os.fsync(folder)
    except OSError as error:
        raise OperationError(
            f"save the state in {path}",
            error,
            f"See that {path.parent} is there, has space, and may be written to. Until then a restart forgets what "
            "happened since the last save.",
        ) from error


def set_aside(path: str | os.PathLike[str]) -> Path:
    """Keep the unusable file C(path) for whoever looks into it, as C(path).unusable-1 and so on; return its new path.

    Where that is possible it also stays until C(save_state) replaces it: a file that is gone means that there never
    was a state, which would be wrong if the next save failed. The last of five is overwritten.

    :raises OperationError: when it can be neither linked nor renamed.
    """
    path = Path(path)
    try:
        for number in range(1, _SET_ASIDE_AT_MOST + 1):
            aside = path.with_name(f"{path.name}.unusable-{number}")
            if not os.path.lexists(aside):
                break
            if aside.exists() and path.exists() and aside.samefile(path):
                return aside
        else:
            aside.unlink()
        try:
            os.link(path, aside)
        except OSError:  # a folder, another user's file, or a file system without links
            path.rename(aside)
    except OSError as error:
        raise OperationError(
            f"set the state file {path} aside", error, "Remove it by hand, and see who may write to its directory."
        ) from error
    return aside


def _read(path: Path) -> str | None:
    try:
        return read_plain_file(path, _LARGEST).decode("utf-8")
    except FileNotFoundError:
        return None
    except NotAPlainFile as reason:
        raise ValueError(reason) from None


def _memories(text: str) -> dict[str, Remembered]:
    if not text.strip():
        raise ValueError("it is empty")
    try:
        raw = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, or only the beginning of it: {error}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError("it is the file of something else")
    if raw.get("version") != VERSION:
        raise ValueError(f"it has version {raw.get('version')!r}, and only {VERSION} is understood")
    fleets = raw.get("fleets")
    if not isinstance(fleets, dict):
        raise ValueError("fleets is not an object")
    return {name: _memory(entry, f"fleets.{name}") for name, entry in fleets.items()}


def _memory(raw: object, path: str) -> Remembered:
    if not isinstance(raw, dict) or not {"state", "observed"} <= set(raw):
        raise ValueError(f"{path} is not an object of state and observed")
    return from_json(Remembered, raw, path)


def _no_number(written: str) -> float:
    raise ValueError(f"it has {written} in the place of a number")


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Hold a lock on C(folder), so that two writers do not take the same temporary file; yield its descriptor."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield opened
    finally:
        os.close(opened)
