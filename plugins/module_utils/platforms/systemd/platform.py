# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers as units of the systemd of this host."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import fleet_of_node, is_unit_of
from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.platform import HostPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Systemd

if TYPE_CHECKING:
    from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading


class SystemdPlatform(HostPlatform):
    """A worker's id is the name of its unit."""

    def __init__(self) -> None:
        self._systemd = Systemd()
        self._host = socket.gethostname()
        super().__init__(self._systemd)

    def fleet_of(self, name: str) -> str | None:
        """The fleet that the worker of this name belongs to, if it is one of this host."""
        return fleet_of_node(name) if name.partition("@")[2] == self._host else None

    def is_worker(self, fleet: str, worker: str) -> bool:
        """Whether a worker of the fleet can have this id."""
        return is_unit_of(fleet, worker)

    def read(self, fleet: str) -> FleetReading:
        """Read a fleet; what cannot be read is part of the answer."""
        # Whoever only scales does without it, see HostPlatform.
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.reading import read_host

        return self.with_pause(fleet, read_host(fleet, self._systemd))
