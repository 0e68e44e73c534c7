#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the number of workers of a fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: scale
short_description: Set the number of Celery workers of a fleet
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Brings a fleet to an exact number of workers without losing a task.
  - Workers that are started are started together, and waited for until they consume. Those that do not come up are
    stopped again and the module fails, naming each with its last log lines; the others stay.
  - Workers that are stopped finish what they have first. Workers that do not run are taken first, then those that
    end by themselves, those that do not consume yet, those that say nothing about themselves, and then the least busy
    ones by active and reserved tasks.
  - Workers that count are the enabled instances, and those that run without being enabled. Draining ones do not count,
    and their numbers are not given away before they are gone. Enabled workers that do not run are started again.
  - On Kubernetes the number is that of the Deployment. It is changed only on the version of the Deployment that was
    read, which takes the place of a lock; who comes second is told to decide again. Pods that are to go are marked with
    a cost of deletion, so that the cluster takes those; what each has to do is asked by way of the API server.
  - On Kubernetes pods that do not start are told with what the kubelet, the scheduler or a quota says of them, and
    their last log lines, and the number is set back by as many.
  - A Deployment that an autoscaler of the cluster (HorizontalPodAutoscaler, or a ScaledObject of KEDA) sizes is left
    alone. The module fails, names it and says what to change there.
  - Where the autoscaler sizes the fleet, on a host or in a namespace, the number is set and the module
    warns, for the autoscaler goes on from it. M(muejam.celery.let_go) has it let go before.
extends_documentation_fragment:
  - muejam.celery.fleet
  - muejam.celery.lock
options:
  workers:
    description:
      - Number of workers there shall be on this host or in this namespace, 0 or more.
    type: int
    required: true
  expected_workers:
    description:
      - Number of workers that the decision was made on. When there are more or fewer now, the module fails before it
        changes anything.
    type: int
  keep:
    description:
      - Whether a fleet that has workers keeps as many as it has, wanted ones that do not run included;
        O(workers) then holds only for a fleet that has none.
      - For fleets whose number is an autoscaler's business. Where such a fleet is paused (M(muejam.celery.pause)), one
        that has none gets as many as it is held at, and not O(workers).
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until started workers consume and stopped ones are gone. With O(workers=0) those are waited for
        too that drain already, whoever told them to.
      - Without it the module tells systemd what to do and returns; RV(after) then counts workers that may not consume
        yet, and failures are left to be found by the next run.
      - On Kubernetes it then cannot name those that come, and RV(stopped) has those that were marked to go.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds that started workers have until they consume. The unit's own C(TimeoutStartSec) holds as well. On
        Kubernetes those that crash are not waited for, those that find no node are.
    type: int
    default: 300
  drain_timeout:
    description:
      - Seconds to wait until stopped workers are gone. When they are over the module fails and names who still drains;
        the workers go on draining.
      - By default the time that the units allow by their C(TimeoutStopSec), after which systemd kills what is left; on
        Kubernetes the pods' C(terminationGracePeriodSeconds).
    type: int
  tell_outdated:
    description: Whether to look afterwards which workers do not run with the present configuration.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
    details:
      - A fleet that the host does not have is an error. In check mode it is taken for one of 0 workers, with a warning,
        so that a first deployment can be rehearsed.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - Shows the list of the fleet's workers before and after.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.23 or newer
notes:
  - Needs root on a host.
  - In a cluster it needs to get and list C(deployments), to patch C(deployments/scale), to list and patch C(pods), and
    to list C(horizontalpodautoscalers). With C(get pods/proxy) it knows which workers are idle, with C(get pods/log) it
    shows what failed ones say, with C(list scaledobjects) it sees those of KEDA that are at rest, with C(get leases)
    whether the autoscaler sizes the fleet.
  - Only one V(scale) or restart of a fleet runs at a time on a host; a second one waits, see
    O(lock_timeout).
seealso:
  - module: muejam.celery.let_go
  - module: muejam.celery.restart
  - module: muejam.celery.worker_info
"""

EXAMPLES = r"""
- name: Have six workers
  muejam.celery.scale:
    fleet: web
    workers: 6
  become: true

- name: Go from six to two, but only if it is six still
  muejam.celery.scale:
    fleet: web
    workers: 2
    expected_workers: 6
    drain_timeout: 600
  become: true

- name: Have six workers in a cluster
  muejam.celery.scale:
    fleet: web
    workers: 6
    platform: kubernetes
    kubeconfig: ~/.kube/config
    context: production
    namespace: muejam
  delegate_to: localhost

- name: Stop the fleet, and do not wait for the last task
  muejam.celery.scale:
    fleet: web
    workers: 0
    wait: false
  become: true
"""

RETURN = r"""
before:
  description: Number of workers found.
  returned: success
  type: int
  sample: 2
after:
  description:
    - Number of workers that there are afterwards, in check mode the number there would be.
    - On a failure after which they could not be read it is none.
  returned: success, and failure after something was changed
  type: int
  sample: 4
started:
  description: Units or pods that were started. With O(wait=true) they consume.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: [celery-worker-web@3.service, celery-worker-web@4.service]
stopped:
  description: Units or pods that were told to stop, in the order in which they were chosen.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: []
draining:
  description: Units or pods that still finish their tasks. They are not counted in RV(after).
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: []
unknown:
  description: When workers were to be stopped, those whose tasks are unknown, by unit or pod, and why.
  returned: success
  type: dict
  sample: {celery-worker-web@2.service: its status is 9 s old}
start_seconds:
  description: How long each started worker took until it consumed, as its platform timed it, by unit or pod.
  returned: success, when workers were started with O(wait=true)
  type: dict
  sample: {celery-worker-web@3.service: 1.612, celery-worker-web@4.service: 1.633}
outdated:
  description: Units or pods that M(muejam.celery.restart) with C(only=outdated) restarts.
  returned: success with O(tell_outdated=true)
  type: list
  elements: str
  sample: [celery-worker-web@1.service]
finished:
  description:
    - Always true. It lets a task with C(async) come to its end.
    - Under C(async) Ansible makes a truth value of RV(started); RV(start_seconds) still has the units.
  returned: always
  type: bool
  sample: true
not_started:
  description: Units or pods that did not come to consume.
  returned: failure to start workers
  type: list
  elements: str
  sample: [celery-worker-web@4.service]
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import (
    Autoscaler,
    autoscaler_of,
    known_sized,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    RESULT_KEYS,
    RollingPlatform,
    RollRequest,
    ScaleRequest,
)


def faults(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the options."""
    yield from options.faults(params)
    if params["workers"] < 0:
        yield f"workers: {params['workers']} is below 0; 0 stops the fleet"
    if params["expected_workers"] is not None and params["expected_workers"] < 0:
        yield f"expected_workers: {params['expected_workers']} is below 0"


def number_for(params: Mapping[str, Any], platform: RollingPlatform, now: float) -> int:
    """Return how many workers there shall be. Who leaves the number to others leaves a fleet that is held at none.

    :param now: seconds since the epoch.
    :raises OperationError: when it cannot be told whether somebody holds the fleet at a number.
    """
    workers: int = params["workers"]
    pause = platform.paused(params["fleet"]) if params["keep"] else None
    return pause.workers if pause is not None and pause.holds(now) else workers


def undone_by_the_autoscaler(params: Mapping[str, Any], done: bool, autoscaler: Callable[[], Autoscaler]) -> list[str]:
    """What to know of a number that is set by hand where the autoscaler sets it as well.

    :param done: whether workers were started or stopped. In a rehearsal none are, and nothing tells whether it
        would be told to let go before.
    :param autoscaler: of the place; asked for where it matters alone.
    """
    # Who keeps what there is leaves the number to the autoscaler.
    if not done or params["keep"]:
        return []
    found, warnings = autoscaler(), list[str]()
    fleet = params["fleet"]
    if fleet in (known_sized(found, warnings.append) or ()):
        warnings.append(
            f"The autoscaler sizes fleet {fleet} {found.where}, and changes this number at its next look "
            "if the policy says so. To keep the number, pause the fleet at it with the module or the playbook pause, "
            "or change the limits of the fleet's policy."
        )
    return warnings


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **options.FLEET_ARGUMENTS,
            "workers": {"type": "int", "required": True},
            "expected_workers": {"type": "int"},
            "keep": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "tell_outdated": {"type": "bool", "default": False},
            **options.TIMES,
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = "; ".join(faults(params))
    if wrong:
        module.fail_json(msg=f"Nothing was changed, the options are wrong: {wrong}.")
    try:
        platform = options.open_from(params)
        workers = number_for(params, platform, time.time())
    except OperationError as error:
        module.fail_json(msg=str(error), finished=True, **error.details)
    request = ScaleRequest(
        fleet=params["fleet"],
        workers=workers,
        expected_workers=params["expected_workers"],
        keep=params["keep"],
        wait=params["wait"],
        wait_timeout=params["wait_timeout"],
        drain_timeout=params["drain_timeout"],
        lock_wait=params["lock_timeout"],
    )
    try:
        result = platform.scale(request, check=module.check_mode)
    except OperationError as error:
        # The autoscaler may have set another number before all had drained.
        for warning in undone_by_the_autoscaler(
            params, bool(error.details.get("changed")), lambda: autoscaler_of(params)
        ):
            module.warn(warning)
        module.fail_json(msg=str(error), finished=True, **error.details)
    done = result.changed and not module.check_mode
    for warning in [*result.warnings, *undone_by_the_autoscaler(params, done, lambda: autoscaler_of(params))]:
        module.warn(warning)
    returned = {key: getattr(result, key) for key in ("changed", *RESULT_KEYS, "unknown")}
    if result.start_seconds:
        returned["start_seconds"] = result.start_seconds
    if result.changed:
        returned["diff"] = result.diff()
    if params["tell_outdated"]:
        try:
            returned["outdated"] = platform.roll(RollRequest(params["fleet"]), check=True).restarted
        except OperationError as error:
            module.fail_json(msg=str(error), **{**returned, **error.details, "finished": True})
    # Ansible takes an asynchronous result with a key "started" and none "finished" for one that still runs.
    module.exit_json(finished=True, **returned)


if __name__ == "__main__":
    main()
