# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say for which of some paths there is too little room: pip tells of a full disk only that ensurepip failed.

python3 room_for.py MEBIBYTES PATH...
"""

import os
import sys
from pathlib import Path


def existing(path):
    """Return the nearest folder above that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def lacks(path, mebibytes):
    """Return what a file system lacks, empty where there is room."""
    room = os.statvfs(existing(Path(path)))
    free = room.f_bavail * room.f_frsize // 1024**2
    if free < mebibytes:
        return f"{path}: its file system has {free} MiB left, and {mebibytes} are needed"
    # File systems that make inodes as they need them have a number of none.
    if room.f_files and room.f_favail < 10 * mebibytes:
        return f"{path}: its file system has room for {room.f_favail} more files, and {10 * mebibytes} are needed"
    return ""


if __name__ == "__main__":
    for line in filter(None, (lacks(path, int(sys.argv[1])) for path in sys.argv[2:])):
        print(line)
