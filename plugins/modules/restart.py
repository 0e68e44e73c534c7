#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the workers of a fleet one at a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restart
short_description: Restart the Celery workers of a fleet one at a time
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Restarts workers one after the other. Each finishes its tasks first, and consumes again before the next one is
    told to stop.
  - On Kubernetes the pods of an older template are replaced by the Deployment itself; the module waits for that and
    tells what came of it. With O(only=all) it deletes one pod after the other; the next one follows when another pod
    consumes in its place, and it has itself finished its tasks.
  - At the first worker that does not come back the module stops and fails; the workers that were not yet restarted go
    on as they were.
extends_documentation_fragment:
  - muejam.celery.fleet
  - muejam.celery.lock
options:
  only:
    description:
      - Which workers to restart.
      - V(outdated) takes those that were started with another configuration than their unit would give them now. Told
        by the fingerprint C(CELERY_LIFECYCLE_CONFIG) that the role P(muejam.celery.worker#role) puts into their
        environment. Where there is none, by the times of the unit's files. A worker that cannot be told about counts
        as outdated. On Kubernetes by the version of the Deployment's template.
      - V(all) takes every worker, also those that do not run but should.
    type: str
    choices: [outdated, all]
    default: outdated
  wait_timeout:
    description:
      - Seconds that each worker has until it consumes again. The unit's own C(TimeoutStartSec) holds as well.
    type: int
    default: 300
  drain_timeout:
    description:
      - Seconds that each worker has to finish its tasks before the module gives up. The worker goes on draining, and
        systemd starts it again afterwards.
      - By default the time that the unit allows by its C(TimeoutStopSec), after which systemd kills what is left; on
        Kubernetes the pod's C(terminationGracePeriodSeconds).
    type: int
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
    details:
      - A fleet that the host does not have is an error, in check mode only a warning.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - Shows for each worker why it is restarted or not.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.23 or newer
notes:
  - Needs root on a host.
  - In a cluster it needs to get and list C(deployments), to list C(pods) and C(replicasets), and with O(only=all) to
    delete C(pods).
  - Only one V(restart) or scale of a fleet runs at a time on a host; a second one waits, see
    O(lock_timeout).
seealso:
  - module: muejam.celery.scale
"""

EXAMPLES = r"""
- name: Bring workers with an old configuration up to date
  muejam.celery.restart:
    fleet: web
  become: true

- name: Wait until a cluster has replaced all workers of an older configuration
  muejam.celery.restart:
    fleet: web
    platform: kubernetes
    namespace: muejam
  delegate_to: localhost

- name: Restart every worker, whatever it runs with
  muejam.celery.restart:
    fleet: web
    only: all
  become: true
"""

RETURN = r"""
restarted:
  description: Units or pods that were restarted and consume again, in this order; in check mode those that would be.
  returned: success, and failure on the way
  type: list
  elements: str
  sample: [celery-worker-web@1.service, celery-worker-web@2.service]
unchanged:
  description: Units or pods that were left as they are, because they have the present configuration.
  returned: success, and failure on the way
  type: list
  elements: str
  sample: []
reasons:
  description: Why each worker was restarted or left as it is, by unit or pod.
  returned: success
  type: dict
  sample: {celery-worker-web@1.service: it was started with another configuration}
not_restarted:
  description: Units or pods that still wait for their restart, the one that failed included.
  returned: failure on the way
  type: list
  elements: str
  sample: [celery-worker-web@3.service]
killed:
  description: Units or pods that were killed at the end of their time to stop, before they had finished their tasks.
  returned: failure on the way
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollRequest, RollResult


def diff_of(result: RollResult) -> dict[str, str]:
    """Each worker with the reason that it is restarted for, before; with what becomes of it, after."""
    names = [*result.restarted, *result.unchanged]
    return {
        "before_header": "workers before",
        "after_header": "workers after",
        "before": "".join(f"{name}: {result.reasons[name]}\n" for name in sorted(names)),
        "after": "".join(
            f"{name}: {'restarted' if name in result.restarted else result.reasons[name]}\n" for name in sorted(names)
        ),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **options.FLEET_ARGUMENTS,
            "only": {"type": "str", "choices": ["outdated", "all"], "default": "outdated"},
            **options.TIMES,
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = "; ".join(options.faults(params))
    if wrong:
        module.fail_json(msg=f"Nothing was changed, the options are wrong: {wrong}.")
    request = RollRequest(
        fleet=params["fleet"],
        only_outdated=params["only"] == "outdated",
        wait_timeout=params["wait_timeout"],
        drain_timeout=params["drain_timeout"],
        lock_wait=params["lock_timeout"],
    )
    try:
        result = options.open_from(params).roll(request, check=module.check_mode)
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in result.warnings:
        module.warn(warning)
    returned = {
        "changed": bool(result.restarted),
        "restarted": result.restarted,
        "unchanged": result.unchanged,
        "reasons": result.reasons,
    }
    if result.restarted:
        returned["diff"] = diff_of(result)
    module.exit_json(**returned)


if __name__ == "__main__":
    main()
