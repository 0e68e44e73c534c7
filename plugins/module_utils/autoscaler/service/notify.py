# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell systemd how a service is: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager that started this process; says nothing where there is none."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ and begins with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._way = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def tell(self, *assignments: str) -> None:
        """Send such as C(READY=1) or C(STATUS=two fleets). What cannot be delivered is not worth failing for."""
        if self._way:
            with contextlib.suppress(OSError):
                self._way.sendto("\n".join(assignments).encode(), self._address)

    def close(self) -> None:
        """Say nothing any more."""
        if self._way:
            self._way.close()
            self._way = None
