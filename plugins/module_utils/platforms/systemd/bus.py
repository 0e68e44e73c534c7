# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask systemd over D-Bus, on a connection that stays.

For a service that asks every few seconds: `busctl` takes 9 ms of CPU time to list 20 units, this half a millisecond.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

Listing = Mapping[str, tuple[str, str, str]]
"""Active state, sub state and kind of job by unit name."""

PATIENCE = 5.0
"""Seconds for one answer. systemd answers in milliseconds; where it does not, `systemctl` is asked all the same."""

_LIST = "a(ssssssouso)"


class Bus:
    """The systemd of this host, as its bus knows it. What cannot be had this way is told by `systemctl`."""

    def __init__(self) -> None:
        self._connection: Any = None

    def list_units(self, pattern: str) -> Listing | None:
        """List the units whose names match, loaded ones only; `None` where the bus or jeepney is not there."""
        try:
            # A run of a module never gets here.
            from jeepney import DBusAddress, HeaderFields, new_method_call
        except ImportError:
            return None
        manager = DBusAddress(
            "/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager"
        )
        asked = new_method_call(manager, "ListUnitsByPatterns", "asas", ([], [pattern]))
        try:
            if self._connection is None:
                self._connection = _connect()
            answer = self._connection.send_and_get_reply(asked)
        except Exception:
            # A bus may refuse a login or another connection, and jeepney has errors of many kinds for what it cannot
            # read. None of them says anything about the units. The next question connects anew.
            self.close()
            return None
        # A refusal has another form: a text.
        if answer.header.fields.get(HeaderFields.signature) != _LIST:
            return None
        return {row[0]: (row[3], row[4], row[8]) for row in answer.body[0]}

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _connect() -> Any:
    from jeepney.bus import get_bus
    from jeepney.io.blocking import DBusConnection, prep_socket

    class Impatient(DBusConnection):
        """Also for the greeting it waits no longer than that."""

        def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
            """Send a message and wait for the reply."""
            return super().send_and_get_reply(message, timeout=PATIENCE if timeout is None else timeout)

    way = prep_socket(get_bus("SYSTEM"), timeout=PATIENCE)
    try:
        return Impatient(way)
    except BaseException:
        way.close()
        raise
