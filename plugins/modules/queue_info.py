#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the queues of a Celery broker."""

from __future__ import annotations

DOCUMENTATION = r"""
module: queue_info
short_description: Reads the queues of a Celery broker
description:
  - Tells how many messages wait in each queue, by priority, how many are delivered and not yet acknowledged, how many
    consumers there are, and whether the queue exists at all.
  - Reads Redis (Valkey) and RabbitMQ through kombu, so it looks where Celery looks.
  - What cannot be known is V(null), never V(0). A broker that cannot be read is an error.
  - On Redis any number of queues takes the same few round trips, and the server is not held for more than one or
    two milliseconds at a time.
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
extends_documentation_fragment:
  - muejam.celery.broker
options:
  queues:
    description:
      - Names of the queues to read. The answer has the same order.
      - Without it, all queues of tasks that the broker knows. On Redis these are the queues of all bindings, and lists
        of messages that have none. Left out are the queues of remote control and events (C(*.pidbox), C(celeryev.*))
        and, on Redis, of broadcasts (C(bcast.*)), which are no lists there.
      - RabbitMQ can list its queues only with O(management_url).
    type: list
    elements: str
  management_url:
    description:
      - URL of RabbitMQ's management API, as V(http://user:password@host:15672). Without user and password those of
        O(broker_url) are taken.
      - It tells the unacknowledged messages, as of up to five seconds ago, and which queues there are. Both are out of
        reach of AMQP.
    type: str
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Read two queues
  muejam.celery.queue_info:
    broker_url: redis://:not-a-real-password@broker.example.com:6379/0
    queues: [celery, reports]
  register: backlog

- name: Wait until everything is worked off
  muejam.celery.queue_info:
    broker_url: "{{ broker_url }}"
    queues: [celery]
  register: backlog
  until: backlog.queues[0].waiting == 0 and backlog.queues[0].unacknowledged == 0
  retries: 60
  delay: 5

- name: Read every queue of an application that sets its own prefix and priorities
  muejam.celery.queue_info:
    broker_url: rediss://broker.example.com:6379/0
    transport_options:
      global_keyprefix: "shop:"
      priority_steps: [0, 1, 2, 3]
    ssl:
      ca_certs: /etc/ssl/broker-ca.crt

- name: Read every queue of a virtual host of RabbitMQ
  muejam.celery.queue_info:
    broker_url: amqp://shop:not-a-real-password@broker.example.com:5672/shop
    management_url: http://shop:not-a-real-password@broker.example.com:15672
"""

RETURN = r"""
queues:
  description: The queues, in the order asked for, else by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the queue.
      type: str
      returned: always
    exists:
      description:
        - Whether the broker knows the queue. On Redis a queue exists when it has a binding or a message, so a queue
          that is merely empty is told apart from a name with a mistake in it.
        - V(null) when that could not be found out in the time.
      type: bool
      returned: always
    waiting:
      description:
        - Messages that no worker has taken yet, of all priorities.
        - Of a queue that does not exist, V(null) on RabbitMQ and V(0) on Redis, where its lists were read and are
          empty.
      type: int
      returned: always
    waiting_by_priority:
      description: The same by priority step, the step as a text. V(null) on RabbitMQ, which does not tell.
      type: dict
      returned: always
    unacknowledged:
      description:
        - Messages that a worker has taken and not acknowledged.
        - V(null) on RabbitMQ without O(management_url), and on Redis where the records do not tell which queue they
          belong to.
      type: int
      returned: always
    consumers:
      description: How many consumers the queue has. V(null) on Redis, which does not know.
      type: int
      returned: always
  sample:
    - name: celery
      exists: true
      waiting: 12
      waiting_by_priority: {"0": 10, "3": 0, "6": 2, "9": 0}
      unacknowledged: 4
      consumers: null
"""

import contextlib
import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common import respawn

from ansible_collections.muejam.celery.plugins.module_utils.brokers.libraries import require_libraries
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import BROKER_ARGUMENTS, secret_values
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **BROKER_ARGUMENTS,
            "queues": {"type": "list", "elements": "str"},
            "management_url": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    module.no_log_values = set(secret_values(module.params))
    params = module.params
    if params["timeout"] <= 0:
        module.fail_json(msg=f"timeout must be more than 0 seconds, not {params['timeout']:g}.")
    if params["queues"] is not None and "" in params["queues"]:
        module.fail_json(msg="queues must not contain an empty name.")
    require_libraries(module, missing_required_lib, respawn)
    begun = time.monotonic()
    try:
        with open_broker(
            params["broker_url"],
            params["transport_options"],
            params["ssl"],
            params["timeout"],
            management_url=params["management_url"],
            warn=module.warn,
        ) as broker:
            left = max(0.0, params["timeout"] - (time.monotonic() - begun))
            readings = broker.read_queues(params["queues"], timeout=left, warn=module.warn)
            with contextlib.suppress(OperationError):
                if blocked := broker.publishers_blocked([reading.name for reading in readings], warn=module.warn):
                    module.warn(f"The broker takes no tasks at present: {blocked}.")
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, queues=[reading.as_dict() for reading in readings])


if __name__ == "__main__":
    main()
