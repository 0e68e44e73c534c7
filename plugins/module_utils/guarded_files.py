# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of other users, read without harm.

Whoever may write to a directory can put a link, a FIFO or an endless file in the place of what is expected there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_PIECE = 64 * 1024


class NotAPlainFile(Exception):
    """What lies there is no file that may be read; the text says why, for an operator."""


def read_plain_file(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return what is in a file: at once, without following a link in the last place, and not more than is wanted.

    :raises NotAPlainFile: when it is a link, a FIFO, a directory or a device, or has more than C(most_bytes).
    :raises OSError: when it cannot be opened or read.
    """
    # O_NONBLOCK: opening a FIFO would wait for somebody who writes into it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        opened = os.open(path, flags)
    except OSError:
        if Path(path).is_symlink():
            raise NotAPlainFile("it is a link") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise NotAPlainFile("it is no plain file")
        # The size says nothing about a file that grows meanwhile.
        found = b""
        while len(found) <= most_bytes and (piece := os.read(opened, min(_PIECE, most_bytes + 1 - len(found)))):
            found += piece
    finally:
        os.close(opened)
    if len(found) > most_bytes:
        raise NotAPlainFile(f"it is larger than {most_bytes} bytes")
    return found
