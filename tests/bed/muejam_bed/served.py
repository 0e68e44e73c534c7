# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What execnet runs in a host for each command of inside.py. It needs nothing but that host's Python."""

from __future__ import annotations

import subprocess
from typing import Any

NOT_STARTED = 127
"""As a shell ends when there is no such program."""


def ended(command: list[str], given: bytes | None) -> tuple[int, bytes, bytes]:
    """Run a command, and return how it ended as a shell would tell it, what it printed, and its complaints."""
    stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    try:
        done = subprocess.run(command, capture_output=True, check=False, **stdin)
    except OSError as error:
        return NOT_STARTED, b"", str(error).encode()
    return done.returncode if done.returncode >= 0 else 128 - done.returncode, done.stdout, done.stderr


if __name__ == "__channelexec__":
    channel: Any = globals()["channel"]
    channel.send(ended(*channel.receive()))
