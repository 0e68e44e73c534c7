#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand the number of fleets' pods over to KEDA, to an HPA or to CronJobs, and take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hand_over
short_description: Hands the number of a fleet's pods over to KEDA, an HPA or CronJobs, and takes it back
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Makes a namespace have the objects that set the number of pods of fleets, and none of this collection beside them.
    Whoever had the number before goes first, so there are never two, and the number stays what it was.
  - The autoscaler is one of those. It lets go by an annotation of the fleet's Deployment, written before
    anybody else begins. Where that is broken off in between, the fleet stays at its number, and nobody scales it until
    the module runs again; where the module fails before anybody else has begun, the autoscaler has the fleet back.
  - Warns where it may not list CronJobs, and names the right, for one that was left behind would go on.
  - Refuses, before it changes anything, where somebody else's HorizontalPodAutoscaler or ScaledObject sets the number
    already, where the cluster has no KEDA or no metrics, and where the API server refuses an object.
  - The role P(muejam.celery.worker#role) uses it; the filter P(muejam.celery.cluster_handovers#filter) makes the
    objects.
extends_documentation_fragment:
  - muejam.celery.cluster
options:
  owners:
    description:
      - By the name of each fleet who is to set its number, one of V(policy), V(keda), V(hpa), V(schedule) and V(none),
        which is somebody outside of this collection, or nobody.
      - Objects of fleets that are not named are left alone.
    type: dict
    required: true
  objects:
    description:
      - The objects that these fleets are to have, with the labels of this collection. Those that are there and not
        among them are removed.
    type: list
    elements: dict
    default: []
  ready_timeout:
    description:
      - Seconds that KEDA has to take up its work.
    type: int
    default: 60
attributes:
  check_mode:
    description: Asks the API server what it would make of each object, and changes nothing.
    support: full
  diff_mode:
    description: Shows each object before and after; of Secrets no content.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: kubernetes
requirements:
  - kubernetes (Python library), where the way to the cluster is a kubeconfig
seealso:
  - module: muejam.celery.policy_info
"""

EXAMPLES = r"""
- name: Take the number of workers back from whoever has it
  muejam.celery.hand_over:
    owners: {web: none}
    namespace: shop
  delegate_to: localhost

- name: Have KEDA set it
  muejam.celery.hand_over:
    owners: {web: keda}
    objects: "{{ (fleets | muejam.celery.cluster_handovers('shop', 'keda')).objects }}"
    namespace: shop
  delegate_to: localhost
"""

RETURN = r"""
removed:
  description: What was removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [HorizontalPodAutoscaler celery-worker-web-scaler]
applied:
  description: What was made or changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [ScaledObject celery-worker-web-scaler]
noted:
  description:
    - By the name of a fleet who sets the number of its pods from now on, where its Deployment noted somebody else.
    - It is the annotation C(muejam.celery/scaled-by). The autoscaler acts for V(policy), and where there
      is none.
  returned: success
  type: dict
  sample: {web: keda}
others:
  description: By the name of a fleet what sets its number that is not of this collection. Allowed with V(none) alone.
  returned: success
  type: dict
  sample: {web: HorizontalPodAutoscaler web-by-hand}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.handing_over import hand_over
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.secret_values import secrets_of


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "owners": {"type": "dict", "required": True},
            "objects": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            **options.CLUSTER_ARGUMENTS,
            "ready_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    # Of the objects, only what is in Secrets is secret.
    module.no_log_values = set(secrets_of(given["objects"]))
    try:
        api = HttpApi(connect(options.place_of(given)))
        outcome = hand_over(
            api, given["owners"], given["objects"], check=module.check_mode, ready_within=given["ready_timeout"]
        )
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    diff = [
        {"before_header": title, "after_header": title, "before": before or "", "after": after or ""}
        for title, before, after in outcome.differences
    ]
    module.exit_json(
        changed=outcome.changed,
        removed=outcome.removed,
        applied=outcome.applied,
        noted=outcome.noted,
        others=outcome.others,
        **({"diff": diff} if module._diff else {}),
    )


if __name__ == "__main__":
    main()
