#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the workers of one fleet, or of every fleet, on one host or in one namespace of a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_info
short_description: Reads the workers of one fleet, or of every fleet, on one host or in one namespace
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Tells what the host knows of the workers of a fleet, whether they answer or not. Which units are wanted and in which
    phase they are, what their processes use, and what each worker says of itself in its status file.
  - In a cluster it tells what the API server knows of all fleets of a namespace in as many calls as of one, what the
    metrics API measured of their pods, and what each worker says of itself.
  - It needs no broker. What workers tell over the broker is read by M(muejam.celery.worker_info).
  - The result for one fleet is what M(muejam.celery.autoscale) wants of each host of a fleet that has several.
  - What cannot be known is V(null), never V(0), and the reason stands beside it.
options:
  fleet:
    description:
      - Name of the fleet, as given to the role P(muejam.celery.worker#role).
      - Without it, every fleet of the host is read into RV(fleets).
    type: str
    required: false
  workers:
    description:
      - Whether to read the workers. Without them RV(fleets) only names the fleets, which is quickly done.
      - With O(fleet) they are read in any case.
    type: bool
    default: true
extends_documentation_fragment:
  - muejam.celery.fleet
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.23 or newer
notes:
  - Without root the status files of the workers may be out of reach, and their tasks are unknown.
  - In a cluster it needs to list C(deployments) and C(pods). Without C(get pods/proxy) the tasks of the workers are
    unknown, without the metrics API, or C(list) of its C(pods), what they use, and without C(get leases) whether the
    autoscaler sizes them.
seealso:
  - module: muejam.celery.autoscale
  - module: muejam.celery.worker_info
"""

EXAMPLES = r"""
- name: Read the fleet
  muejam.celery.fleet_info:
    fleet: web
  become: true
  register: web

- name: Fail while a worker that is wanted does not run
  ansible.builtin.assert:
    that: web.workers | selectattr('phase', 'equalto', 'down') | length == 0

- name: Read every fleet of the host
  muejam.celery.fleet_info:
  become: true
  register: here

- name: Read every fleet of a namespace
  muejam.celery.fleet_info:
    platform: kubernetes
    namespace: muejam
  delegate_to: localhost
  register: there

- name: Look which fleets the host has
  muejam.celery.fleet_info:
    workers: false
  become: true
  register: names_here
"""

RETURN = r"""
fleets:
  description: By the name of each fleet what is returned of one below.
  returned: when O(fleet) is not given
  type: dict
  sample: {}
exists:
  description: Whether the host has a fleet of that name. V(null) where that could not be found out.
  returned: when O(fleet) is given
  type: bool
  sample: true
host:
  description: Name that the host gives itself; of a cluster the namespace and the address of the API server.
  returned: when O(fleet) is given
  type: str
  sample: app1
at:
  description: When this was read, in seconds since the epoch by the clock of the host.
  returned: when O(fleet) is given
  type: float
  sample: 1767225600.25
workers:
  description: The workers. V(null) where systemd or the API server could not be read.
  returned: when O(fleet) is given
  type: list
  elements: dict
  contains:
    name:
      description: Node name of the worker.
      type: str
      returned: always
    phase:
      description:
        - V(starting) on its way up, V(consuming), V(ending) for one that ends without having been told to,
          V(draining) on its way out, or V(down) for one that is wanted and does not run.
        - All but draining ones are wanted workers of the fleet.
      type: str
      returned: always
    life:
      description: Another text for another process of the same worker. Its counters start anew with it.
      type: str
      returned: always
    active:
      description: Tasks that run.
      type: int
      returned: always
    reserved:
      description: Tasks received and not started.
      type: int
      returned: always
    started:
      description: Tasks started since its process started.
      type: int
      returned: always
    taken:
      description: Messages taken from each queue since its process started, by queue.
      type: dict
      returned: always
    cpu_seconds:
      description: CPU time that it has used since its process started.
      type: float
      returned: always
    cpu_rate:
      description:
        - CPU seconds that it uses in a second, where the platform measures that in place of
          RV(workers[].cpu_seconds), as Kubernetes does.
      type: float
      returned: always
    cores:
      description:
        - CPU seconds that it may use in a second. On Kubernetes those that its container requests, as an HPA reckons.
      type: float
      returned: always
    memory:
      description: Bytes that it uses.
      type: float
      returned: always
    memory_allowed:
      description: Bytes that it may use. On Kubernetes those that its container requests.
      type: float
      returned: always
    since:
      description: Seconds for which it has been consuming.
      type: float
      returned: always
    silent:
      description: Whether it ought to tell what it does and does not, as one that hangs.
      type: bool
      returned: always
    down_for:
      description: Seconds for which it has been down, where that is known.
      type: float
      returned: always
    retried:
      description: Whether its platform starts it again by itself, as the kubelet always does.
      type: bool
      returned: always
    restarts:
      description: How often its platform did so since somebody else started it.
      type: int
      returned: always
    state:
      description:
        - What its platform says of one that is down, such as V(failed, exit-code) or
          V(ImagePullBackOff).
      type: str
      returned: always
    why:
      description: Why something of the above is V(null).
      type: str
      returned: always
    id:
      description: What its platform calls the worker, the name of its unit or pod.
      type: str
      returned: always
problem:
  description: Why RV(workers) is V(null), else empty.
  returned: when O(fleet) is given
  type: str
  sample: ''
wanted_workers:
  description:
    - How many workers there are to be, where the platform keeps that number itself, as a Deployment does. V(null) on a
      host, where they are those that do not drain.
  returned: when O(fleet) is given
  type: int
  sample: 4
scaled_by:
  description:
    - Who sets the number of workers, as the Deployment notes it, in the words of C(celery_worker_autoscaling).
      V(policy) is the autoscaler, V(none) whoever scales by hand or from outside.
    - Empty where nothing is noted, and on a host.
  returned: when O(fleet) is given
  type: str
  sample: policy
cores:
  description: CPU cores of the host. V(null) in a cluster.
  returned: when O(fleet) is given
  type: float
  sample: 4
memory:
  description: Bytes of memory of the host. V(null) in a cluster.
  returned: when O(fleet) is given
  type: float
  sample: 8323624960
pause:
  description:
    - What somebody holds the fleet at by M(muejam.celery.pause), over or not. V(null) where nobody does.
  returned: when O(fleet) is given
  type: dict
  contains:
    workers:
      description: Number of workers.
      type: int
      returned: always
    until:
      description: When it ends, in seconds since the epoch. V(null) is until it is lifted.
      type: float
      returned: always
    by:
      description: Who wants it, empty where that is not known.
      type: str
      returned: always
  sample: null
owned_by_daemon:
  description:
    - Whether the autoscaler sizes this fleet at present. On a host it runs there, acts, and has a
      policy for it. In a namespace it holds its Lease now, which names the fleet, and RV(scaled_by) names nobody else.
    - V(null) when that cannot be found out, as where its configuration, or the Lease, may not be read.
  returned: when O(fleet) is given
  type: bool
  sample: false
"""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import (
    Autoscaler,
    autoscaler_of,
    known_sized,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Platform


def reading_of(read: Callable[[str], FleetReading], fleet: str, sized: Collection[str] | None) -> dict[str, Any]:
    """What the host or cluster says of a fleet, and whether the autoscaler sizes it.

    :param read: reads a fleet.
    :param sized: the fleets that it does; None where that is not known.
    """
    return {**asdict(read(fleet)), "owned_by_daemon": None if sized is None else fleet in sized}


def fleets_of(
    platform: Platform, workers: bool, autoscaler: Autoscaler, warn: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """What the host says of each of its fleets, by name; nothing but the names without their workers.

    :raises OperationError: when it cannot tell which fleets it has.
    """
    fleets = platform.fleets()
    if not workers:
        return {name: {} for name in fleets}
    sized = known_sized(autoscaler, warn) if fleets else None
    read = platform.reader()
    return {name: reading_of(read, name, sized) for name in fleets}


def main() -> None:
    arguments = {**options.FLEET_ARGUMENTS, "fleet": {"type": "str"}, "workers": {"type": "bool", "default": True}}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    fleet = module.params["fleet"]
    for fault in options.faults(module.params):
        module.fail_json(msg=f"{fault}.")
    try:
        platform, autoscaler = options.open_from(module.params), autoscaler_of(module.params)
        if fleet is not None:
            module.exit_json(changed=False, **reading_of(platform.read, fleet, known_sized(autoscaler, module.warn)))
        found = fleets_of(platform, module.params["workers"], autoscaler, module.warn)
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, fleets=found)


if __name__ == "__main__":
    main()
