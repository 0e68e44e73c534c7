# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP ports for servers of a test, no two of which are the same on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Open files hold their locks until this process ends, whichever way it does.
_held: dict[int, int] = {}


def _claimed(port: int) -> bool:
    """Say whether this process is now the only one that may give the port to a server."""
    folder = Path(tempfile.gettempdir(), "muejam-celery-ports")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o777)
        folder.chmod(0o1777)
    try:
        claim = os.open(folder / str(port), os.O_WRONLY | os.O_CREAT, 0o644)
    except PermissionError:  # it is another user's
        return False
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        return False
    _held[port] = claim
    return True


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on, and that no other test will be given.

    Tests of several processes and checkouts run at once, and a server needs a moment until it listens, so that a
    look at who listens is not enough. A port that the kernel would choose could be given to an outgoing connection
    before the server is up, so these lie below the kernel's.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        if port in _held or not _claimed(port):
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
