# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who but root could change a directory, or what root is about to run."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_RUN_BY_ROOT = ("bin", "bin/python", "bin/pip")
_MOST_LINKS = 40


def who_else_writes(directory: str | os.PathLike[str], missing: bool = False) -> str:
    """Return the first place on the way to this directory, itself included, that another user can change; or nothing.

    Root and the user who asks are trusted. A directory with the sticky bit, such as C(/tmp), lets others only add
    names, which is harmless on the way, but not at its end. The way goes through each link and the directory that the
    link lies in: whoever can put another link there leads elsewhere.

    :param missing: let the way end where nothing is there yet.
    :raises OSError: when something on the way is not there, or links lead nowhere.
    """
    end = Path(directory).absolute()
    place, links = Path("/"), 0
    todo = list(end.parts[1:])
    while True:
        try:
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(end))
            found = place.lstat()
        except OSError:
            if not missing:
                raise
            todo, place, links = [], place.parent, 0
            continue
        mine = found.st_uid in (0, os.geteuid())
        link = stat.S_ISLNK(found.st_mode)
        if link and mine:
            links += 1
            todo, place = [*place.readlink().parts, *todo], place.parent
            continue
        others = 0 if link else found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_mode & stat.S_ISVTX and todo:
            others = 0
        if others or not mine:
            return str(place)
        if not todo:
            return ""
        part = todo.pop(0)
        place = place.parent if part == ".." else place / part


def place_of_others(path: Path) -> str:
    """Return where another user can change what is, or will be, at a path that root runs something from; or nothing."""
    parts = [path, *(path / part for part in _RUN_BY_ROOT if os.path.lexists(path / part))]
    return next(filter(None, (who_else_writes(part, missing=True) for part in parts)), "")
