# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would see the pause of a fleet: one that nobody sizes needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import default_path
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.ownership import daemon_sizes
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import CLUSTER_NAME
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options

DAEMON = "daemon"
SCHEDULED = "scheduled runs"


def who_sizes(fleet: str, params: Mapping[str, Any], warn: Callable[[str], None]) -> str:
    """Return C(DAEMON) or C(SCHEDULED), whoever sizes the fleet where a module's options say that it is.

    :param params: of the module; with C(scheduled) it is scheduled runs where nothing else is found.
    :raises OperationError: when nobody does, as far as can be told there.
    """
    if options.runs_here(params):
        if daemon_sizes(fleet):
            return DAEMON
        lacking = "there is no daemon celery-autoscaler that acts on it by a policy on this host"
    else:
        lacking = _lacking_in_a_cluster(fleet, params, warn)
        if not lacking:
            return DAEMON
    if params["scheduled"] or Path(default_path(fleet)).exists():
        return SCHEDULED
    raise OperationError(
        f"pause fleet {fleet}",
        f"nobody sizes it: {lacking}, and no state of scheduled runs of the module autoscale was found",
        "Nothing was changed. Use the module or the playbook scale: the number stays as it is set. Where scheduled "
        "runs of autoscale size it from another host, say so by scheduled: true.",
    )


def _lacking_in_a_cluster(fleet: str, params: Mapping[str, Any], warn: Callable[[str], None]) -> str:
    """Return how it is known that there is no daemon; nothing where there is one, or may be one."""
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import LeaseObject
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

    api = HttpApi(connect(options.place_of(params)))
    try:
        record = LeaseObject(api, api.namespace).read()
    except Refused as error:
        if error.status != 403:
            raise
        warn(f"It is not known whether the daemon {CLUSTER_NAME} sizes fleet {fleet}: {error.why}")
        return ""
    return "" if record is not None else f"namespace {api.namespace} has no Lease of the daemon {CLUSTER_NAME}"
