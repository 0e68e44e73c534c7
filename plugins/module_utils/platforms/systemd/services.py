# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of this host that are no workers, such as the autoscaler."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.commands import Command

_PATIENCE = 60.0
_RUNNING = ("active", "activating", "reloading", "refreshing")


def runs(service: str) -> bool:
    """Whether systemd runs a service; no where there is no systemd."""
    answer = Command(["systemctl", "show", "--property=ActiveState", "--value", "--", service]).end(_PATIENCE)
    return answer.output.strip() in _RUNNING


def reload(service: str) -> None:
    """Have a service read its configuration.

    :raises OperationError: when it does not.
    """
    answer = Command(["systemctl", "reload", "--", service]).end(_PATIENCE)
    if not answer.ok:
        tried = f"have {service} read its configuration"
        raise OperationError(tried, answer.problem, f"See journalctl -u {service} on the host.")
