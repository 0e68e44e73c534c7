# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd is told, and when."""

from __future__ import annotations

import _socket
from typing import Mapping

INTERVAL = 1.0  # seconds between two reports of what changes all the time


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Return the watchdog's time in seconds, 0 where there is none or it watches another process."""
    owner = environ.get("WATCHDOG_PID")
    if owner and owner != str(pid):
        return 0.0
    try:
        return max(int(environ.get("WATCHDOG_USEC") or 0), 0) / 1e6
    except ValueError:
        return 0.0


class Notifier:
    """Tells systemd what is new: states once, a text for people when it changes, and that the worker is alive.

    By C sockets only: gevent does not patch them and they take no lock.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        path = environ.get("NOTIFY_SOCKET") or ""
        self.is_on = path[:1] in ("/", "@")
        self.address = "\0" + path[1:] if path.startswith("@") else path
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self.socket.settimeout(1.0)
        self.watchdog = watchdog_seconds(environ, pid) if self.is_on else 0.0
        self.states: set[str] = set()
        self.text = ""
        self.last_text = self.last_ping = 0.0

    def tell(self, states: list[str], text: str, alive: bool, now: float) -> None:
        """Send what is due. `states` are those that hold, such as READY=1; `now` is of the monotonic clock."""
        if not self.is_on:
            return
        new = [state for state in states if state not in self.states]
        urgent = bool(new) or text.split(":")[0] != self.text.split(":")[0]
        changed = text != self.text and (urgent or now - self.last_text >= INTERVAL)
        ping = self.watchdog > 0 and alive and now - self.last_ping >= self.watchdog / 3 - 0.05
        message = new + (["STATUS=" + text] if changed else []) + (["WATCHDOG=1"] if ping else [])
        if not message:
            return
        try:
            self.socket.sendto("\n".join(message).encode(), self.address)
        except OSError:
            return  # again at the next turn
        self.states.update(new)
        if changed:
            self.text, self.last_text = text, now
        if ping:
            self.last_ping = now
