#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take fleets out of the hands of the autoscaler, and of their schedules."""

from __future__ import annotations

DOCUMENTATION = r"""
module: let_go
short_description: Takes fleets out of the hands of the autoscaler, and of their schedules
description:
  - Has the autoscaler of a host or of a namespace scale some fleets no more, before somebody else drains, removes or
    sizes them. It goes on to observe them. When the module returns it sets their number no more, whatever it has
    decided before.
  - On a host this takes their policies out of the autoscaler's configuration, and holds until the role
    P(muejam.celery.autoscaler#role) writes it anew.
  - In a cluster it notes V(none) in the annotation C(muejam.celery/scaled-by) of their Deployments. The autoscaler sets
    a number only on the version of a Deployment in which it has read the annotation, so nobody waits for it. That holds
    until the role P(muejam.celery.worker#role) is deployed with C(celery_worker_autoscaling=policy).
  - On a host it also removes the schedules that M(muejam.celery.schedule) put there for these fleets, until the role
    P(muejam.celery.schedule#role) is deployed again.
  - Where there is no autoscaler, and for fleets that it does not scale, nothing is done.
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
options:
  fleets:
    description:
      - Names of the fleets to let go of. By default all but those of O(keep) and O(keep_schedules).
    type: list
    elements: str
  keep:
    description: Names of the fleets that it goes on to scale.
    type: list
    elements: str
    default: []
  keep_schedules:
    description: Names of the fleets whose schedules stay.
    type: list
    elements: str
    default: []
  platform:
    description: What runs the fleets, as for M(muejam.celery.scale).
    type: str
    choices: [systemd, kubernetes]
    default: systemd
extends_documentation_fragment:
  - muejam.celery.cluster
attributes:
  check_mode:
    description: Tells which fleets it would let go of.
    support: full
  diff_mode:
    description: The configuration holds secrets, so no difference is shown.
    support: none
notes:
  - Needs root on a host.
  - In a cluster it needs to list and patch C(deployments), and to get C(leases) for fleets that were not deployed by
    the role.
seealso:
  - module: muejam.celery.scale
"""

EXAMPLES = r"""
- name: Take a fleet out of the autoscaler's hands, before it is drained
  muejam.celery.let_go:
    fleets: [web]
  become: true

- name: The same in a cluster
  muejam.celery.let_go:
    fleets: [web]
    platform: kubernetes
    namespace: shop
  delegate_to: localhost
"""

RETURN = r"""
fleets:
  description: The fleets that it scaled until now and does not any more.
  returned: success
  type: list
  elements: str
  sample: [web]
schedules:
  description: The fleets that had a schedule until now and do not any more.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import autoscaler_of
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.schedules import end_schedules
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "fleets": {"type": "list", "elements": "str"},
            "keep": {"type": "list", "elements": "str", "default": []},
            "keep_schedules": {"type": "list", "elements": "str", "default": []},
            **options.PLATFORM_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    for fault in options.misplaced(module.params):
        module.fail_json(msg=f"Nothing was changed. {fault}.")
    try:
        names = module.params["fleets"]
        gone = autoscaler_of(module.params).let_go(names, module.params["keep"], module.check_mode)
        here = options.runs_here(module.params)
        ended = end_schedules(names, module.params["keep_schedules"], module.check_mode) if here else []
    except OperationError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        said = f"The configuration of the autoscaler could not be written: {error}. Check that the disk has space."
        module.fail_json(msg=said)
    module.exit_json(changed=bool(gone or ended), fleets=gone, schedules=ended)


if __name__ == "__main__":
    main()
