#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a fleet, decide by its policy how many workers it shall have, and scale it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: autoscale
short_description: Runs one cycle of autoscaling a fleet of Celery workers
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Observes a fleet and its queues, decides by a policy how many workers there shall be, and brings the fleet to that
    number without losing a task. Run it again and again, for example by a schedule of AWX. The autoscaler that the role
    P(muejam.celery.autoscaler#role) installs runs the same cycles with the same decisions, every few seconds.
  - What the policy has to remember (since when a condition holds, when the fleet was last scaled) is kept in
    O(state_path) between runs. The first run has nothing to compare with, so the wait, the use of the CPU and what was
    finished are unknown to it, with the reason.
  - What is unknown never shrinks a fleet. With an unreadable broker the fleet is left as it is, but for the limits of
    its policy, and the module warns. With an unknown number of workers nothing is changed.
  - A fleet that is paused (see M(muejam.celery.pause)) is held at its number. Of several hosts each is held by itself,
    and the others have the rest of what the policy wants.
  - A second run without another load changes nothing.
extends_documentation_fragment:
  - muejam.celery.fleet
  - muejam.celery.broker
options:
  queues:
    description:
      - Names of all queues that the fleet consumes from. An application that names none has V(celery).
      - Read from the wrong queue, a backlog would look like idleness, so there is no default.
    type: list
    elements: str
    required: true
  policy:
    description:
      - The policy. An empty one has all defaults.
      - Every fault of it is told at once in RV(problems), before anything is read or changed.
    type: dict
    required: true
  state_path:
    description:
      - File that has the fleet's state between runs. It is this fleet's alone, on the host where the module runs. Its
        directory is made when it is missing, and only its owner may write to it.
      - By default C(/var/lib/muejam-celery/autoscale/<fleet>.json).
      - A file that cannot be used is set aside with a warning, and every cooldown begins. When the state cannot be
        written, the module fails and changes nothing, because the next run would not know of this one.
    type: path
  apply:
    description:
      - Whether to carry out the decision. With V(false) the module only says what it would do; what it observed is
        kept, and no cooldown begins.
    type: bool
    default: true
  hosts:
    description:
      - For a fleet over several hosts, what M(muejam.celery.fleet_info) returned on each of them, by host. The result
        of a host that was not reached belongs into it as well, as Ansible registered it.
      - The module then reads the workers from here in place of its own host, decides once for all of them, and returns
        in RV(placement) how many each host shall have. It scales nothing itself. Pass the numbers to
        M(muejam.celery.scale). O(apply=true) says that this will be done.
      - While the number of workers of any host is unknown, nothing is changed anywhere. Leave a host out that is gone
        for good.
      - The limits of O(policy) are those of the whole fleet, all hosts together.
    type: dict
  capacities:
    description:
      - With O(hosts), the most workers that a host may have, by host. A host that is not there has no such limit.
      - When each host has one, their sum is a ceiling as O(policy) has one, and no decision goes beyond it.
    type: dict
    default: {}
  wait:
    description:
      - Whether to wait until started workers consume and stopped ones are gone, which may take as long as the longest
        task.
      - Without it the module is over as soon as systemd was told, which suits a schedule of every minute. The next run
        counts the workers that are on their way.
    type: bool
    default: false
  wait_timeout:
    description:
      - With O(wait=true), seconds that started workers have until they consume.
    type: int
    default: 300
  drain_timeout:
    description:
      - With O(wait=true), seconds to wait until stopped workers are gone. By default the time that the units allow by
        their C(TimeoutStopSec).
    type: int
  forget_after:
    description:
      - How long the last run may be ago for its observations to count still, such as V(1h) or V(90s). After a longer
        break nobody knows what was in between, so the runs of conditions begin anew. Cooldowns are remembered.
    type: str
    default: 1h
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
    details:
      - Observes, decides and says what would be done. The state stays as it is, so there is no RV(log_line).
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - Shows the list of the fleet's workers before and after. There is none with O(hosts), where nothing is changed.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.23 or newer
notes:
  - On a host it needs root where it scales or only looks at workers; with O(hosts) only O(state_path) has to be
    writable. In a cluster it needs the rights of M(muejam.celery.scale), which it asks for before anything is read, and
    to get C(leases).
  - Two runs for one fleet do not overlap. A second one waits for 10 seconds and then fails.
  - It refuses a fleet that a running autoscaler sizes, on this host or in this namespace, unless
    O(apply=false), and a Deployment that an autoscaler of its cluster sizes.
  - The module has no clock but the wall clock. One that was set back between two runs is noticed; one that was set
    forward looks like time that went by, and ends cooldowns early. The autoscaler notices both.
seealso:
  - module: muejam.celery.fleet_info
  - module: muejam.celery.scale
  - module: muejam.celery.queue_info
"""

EXAMPLES = r"""
- name: One cycle with the default policy, between 2 and 10 workers
  muejam.celery.autoscale:
    fleet: web
    broker_url: redis://:not-a-real-password@broker.example.com:6379/0
    queues: [celery]
    policy:
      limits: {min_workers: 2, max_workers: 10}
  become: true

- name: Say what a policy would do now
  muejam.celery.autoscale:
    fleet: web
    broker_url: "{{ broker_url }}"
    queues: [celery]
    policy:
      target: {wait_time: 30s}
    state_path: /var/lib/muejam-celery/autoscale/web-trial.json
    apply: false
  become: true
  register: advice

- name: Show it
  ansible.builtin.debug:
    msg: "{{ advice.decision.action }} to {{ advice.decision.to }}: {{ advice.decision.reasons | join('; ') }}"

# A fleet over several hosts. The playbook muejam.celery.autoscale does this, and tells it to people.
- name: Read the workers of each host
  muejam.celery.fleet_info:
    fleet: web
  become: true
  register: workers_here
  ignore_unreachable: true

- name: Decide for all of them
  muejam.celery.autoscale:
    fleet: web
    broker_url: "{{ broker_url }}"
    queues: [celery]
    policy: "{{ policy }}"
    hosts: >-
      {{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'workers_here'))) }}
    capacities: {app1: 8}
  become: true
  run_once: true
  register: cycle

- name: Scale each
  muejam.celery.scale:
    fleet: web
    workers: "{{ cycle.placement[inventory_hostname] }}"
    expected_workers: "{{ cycle.current[inventory_hostname] }}"
    wait: false
  become: true
  when: cycle.placement[inventory_hostname] | default(none) != cycle.current[inventory_hostname] | default(none)
"""

RETURN = r"""
observation:
  description: What was seen. Its metrics are in messages, seconds, per cent or tasks.
  returned: success, and failure to scale
  type: dict
  contains:
    at:
      description: When, in seconds since the epoch.
      type: float
      returned: always
    workers:
      description: Number of workers, draining ones not among them; V(null) is unknown.
      type: int
      returned: always
    starting:
      description: How many of them do not consume yet.
      type: int
      returned: always
    draining:
      description: Number of workers on their way out.
      type: int
      returned: always
    metrics:
      description: The metrics that are known, by name.
      type: dict
      returned: always
    unknown:
      description: Why the others are not, by name.
      type: dict
      returned: always
    bounds:
      description: What is sure of metrics that are not known exactly, by name. Absent when there are none.
      type: dict
      returned: sometimes
    blocked:
      description: Why the broker takes no tasks at present, so that no worker is taken away. Absent while it does.
      type: str
      returned: sometimes
    room:
      description: Workers that the hosts together have room for by O(capacities). Absent where there is no such limit.
      type: int
      returned: sometimes
  sample:
    at: 1767225600.25
    workers: 4
    starting: 0
    draining: 0
    metrics: {queue_depth: 120, backlog: 124, running: 4}
    unknown: {cpu: it takes two looks to know}
decision:
  description: What was decided.
  returned: success, and failure to scale
  type: dict
  contains:
    action:
      description: V(hold), V(up), V(down), or V(bounds) for a fleet outside its limits.
      type: str
      returned: always
    from:
      description: Number of workers seen. V(null) is unknown.
      type: int
      returned: always
    to:
      description: Number of workers there shall be. V(null) where RV(decision.from) is unknown.
      type: int
      returned: always
    reasons:
      description: Why, with the numbers that decided it.
      type: list
      elements: str
      returned: always
  sample: {action: up, from: 4, to: 6, reasons: [queue_depth 120 is above 100 for 75s]}
before:
  description: Number of workers found, V(null) when it is unknown.
  returned: success without O(hosts) and with O(apply=true)
  type: int
  sample: 4
after:
  description: Number of workers that there are afterwards, in check mode the number there would be.
  returned: success without O(hosts) and with O(apply=true)
  type: int
  sample: 6
started:
  description: Units that were started. Without O(wait) they may not consume yet, and pods are not named.
  returned: success without O(hosts) and with O(apply=true)
  type: list
  elements: str
  sample: [celery-worker-web@5.service, celery-worker-web@6.service]
stopped:
  description: Units or pods that were told to stop, the least busy ones.
  returned: success without O(hosts) and with O(apply=true)
  type: list
  elements: str
  sample: []
draining:
  description: Units or pods that still finish their tasks. They are not counted in RV(after).
  returned: success without O(hosts) and with O(apply=true)
  type: list
  elements: str
  sample: [celery-worker-web@9.service]
placement:
  description: How many workers each host shall have. A host whose number is unknown is not in it.
  returned: success with O(hosts)
  type: dict
  sample: {app1: 3, app2: 3}
current:
  description: How many workers each host has, for O(muejam.celery.scale#module:expected_workers). V(null) is unknown.
  returned: success with O(hosts)
  type: dict
  sample: {app1: 2, app2: 2}
left_over:
  description: Workers that would be wanted and that no host has room for by O(capacities).
  returned: success with O(hosts)
  type: int
  sample: 0
start_again:
  description:
    - Hosts with wanted workers that are down and that it is time to start again. Scaling such a host to its number in
      RV(placement), whether that changes or not, starts them.
  returned: success with O(hosts)
  type: list
  elements: str
  sample: []
log_line:
  description:
    - The cycle as the autoscaler would log it. Written to a file, one line of JSON for each cycle,
      C(celery-autoscaler replay) plays them again, with this policy or another one.
  returned: success and failure to scale, except in check mode
  type: dict
problems:
  description: Everything that is wrong with O(policy), each fault with its path.
  returned: failure because of them
  type: list
  elements: dict
  contains:
    path:
      description: Where in the policy.
      type: str
      returned: always
    message:
      description: What is wrong there.
      type: str
      returned: always
  sample: [{path: 'scale_up.any[0].above', message: 'is 101: cpu is in per cent, 0 to 100'}]
finished:
  description: Always true. It lets a task with C(async) come to its end.
  returned: always
  type: bool
  sample: true
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common import respawn

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.broker_link import BrokerLink
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import (
    decision_as_json,
    observation_as_json,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import (
    Autoscaler,
    autoscaler_of,
    second_owner,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import (
    FleetFile,
    default_path,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.one_cycle import (
    OneCycle,
    Outcome,
    counts,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.several_hosts import (
    capacities_of,
    owned_by_daemon,
    place,
    readings_of,
    room_on,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.libraries import require_libraries
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import BROKER_ARGUMENTS, secret_values
from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading, Marks, QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    Platform,
    ScaleRequest,
    ScaleResult,
    unknown_fleet,
)


def faults(params: dict[str, Any]) -> list[str]:
    """What is wrong with the options, the policy aside."""
    found = list(options.faults(params))
    if not params["queues"] or "" in params["queues"]:
        found.append("queues: name every queue that the fleet consumes from, none of them empty")
    if params["timeout"] <= 0:
        found.append(f"timeout: {params['timeout']:g} is not more than 0 seconds")
    try:
        parse_duration(params["forget_after"])
    except ValueError as error:
        found.append(f"forget_after: {error}")
    if params["hosts"] is not None and not params["hosts"]:
        found.append("hosts: is empty; leave it out for a fleet of the host where the module runs")
    found.extend(capacities_of(params["capacities"], params["hosts"] or {})[1])
    return found


def read_here(fleet: str, platform: Platform) -> FleetReading:
    """Read the workers of this host.

    :raises OperationError: when the host has no such fleet.
    """
    reading = platform.read(fleet)
    if reading.exists is False:
        raise unknown_fleet(f"autoscale fleet {fleet}", fleet, platform.fleets(), platform.place)
    return reading


def readings_from(answers: dict[str, Any], at: float) -> tuple[FleetReading, ...]:
    """Read the workers of all hosts from what they told.

    :raises OperationError: when none of them has the fleet, or an answer makes no sense.
    """
    tried = "read the workers from hosts"
    next_step = "Pass what muejam.celery.fleet_info returned on each host of the fleet, as it was registered."
    try:
        readings = readings_of(answers, at)
    except ValueError as error:
        raise OperationError(tried, error, next_step) from error
    if not readings:
        raise OperationError(tried, "none of the hosts has this fleet", next_step)
    return readings


def read_queues(params: dict[str, Any], marks: Marks, warn: Warn) -> QueuesReading:
    """Read the queues, and what came since the last run's marks; what came in the way is part of the reading."""
    link = BrokerLink(params["broker_url"], params["transport_options"], params["ssl"], params["timeout"], warn=warn)
    try:
        return link.read(params["queues"], marks)
    finally:
        link.close()


def cycle_here(asked: OneCycle, params: dict[str, Any], warn: Warn) -> tuple[QueuesReading, dict[str, Any]]:
    """Run the cycle for the fleet of this host, and return what was read of its queues and what to say of it."""
    at = time.time()
    platform = options.open_from(params)
    # The workers first: what they have taken may be older than what waits, never newer (see observe/flow.py).
    reading = read_here(params["fleet"], platform)
    queues = read_queues(params, asked.file.marks(), warn)

    def act(workers: int, expected: int) -> ScaleResult:
        request = ScaleRequest(
            fleet=params["fleet"],
            workers=workers,
            expected_workers=expected,
            wait=params["wait"],
            wait_timeout=params["wait_timeout"],
            drain_timeout=params["drain_timeout"],
        )
        return platform.scale(request, check=asked.check_mode)

    outcome = asked.run(at, (reading,), queues, act)
    result = decided(outcome)
    if asked.apply:
        result.update(counts(outcome, reading))
    if outcome.scaled:
        result["warnings"].extend(outcome.scaled.warnings)
        if outcome.scaled.changed:
            result.update(changed=True, diff=outcome.scaled.diff())
    return queues, result


def cycle_of_all(asked: OneCycle, params: dict[str, Any], warn: Warn) -> tuple[QueuesReading, dict[str, Any]]:
    """Run the cycle for a fleet over several hosts, and return what was read of its queues and what to say of it."""
    at = time.time()
    readings = readings_from(params["hosts"], at)
    queues = read_queues(params, asked.file.marks(), warn)
    capacities = capacities_of(params["capacities"], params["hosts"])[0]
    outcome = asked.run(at, readings, queues, room=room_on(readings, capacities, at))
    placement = place(outcome.cycle, readings, capacities)
    result = decided(outcome)
    if outcome.cycle.left_over > 0:
        text = f"No host has room, by capacities, for so many of the wanted workers: {outcome.cycle.left_over}."
        result["warnings"].append(text)
    again = outcome.started_again
    return queues, {
        **result,
        "placement": dict(placement.workers),
        "current": dict(placement.current),
        "left_over": outcome.cycle.left_over,
        "start_again": [host.host for host in readings if any(worker.name in again for worker in host.workers or ())],
    }


def decided(outcome: Outcome) -> dict[str, Any]:
    """What there is to say of every cycle."""
    return {
        "changed": False,
        "observation": observation_as_json(outcome.cycle.seen),
        "decision": decision_as_json(outcome.decision),
        "log_line": outcome.log_line,
        "warnings": list(outcome.warnings),
    }


def refuse_where_the_autoscaler_does_it(params: dict[str, Any], autoscaler: Callable[[], Autoscaler]) -> None:
    """Return when no autoscaler sizes the fleet, or nothing will be carried out.

    :param autoscaler: of the place; asked for where it matters alone.
    :raises OperationError: when one does, or that cannot be found out.
    """
    if not params["apply"]:
        return
    if params["hosts"] is not None:
        hosts = ", ".join(owned_by_daemon(params["hosts"]))
        where = f"on {hosts}" if hosts else ""
    else:
        found = autoscaler()
        where = found.where if params["fleet"] in found.sized() else ""
    if where:
        raise second_owner(params["fleet"], where)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **BROKER_ARGUMENTS,
            **options.FLEET_ARGUMENTS,
            "queues": {"type": "list", "elements": "str", "required": True},
            "policy": {"type": "dict", "required": True},
            "state_path": {"type": "path"},
            "apply": {"type": "bool", "default": True},
            "hosts": {"type": "dict"},
            "capacities": {"type": "dict", "default": {}},
            "wait": {"type": "bool", "default": False},
            "wait_timeout": {"type": "int", "default": 300},
            "drain_timeout": {"type": "int"},
            "forget_after": {"type": "str", "default": "1h"},
        },
        supports_check_mode=True,
    )
    module.no_log_values = set(secret_values(module.params))
    params = module.params
    wrong = faults(params)
    try:
        policy = parse_policy(params["policy"])
    except PolicyError as error:
        module.fail_json(
            msg=f"Nothing was changed, the policy is wrong: {'; '.join([*map(str, error.faults), *wrong])}.",
            problems=[{"path": fault.path, "message": fault.message} for fault in error.faults],
        )
    if wrong:
        module.fail_json(msg=f"Nothing was changed, the options are wrong: {'; '.join(wrong)}.")
    require_libraries(module, missing_required_lib, respawn)
    several = params["hosts"] is not None
    file = FleetFile(params["state_path"] or default_path(params["fleet"]), params["fleet"])
    asked = OneCycle(file, policy, params["apply"], module.check_mode, parse_duration(params["forget_after"]))
    try:
        if not several and (params["apply"] or options.runs_here(params)):
            options.open_from(params).require_access(f"autoscale fleet {params['fleet']}")
        refuse_where_the_autoscaler_does_it(params, lambda: autoscaler_of(params))
        with contextlib.nullcontext() if module.check_mode else file.alone():
            queues, result = (cycle_of_all if several else cycle_here)(asked, params, module.warn)
    except OperationError as error:
        module.fail_json(msg=str(error), finished=True, **error.details)
    for warning in [queues.problem, *result.pop("warnings")]:
        if warning:
            module.warn(warning)
    if module.check_mode:
        del result["log_line"]
    # Ansible takes an asynchronous result with a key "started" and none "finished" for one that still runs.
    module.exit_json(finished=True, **result)


if __name__ == "__main__":
    main()
