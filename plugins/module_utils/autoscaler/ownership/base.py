# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler of a place, as others see it who are about to set the number of a fleet's workers.

Two that do would undo each other's work. So whoever else is to do it asks first, and has the autoscaler let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options


class Autoscaler(Protocol):
    """The autoscaler of one place."""

    @property
    def where(self) -> str:
        """Where it runs, as a person reads it: C(on this host)."""

    def sized(self) -> frozenset[str]:
        """The fleets whose number of workers it sets at present.

        :raises OperationError: when that cannot be found out.
        """

    def let_go(self, names: Sequence[str] | None, keep: Sequence[str], check: bool) -> list[str]:
        """Have it scale the fleets named no more, and return those that it did scale until now.

        When this returns it sets none of them any more, whatever it has decided before. That holds until the next
        deployment with a policy.

        :param names: None is all but those to keep.
        :param check: whether only to tell.
        :raises OperationError: when that cannot be done; nothing is known of it then.
        """


def autoscaler_of(params: Mapping[str, Any]) -> Autoscaler:
    """Return the autoscaler of the place that a module's options name. Nothing is asked yet.

    :raises KeyError: when nobody is known there.
    :raises OperationError: when there is no way there.
    """
    # Each is loaded where it is asked for: a module compiles all that it loads in each run.
    if options.runs_here(params):
        from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler

        return HostAutoscaler()
    if params["platform"] == KUBERNETES:
        from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.cluster import open_cluster

        return open_cluster(options.place_of(params))
    raise KeyError(params["platform"])


def known_sized(autoscaler: Autoscaler, warn: Callable[[str], None]) -> frozenset[str] | None:
    """Return which fleets an autoscaler sizes; None where that is not known, after a warning that says why."""
    try:
        return autoscaler.sized()
    except OperationError as error:
        warn(f"It is not known which fleets the autoscaler sizes {autoscaler.where}: {error}")
        return None


def second_owner(fleet: str, where: str) -> OperationError:
    """The error for a fleet that an autoscaler sizes and that somebody else is to size by a policy too.

    :param where: C(on app1, app2).
    """
    return OperationError(
        f"autoscale fleet {fleet}",
        f"the autoscaler sizes it {where}, and two would undo each other's work",
        "Nothing was changed. Leave the fleet to the autoscaler. Or take it from there: by the module let_go, by "
        "celery_autoscaler_mode: advise, or by a deployment without a policy for the fleet. With apply: false this "
        "module only says what it would do.",
    )
