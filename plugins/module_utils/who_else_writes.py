# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who but root could change a directory, or what root is about to run.

As a program, which the role worker runs on a host before anything of the collection is there: arguments are paths of
virtualenvs, which need not be there yet, and of programs; it prints a line for each that somebody else can change.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

_RUN_BY_ROOT = ("bin", "bin/python", "bin/pip")


def who_else_writes(directory: str | os.PathLike[str]) -> str:
    """Return the first directory on the way to this one, itself included, that another user can change; or nothing.

    Root and the user who asks are trusted. A directory with the sticky bit, such as C(/tmp), lets others only add
    names, which is harmless on the way, but not at its end.

    :raises OSError: when one of them is not there.
    """
    end = Path(directory).resolve(strict=True)
    for place in (*reversed(end.parents), end):
        found = place.stat()
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_mode & stat.S_ISVTX and place != end:
            others = 0
        if others or found.st_uid not in (0, os.geteuid()):
            return str(place)
    return ""


def place_of_others(path: Path) -> str:
    """Return where another user can change what is, or will be, at a path that root runs something from; or nothing."""
    while not path.exists():
        path = path.parent
    parts = [path, *(path / part for part in _RUN_BY_ROOT if (path / part).exists())]
    return next(filter(None, map(who_else_writes, parts)), "")


def main() -> None:
    """Print what others can change, and where."""
    for given in sys.argv[1:]:
        place = place_of_others(Path(given))
        if place:
            sys.stdout.write(f"{given} ({place})\n")


if __name__ == "__main__":
    main()
