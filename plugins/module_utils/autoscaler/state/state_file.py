# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of fleets from one cycle to the next, and the file that keeps it.

The service has one file for all fleets, scheduled runs have one for each. A file is written as a whole under another
name and renamed, so a reader finds the old one or the new one, whenever the writer was killed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    from_text,
    to_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

_LARGEST = 64 * 1024 * 1024  # bytes: a thousand fleets take a few
_SET_ASIDE_AT_MOST = 5


def load_state(path: str | os.PathLike[str]) -> dict[str, Remembered]:
    """Return what the file C(path) remembers, by fleet. A file that is not there remembers nothing.

    :raises StateUnusable: when there is a file and it cannot be used.
    """
    try:
        text = _read(Path(path))
        return {} if text is None else from_text(text)
    except (OSError, ValueError) as error:
        raise StateUnusable(
            f"use the state file {os.fspath(path)}",
            error,
            "Without it every cooldown begins anew, and waits are unknown for a while.",
        ) from error


def save_state(path: str | os.PathLike[str], memories: Mapping[str, Remembered]) -> None:
    """Put C(memories) into the file C(path), readable by its owner alone; whoever reads it sees all or nothing of it.

    :raises OperationError: when that fails; the file is then as it was.
    """
    path = Path(path)
    text = to_text(memories)
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


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Hold a lock on C(folder), so that two writers do not take the same temporary file; yield its descriptor."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield opened
    finally:
        os.close(opened)
