#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read Celery workers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_info
short_description: Read Celery workers
version_added: 0.1.0
description:
  - Asks all Celery workers of a broker at once what they are and do, and reports those that do not answer too.
  - On Redis it ends with the last answer, as Redis tells how many workers listen. On RabbitMQ it listens to the
    workers' heartbeats meanwhile, which takes two and a half seconds; it ends with the last answer when O(workers)
    holds names only.
  - It sends questions and reads answers. Nothing of the workers, the queues or the tasks changes.
options:
  workers:
    description:
      - Node names such as V(web-1@host1), or patterns such as V(web-*) and V(*@host1).
      - A name that does not answer is reported as V(silent), whether its worker is frozen or was never started.
      - Everybody when empty.
    type: list
    elements: str
    default: []
  control_exchange:
    description: What the application set as Celery's C(control_exchange).
    type: str
    default: celery
  event_exchange:
    description: What the application set as Celery's C(event_exchange). Used on RabbitMQ only.
    type: str
    default: celeryev
extends_documentation_fragment:
  - muejam.celery.broker
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
notes:
  - A worker of the V(solo) pool cannot answer while it runs a task and is V(silent) meanwhile.
  - A worker with C(worker_enable_remote_control) switched off cannot answer. It is V(silent) on RabbitMQ and is not
    seen on Redis.
  - Workers that serialize with pickle are read without running what pickle could bring along.
seealso:
  - module: muejam.celery.queue_info
author:
  - muejam.celery contributors (@muejam)
"""

EXAMPLES = r"""
- name: Read all workers
  muejam.celery.worker_info:
    broker_url: "redis://:{{ redis_password }}@broker1:6379/0"
  register: celery_workers

- name: Show who does not answer
  ansible.builtin.debug:
    msg: "{{ celery_workers.workers | selectattr('state', 'equalto', 'silent') | map(attribute='name') }}"

- name: Wait until the first worker of the fleet consumes
  muejam.celery.worker_info:
    broker_url: "amqp://celery:{{ rabbitmq_password }}@broker1:5672/celery"
    workers: ["web-1@{{ ansible_facts['hostname'] }}"]
  register: celery_first
  until: celery_first.workers[0].state == 'online'
  retries: 10
  delay: 2

- name: Count what one host runs
  muejam.celery.worker_info:
    broker_url: "{{ celery_broker_url }}"
    workers: ["*@host1"]
  register: celery_host1
"""

RETURN = r"""
workers:
  description: The workers found, by name. What is unknown is null.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Node name. Null for a worker that is known to be there, does not answer, and whose name nobody tells.
      type: str
      sample: web-1@host1
    state:
      description:
        - V(online) answers and consumes from a queue.
        - V(draining) answers and consumes from no queue.
        - V(silent) does not answer within O(timeout). It is frozen, cut off or busy in a V(solo) pool, or
          it was asked for by name and is not there.
      type: str
      sample: online
    pool:
      description: V(prefork), V(gevent), V(eventlet), V(solo), V(threads), or the class of another pool.
      type: str
      sample: prefork
    concurrency:
      description: Tasks that can run at once now. With autoscaling it is the present number of processes.
      type: int
      sample: 4
    active:
      description: Tasks that run.
      type: int
      sample: 3
    reserved:
      description: Tasks received and not started. Tasks with a later start time are not counted.
      type: int
      sample: 4
    processed:
      description: Tasks started since the worker started.
      type: int
      sample: 1234
    queues:
      description: Names of the queues it consumes from.
      type: list
      elements: str
      sample: [celery]
    pid:
      description: Process id of the main process on the worker's host.
      type: int
      sample: 4711
    uptime:
      description: Seconds since the worker started.
      type: float
      sample: 86400
"""

import dataclasses
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common import respawn

from ansible_collections.muejam.celery.plugins.module_utils.brokers.libraries import require_libraries
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import BROKER_ARGUMENTS, secret_values
from ansible_collections.muejam.celery.plugins.module_utils.brokers.roll_call import RollCall, read_workers
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def read(params: dict[str, Any]) -> RollCall:
    """Return the workers that the module's options ask for.

    :raises OperationError: when the broker cannot be read.
    """
    begin = time.monotonic()
    with open_broker(params["broker_url"], params["transport_options"], params["ssl"], params["timeout"]) as broker:
        return read_workers(
            broker,
            wanted=params["workers"],
            timeout=params["timeout"] - (time.monotonic() - begin),
            control_exchange=params["control_exchange"],
            event_exchange=params["event_exchange"],
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **BROKER_ARGUMENTS,
            "workers": {"type": "list", "elements": "str", "default": []},
            "control_exchange": {"type": "str", "default": "celery"},
            "event_exchange": {"type": "str", "default": "celeryev"},
        },
        supports_check_mode=True,
    )
    module.no_log_values = set(secret_values(module.params))
    require_libraries(module, missing_required_lib, respawn)
    try:
        found = read(module.params)
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in found.warnings:
        module.warn(warning)
    module.exit_json(changed=False, workers=[dataclasses.asdict(worker) for worker in found.workers])


if __name__ == "__main__":
    main()
