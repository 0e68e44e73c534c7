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
        self._address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")

    def tell(self, *assignments: str) -> None:
        """Send such as C(READY=1) or C(STATUS=two fleets). What cannot be delivered is not worth failing for."""
        if not self._address:
            return
        # An abstract socket is written with @ and begins with a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way,
        ):
            way.sendto("\n".join(assignments).encode(), address)
