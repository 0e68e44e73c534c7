# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedule of a fleet in a cluster: CronJobs that set floor and ceiling of whatever sets the number of its pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import Patience
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import bounds_in_force
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.cluster import ClusterAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation import schedules
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import NOBODY, SCHEDULE
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    RollingPlatform,
    ScaleRequest,
    ScaleResult,
    absent_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names, scalers
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.handing_over import Outcome, hand_over
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

READY_WITHIN = 60.0

_BOUNDED = {scalers.SCALED_OBJECT: schedules.SCALED_OBJECT, scalers.HPA: schedules.HPA}


@dataclass
class Kept:
    """What was changed, or would be.

    :ivar owner: what sets the number of pods, in words.
    :ivar objects: what became of CronJobs and their rights.
    :ivar scaled: what was done to the pods, or None.
    :ivar bounds: of the owner before and after, where they were set.
    :ivar warnings: what a run without check mode would not be content with.
    """

    owner: str
    objects: Outcome
    scaled: ScaleResult | None = None
    bounds: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was."""
        return self.objects.changed or self.bounds is not None or bool(self.scaled and self.scaled.changed)


def keep(
    api: Api,
    platform: RollingPlatform,
    fleet: str,
    policy: Policy,
    image: str,
    at: float,
    patience: Patience,
    check: bool,
) -> Kept:
    """Have CronJobs keep the schedule of a fleet, and what holds at C(at) (seconds since the epoch) hold at once.

    :param image: has kubectl.
    :raises OperationError: when the number is somebody's who has the schedule already, or an object is refused.
    """
    workload, scaler = names.object_name(fleet), _scaler(api, fleet)
    if scaler is None:
        warnings = [] if _has_fleet(api, fleet, check) else [absent_fleet(fleet, _place(api))]
        objects = _objects(policy, at, schedules.DEPLOYMENT, workload, fleet, api, image)
        done = hand_over(api, {fleet: SCHEDULE}, objects, check=check, ready_within=READY_WITHIN)
        scaled = _scale(platform, fleet, policy, at, done.changed, patience, check)
        return Kept(f"Deployment {workload}", done, scaled, warnings=warnings)
    owner = _BOUNDED[scaler.kind]
    objects = _objects(policy, at, owner, scaler.name, fleet, api, image)
    # The scaler is none of ours and stays, which is said by naming nobody.
    done = hand_over(api, {fleet: NOBODY}, objects, check=check, ready_within=READY_WITHIN)
    wanted = owner.bounds(*bounds_in_force(policy, at))
    present = {field: (scaler.value.get("spec") or {}).get(field) for field in wanted}
    if present == wanted:
        return Kept(scaler.title, done)
    if not check:
        api.patch(scaler.kind.path(api.namespace, scaler.name), {"spec": wanted})
    return Kept(scaler.title, done, bounds=(present, wanted))


def remove(api: Api, fleet: str, check: bool) -> Kept:
    """Leave nothing of the schedule of a fleet. Its pods, and bounds of others, stay as they are.

    :raises OperationError: when the cluster cannot be asked, or refuses.
    """
    found = scalers.look(api)
    own = next((thing for thing in found.ours if thing.fleet == fleet and thing.kind in scalers.OWNERS), None)
    if own is not None:
        # Its CronJobs are a part of what the role worker made of the fleet's policy.
        return Kept(own.title, Outcome())
    done = hand_over(api, {fleet: NOBODY}, [], check=check, ready_within=READY_WITHIN)
    return Kept("", done)


def daemon_sizes(api: Api, fleet: str) -> bool:
    """Return whether the autoscaler of this collection scales a fleet of this namespace.

    Where its Lease may not be read nobody can tell, and it is taken for no: there are never two all the same, for the
    note of the new owner in the Deployment has the autoscaler let go.

    :raises OperationError: when the cluster cannot be asked.
    """
    try:
        return fleet in ClusterAutoscaler(api).sized()
    except Refused as error:
        if error.status == 403:
            return False
        raise


def _scaler(api: Api, fleet: str) -> scalers.Thing | None:
    """Return the HPA or ScaledObject that sets the number of a fleet's pods, if any.

    :raises OperationError: when it is one that has the schedule of the fleet's policy already.
    """
    found = scalers.look(api)
    thing = next((each for each in found.scalers if scalers.sets_number(each.value, fleet)), None)
    if thing is not None and any((own.kind, own.name) == (thing.kind, thing.name) for own in found.ours):
        raise OperationError(
            f"keep a schedule for fleet {fleet} in {_place(api)}",
            f"the {thing.title}, made of the fleet's policy, sets its number, and has the windows of that policy",
            "Nothing was changed. Put the windows into the fleet's policy, or deploy with "
            "celery_worker_autoscaling: schedule.",
        )
    return thing


def _has_fleet(api: Api, fleet: str, check: bool) -> bool:
    """Return whether the fleet is there. One that is not may still come where nothing is done yet.

    :raises OperationError: when it is not there, but with C(check).
    """
    try:
        api.get(names.deployments(api.namespace, fleet))
    except Refused as error:
        if error.status != 404:
            raise
        if check:
            return False
        raise OperationError(
            f"keep a schedule for fleet {fleet} in {_place(api)}",
            f"there is no Deployment {names.object_name(fleet)}",
            "Nothing was changed. Check the name, or deploy the fleet with the role muejam.celery.worker first.",
        ) from None
    return True


def _place(api: Api) -> str:
    return f"namespace {api.namespace} of {api.server}"


def _objects(
    policy: Policy, at: float, owner: schedules.Owner, name: str, fleet: str, api: Api, image: str
) -> list[dict[str, Any]]:
    made = schedules.cron_jobs(policy, at, owner, name, names.object_name(fleet), api.namespace, image)
    labels = names.scaler_labels(fleet)
    return [{**each, "metadata": {**each["metadata"], "labels": labels}} for each in made]


def _scale(
    platform: RollingPlatform, fleet: str, policy: Policy, at: float, new: bool, patience: Patience, check: bool
) -> ScaleResult | None:
    """Set the number to the floor where the schedule is another one, and else only within its bounds."""
    floor, ceiling = bounds_in_force(policy, at)
    request = ScaleRequest(fleet, 0, keep=True)
    present = platform.scale(request, check=True).before
    wanted = floor if new else min(max(present, floor), ceiling)
    if wanted == present:
        return None
    request = replace(
        request,
        workers=wanted,
        keep=False,
        expected_workers=present,
        wait=wanted > present,
        wait_timeout=patience.start,
    )
    return platform.scale(request, check=check)
