# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sizes a fleet on this host: two that do would undo each other's work."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    ACT,
    CONFIGURATION_FILE,
    SERVICE,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import services


def service_runs() -> bool:
    """Whether this host runs the daemon."""
    return services.runs(SERVICE)


def daemon_sizes(fleet: str, path: str = CONFIGURATION_FILE, runs: Callable[[], bool] = service_runs) -> bool:
    """Whether the daemon runs on this host, in the mode in which it acts, with a policy for this fleet.

    :param path: the daemon's configuration.
    :raises OperationError: when it runs and its configuration cannot be read.
    """
    if not runs():
        return False
    # A module compiles what it imports in each run: most hosts have no daemon, and this is a third of all that.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
        load_configuration,
    )

    configuration = load_configuration(path)
    watched = configuration.fleet(fleet)
    return configuration.mode == ACT and watched is not None and watched.policy is not None


def refuse_second_owner(fleet: str, hosts: str) -> OperationError:
    """The error for a fleet that the daemon sizes.

    :param hosts: where, as a person reads it.
    """
    return OperationError(
        f"autoscale fleet {fleet}",
        f"the daemon celery-autoscaler sizes it on {hosts}, and two would undo each other's work",
        "Nothing was changed. Leave it to the daemon, or set the daemon to mode advise, or remove the fleet's policy "
        "from its configuration and reload it. With apply: false this module only says what it would do.",
    )
