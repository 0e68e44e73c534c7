#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an autoscaling policy, and explain it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_info
short_description: Checks an autoscaling policy, and explains it
description:
  - Tells everything that is wrong with a policy at once, each fault with its place; what is allowed in it and still
    will flap, never fire or contradict itself; which floor and ceiling hold when in the days to come; and the policy
    with every default filled in.
  - Reads nothing but its options, so it runs anywhere, also on the controller with C(delegate_to=localhost).
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
options:
  policy:
    description:
      - The policy, as a fleet has it under its key C(policy). An empty one is all defaults.
      - Its keys are described in C(docs/policy.md) of the collection. They are checked here, not by Ansible, so that a
        fault is an answer and not an error.
    type: dict
    required: true
  platform:
    description:
      - Who carries the policy out. V(policy) is the engine of this collection, the same in the daemon, the module and
        the simulator; it keeps every rule exactly.
    type: str
    choices: [policy]
    default: policy
  at:
    description:
      - When RV(windows) begin, as a date and time of RFC 3339, such as V(2026-03-29T00:00:00+01:00). Without an offset
        it is UTC.
      - By default now.
    type: str
  days:
    description: For how many days of 24 hours RV(windows) are told, 1 to 366.
    type: int
    default: 7
  fail_on_problems:
    description:
      - Whether the module fails when there are RV(problems). What it found is returned either way.
      - By default a bad policy is an answer like any other.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
seealso:
  - module: muejam.celery.queue_info
  - module: muejam.celery.scale
"""

EXAMPLES = r"""
- name: Say what is wrong with a policy
  muejam.celery.policy_info:
    policy:
      limits: {min_workers: 5, max_workers: 4}
      scale_up:
        any:
          - {metric: queue_depth, above: 100, for: a minute}
  register: checked
  # checked.problems:
  #   - {path: limits.min_workers, message: a floor of 5 is above the ceiling of 4}
  #   - {path: "scale_up.any[0].for", message: "'a minute' is not a duration such as 90, 90s, 2m or 1h30m"}

- name: Refuse a bad policy, and one that there is something to say about
  muejam.celery.policy_info:
    policy: "{{ celery_policy }}"
    fail_on_problems: true
  register: checked
  failed_when: checked is failed or checked.advice | length > 0
  delegate_to: localhost

- name: See the bounds over the week in which the clocks change
  muejam.celery.policy_info:
    policy:
      schedule:
        timezone: Europe/Berlin
        windows:
          - {name: peak, time: "08:00-18:00", min_workers: 5}
          - {name: weekend, days: [sat, sun], max_workers: 8}
    at: "2026-03-25T00:00:00+01:00"
"""

RETURN = r"""
problems:
  description: Everything that is wrong with the policy. Empty when it may be used.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Where it is, such as V(scale_up.any[2].for).
      type: str
      returned: always
    message:
      description: What is wrong there.
      type: str
      returned: always
  sample:
    - path: limits.min_workers
      message: a floor of 5 is above the ceiling of 4
advice:
  description:
    - What is allowed and still will flap, never fire, have no effect or contradict itself. The policy can be used.
    - That it is empty is no promise. What depends on the tasks cannot be told from the policy.
  returned: when there are no problems
  type: list
  elements: dict
  contains:
    path:
      description: Where it is, such as V(limits.cooldown_down).
      type: str
      returned: always
    message:
      description: What to think about again.
      type: str
      returned: always
  sample:
    - path: limits.cooldown_down
      message: 0s lets every look shrink the fleet again, down to its floor
windows:
  description:
    - The bounds that hold from O(at) on for O(days). Each entry begins where the one before ends.
  returned: when there are no problems
  type: list
  elements: dict
  contains:
    from:
      description: When it begins, RFC 3339 with the offset that the policy's time zone has then.
      type: str
      returned: always
    to:
      description: When it ends, likewise.
      type: str
      returned: always
    window:
      description: Name of the window in force. V(null) outside all windows, where the limits alone hold.
      type: str
      returned: always
    min_workers:
      description: The floor, of the limits or of the window, whichever is higher.
      type: int
      returned: always
    max_workers:
      description: The ceiling, of the limits or of the window, whichever is lower.
      type: int
      returned: always
  sample:
    - from: "2026-01-05T08:00:00+01:00"
      to: "2026-01-05T18:00:00+01:00"
      window: peak
      min_workers: 5
      max_workers: 20
policy:
  description: The whole policy, with every default filled in. It can be used as a policy.
  returned: when there are no problems
  type: dict
  sample:
    limits: {min_workers: 2, max_workers: 20, scale_up_max: 5, scale_down_max: 2, cooldown_up: 1m, cooldown_down: 5m}
    target: {wait_time: 30s}
    schedule: {timezone: UTC, windows: []}
fidelity:
  description: What O(platform) makes of each part of the policy.
  returned: when there are no problems
  type: list
  elements: dict
  contains:
    rule:
      description: Its path in the policy.
      type: str
      returned: always
    kept:
      description: How much of it is kept. V(exact) is all of it.
      type: str
      returned: always
    how:
      description: In which way.
      type: str
      returned: always
  sample:
    - rule: scale_up.any[0]
      kept: exact
      how: grows while queue_depth above 100 for 60s
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.fidelity import PLATFORMS, fidelity
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import A_DAY, timetable
from ansible_collections.muejam.celery.plugins.module_utils.decide.written import as_mapping


def explained(raw: object, at: float, days: int) -> dict[str, Any]:
    """What the module returns of a policy, for C(days) from C(at) seconds since the epoch on."""
    try:
        policy = parse_policy(raw)
    except PolicyError as error:
        return {"problems": [asdict(fault) for fault in error.faults]}
    return {
        "problems": [],
        "advice": [asdict(each) for each in advise(policy)],
        "windows": timetable(policy, at, at + days * A_DAY),
        "policy": as_mapping(policy),
        "fidelity": [asdict(entry) for entry in fidelity(policy)],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "policy": {"type": "dict", "required": True},
            "platform": {"type": "str", "choices": list(PLATFORMS), "default": PLATFORMS[0]},
            "at": {"type": "str"},
            "days": {"type": "int", "default": 7},
            "fail_on_problems": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not 1 <= given["days"] <= 366:
        module.fail_json(msg=f"days must be 1 to 366, not {given['days']}.")
    try:
        at = float(int(time.time())) if given["at"] is None else instant_of(given["at"])
        found = explained(given["policy"], at, given["days"])
    except (OverflowError, ValueError) as error:
        module.fail_json(msg=f"at is {given['at']!r}, not a date and time such as 2026-03-29T00:00:00+01:00: {error}.")
    problems = found["problems"]
    if problems and given["fail_on_problems"]:
        told = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        module.fail_json(msg=f"The policy cannot be used: {told}.", **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
