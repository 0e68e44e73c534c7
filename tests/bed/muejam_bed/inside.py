# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in a host, by one process of Python that stays there.

Tests ask their hosts all the time, mostly while they wait. A "docker exec" for each question takes a tenth of a second,
most of it of a core; a question to a process that is there already takes a few thousandths.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Sequence

import execnet

from . import served

GONE = 137
"""How a command ends whose host went away; the engine's client says the same."""
END_SECONDS = 5.0
ANSWER_SECONDS = 600.0
"""No command of a test takes as long; a frozen host would never answer."""

_gateways: dict[str, execnet.Group] = {}
_starting = threading.Lock()


def _gateway(name: str) -> execnet.Gateway | None:
    """Return the way to the process in a host, which is started if there is none; none if the host has none."""
    with _starting:
        group = _gateways.get(name)
        if group is not None and not group[0].hasreceiver():
            leave(name)
            group = None
        if group is None:
            group = execnet.Group()
            try:
                group.makegateway(f"popen//python=docker exec --interactive {shlex.quote(name)} python3")
            except (EOFError, OSError):
                group.terminate(END_SECONDS)
                return None
            _gateways[name] = group
        return group[0]


def run(name: str, command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a host as root, and return how it ended, as "docker exec" would."""
    gateway = _gateway(name)
    if gateway is None:
        return subprocess.CompletedProcess(command, GONE, "", f"{name} runs no Python")
    try:
        channel = gateway.remote_exec(served)
        channel.send((list(command), None if stdin is None else stdin.encode()))
        code, printed, complaints = channel.receive(ANSWER_SECONDS)
    except execnet.TimeoutError:
        leave(name)
        return subprocess.CompletedProcess(command, GONE, "", f"{name} did not answer within {ANSWER_SECONDS:g} s")
    except (EOFError, OSError) as error:
        return subprocess.CompletedProcess(command, GONE, "", f"{name} went away: {error}")
    return subprocess.CompletedProcess(command, code, printed.decode(), complaints.decode())


def leave(name: str) -> None:
    """End the process in a host, if there is one."""
    group = _gateways.pop(name, None)
    if group is not None:
        group.terminate(END_SECONDS)
