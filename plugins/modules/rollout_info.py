#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the pods of fleets are what their Deployments say, and tell what holds them up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_info
short_description: Waits until the pods of fleets are what their Deployments say
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Waits until every pod of the fleets has the present configuration and consumes, and those of an older one have
    finished their tasks and ended.
  - Where a rollout does not go on it fails with what the scheduler and the kubelet say, such as an image that cannot be
    pulled, a quota that is exceeded, or a container that ends, with the end of its log.
extends_documentation_fragment:
  - muejam.celery.cluster
options:
  fleets:
    description:
      - Names of the fleets, as given to the role P(muejam.celery.worker#role).
    type: list
    elements: str
    required: true
  wait_timeout:
    description:
      - Seconds without progress of a fleet after which its rollout has failed.
    type: int
    default: 300
  drain_timeout:
    description:
      - Seconds that pods of an older configuration then have to finish their tasks.
    type: int
    default: 330
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
    platforms: kubernetes
requirements:
  - kubernetes (Python library), where the way to the cluster is a kubeconfig
"""

EXAMPLES = r"""
- name: Wait until the new image runs everywhere
  muejam.celery.rollout_info:
    fleets: [web]
    namespace: shop
  delegate_to: localhost
"""

RETURN = r"""
states:
  description: By the name of each fleet how its pods stand, for people.
  returned: success
  type: dict
  sample: {web: "3 of 3 pods consume, 0 drain"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.awaiting import rolled_out
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "fleets": {"type": "list", "elements": "str", "required": True},
            **options.CLUSTER_ARGUMENTS,
            "wait_timeout": {"type": "int", "default": 300},
            "drain_timeout": {"type": "int", "default": 330},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        api = HttpApi(connect(options.place_of(given)))
        fleets = Fleets(api, api.namespace)
        states = rolled_out(fleets, given["fleets"], given["wait_timeout"], given["drain_timeout"], REAL_CLOCK)
    except OperationError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, states=states)


if __name__ == "__main__":
    main()
