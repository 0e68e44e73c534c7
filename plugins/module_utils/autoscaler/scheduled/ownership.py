# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sizes a fleet on this host: two that do would undo each other's work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    :param path: the daemon's configuration. Its faults are not looked for: with any, the daemon changes nothing.
    :raises OperationError: when it runs and its configuration cannot be read.
    """
    if not runs():
        return False
    # Most hosts have no daemon. What checks a whole configuration would be half of all that a module brings along.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document

    configuration: Any = load_document(path, "the configuration")
    try:
        policies = {watched["name"]: watched.get("policy") for watched in configuration.get("fleets") or ()}
        return configuration.get("mode") == ACT and policies.get(fleet) is not None
    except (AttributeError, KeyError, TypeError):
        raise OperationError(
            f"use the configuration {path}", "it is none of the autoscaler", "Deploy the autoscaler again."
        ) from None


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
