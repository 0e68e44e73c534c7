#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an autoscaling policy, and explain it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_info
short_description: Checks an autoscaling policy, explains it, and translates it
description:
  - Tells everything that is wrong with a policy at once, each fault with its place; what is allowed in it and still
    will flap, never fire or contradict itself; which floor and ceiling hold when in the days to come; and the policy
    with every default filled in.
  - Translates it for KEDA, for the HorizontalPodAutoscaler of Kubernetes and for schedules of systemd, cron and
    Kubernetes, and says of each part how much of it is kept.
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
  autoscaler:
    description:
      - Who is to carry the policy out, which RV(fidelity) and RV(manifests) are for.
      - V(policy) is the engine of this collection, the same in autoscaler, module and simulator; it keeps every
        rule exactly, and needs no manifests.
      - V(keda) is a ScaledObject of KEDA, V(hpa) a HorizontalPodAutoscaler, each with CronJobs that set its bounds.
      - V(schedule) is CronJobs alone, each of which gives the Deployment the floor that holds from then on.
    type: str
    choices: [policy, keda, hpa, schedule]
    default: policy
  manifest_options:
    description: What the objects in RV(manifests) have that no policy says.
    type: dict
    default: {}
    suboptions:
      name:
        description: Name of the object that scales. By default that of O(manifest_options.workload) with C(-scaler).
        type: str
      workload:
        description: Name of the Deployment that is scaled.
        type: str
        default: celery-worker
      namespace:
        description: Namespace of all of them.
        type: str
        default: default
      broker_url:
        description:
          - URL of the broker, as Celery takes it. Needed with O(autoscaler=keda).
          - Of its login no part is in any object. A TriggerAuthentication takes it from O(manifest_options.secret).
        type: str
      queues:
        description: Queues whose messages are counted.
        type: list
        elements: str
        default: [celery]
      transport_options:
        description: As Celery's C(broker_transport_options), such as C(priority_steps), C(sep), C(global_keyprefix) and
          C(master_name).
        type: dict
        default: {}
      ssl:
        description: As C(broker_use_ssl) of a fleet. V(true), or a dictionary with C(cert_reqs).
        type: raw
      management_url:
        description: URL of RabbitMQ's management API, which tells of unacknowledged messages too.
        type: str
      secret:
        description:
          - Secret with the login, under the keys C(broker-username) and C(broker-password), C(broker-url) or
            C(management-url), as far as the TriggerAuthentication asks for them. The role P(muejam.celery.worker#role)
            makes one of its own for each fleet.
          - By default that of O(manifest_options.workload)'s name.
        type: str
      lists:
        description:
          - Which messages KEDA counts. V(all) are all lists of all queues and what is not acknowledged, added up, with
            floors of the windows, CPU and memory, and the rates of the limits.
          - V(bare) is one list for each queue, between the bounds of the limits, and nothing else. Messages of
            other priorities are not seen.
        type: str
        choices: [all, bare]
        default: all
      list_length:
        description: Messages for which there is to be a worker.
        type: int
        default: 50
      polling_interval:
        description: Seconds after which KEDA looks at a fleet that is at 0.
        type: int
        default: 30
      cooldown_period:
        description: Seconds without messages after which KEDA goes to 0, where that is the floor.
        type: int
        default: 300
      cpu_target:
        description: CPU at which an HPA keeps the workers, in per cent of their requests.
        type: int
        default: 70
      memory_target:
        description: Memory likewise.
        type: int
        default: 80
      windows:
        description:
          - Who keeps the windows of the policy for KEDA, with O(manifest_options.lists=all).
          - V(cron_jobs) set floor and ceiling of the ScaledObject at each edge. Floors are held by cron triggers too,
            should a job fail, unless a window comes once.
          - V(triggers) are cron triggers alone. They need no image and no rights, and keep no ceilings.
        type: str
        choices: [cron_jobs, triggers]
        default: cron_jobs
      image:
        description: Image with kubectl, for CronJobs.
        type: str
        default: rancher/kubectl:v1.34.1
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

- name: Write what KEDA would be given, and see what it does not keep
  muejam.celery.policy_info:
    policy: "{{ celery_policy }}"
    autoscaler: keda
    manifest_options:
      workload: celery-worker-web
      namespace: shop
      broker_url: redis://redis:6379/0
      queues: [web, mail]
  register: translated
  delegate_to: localhost
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
  description: What O(autoscaler) makes of each part of the policy.
  returned: when there are no problems
  type: list
  elements: dict
  contains:
    rule:
      description: Its path in the policy.
      type: str
      returned: always
    kept:
      description: How much of it is kept. V(exact) is all of it, V(approximated) comes near, V(dropped) is nothing.
      type: str
      returned: always
    how:
      description: In which way, with the numbers, or why not.
      type: str
      returned: always
  sample:
    - rule: scale_up.any[0]
      kept: exact
      how: grows while queue_depth above 100 for 60s
manifests:
  description:
    - The objects of Kubernetes for O(autoscaler). None for V(policy).
    - Floor and ceiling are those of the limits. The role P(muejam.celery.worker#role) sets those of the window that
      holds when it deploys.
  returned: when there are no problems
  type: list
  elements: dict
schedule_entries:
  description:
    - The edges of the policy's windows in three languages, each with the bounds that hold from it on.
    - Entries of C(cron) hold on a host whose clock shows the zone of the policy.
    - What a window that comes once is for a language without years tells RV(schedule_fidelity). Its entries in C(cron)
      and C(kubernetes) have the only C(year) for which they are meant; without a look at it they come again each year.
    - A window that is over by O(at) has no entries.
  returned: when there are no problems
  type: dict
  contains:
    systemd:
      description: With RV(ignore:on_calendar), as C(OnCalendar=) of a timer takes it.
      type: list
      elements: dict
      returned: always
    cron:
      description: With RV(ignore:schedule), the five fields of a crontab.
      type: list
      elements: dict
      returned: always
    kubernetes:
      description: With RV(ignore:schedule) and RV(ignore:time_zone), as a CronJob takes them.
      type: list
      elements: dict
      returned: always
  sample:
    systemd:
      - {on_calendar: "Mon..Fri *-*-* 08:00:00 UTC", min_workers: 5, max_workers: 20}
    cron:
      - {schedule: "0 8 * * 1-5", min_workers: 5, max_workers: 20}
    kubernetes:
      - {schedule: "0 8 * * 1-5", time_zone: UTC, min_workers: 5, max_workers: 20}
schedule_fidelity:
  description: What RV(schedule_entries) of each language keep of each window, in the words of RV(fidelity).
  returned: when there are no problems
  type: dict
  contains:
    systemd:
      description: A list of RV(ignore:rule), RV(ignore:kept) and RV(ignore:how).
      type: list
      elements: dict
      returned: always
    cron:
      description: Likewise.
      type: list
      elements: dict
      returned: always
    kubernetes:
      description: Likewise.
      type: list
      elements: dict
      returned: always
  sample:
    systemd:
      - rule: schedule.windows[3]
        kept: exact
        how: its bounds, once, from 2026-12-01T08:00:00+01:00 until 2026-12-24T18:00:00+01:00
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import (
    AUTOSCALERS,
    LISTS,
    WINDOWS,
    ManifestOptions,
    entries_fidelity,
    translate,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers import transport_options
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import NotForKeda
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import secret_values
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of, fault_of_http
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.timetable import A_DAY, timetable
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.written import as_mapping

DEFAULTS = ManifestOptions()

MANIFEST_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "workload": {"type": "str", "default": DEFAULTS.workload},
    "namespace": {"type": "str", "default": DEFAULTS.namespace},
    "broker_url": {"type": "str"},
    "queues": {"type": "list", "elements": "str", "default": list(DEFAULTS.queues)},
    "transport_options": {"type": "dict", "default": {}},
    "ssl": {"type": "raw"},
    "management_url": {"type": "str"},
    "secret": {"type": "str", "no_log": False},
    "lists": {"type": "str", "choices": list(LISTS), "default": DEFAULTS.lists},
    "list_length": {"type": "int", "default": DEFAULTS.list_length},
    "polling_interval": {"type": "int", "default": DEFAULTS.polling_interval},
    "cooldown_period": {"type": "int", "default": DEFAULTS.cooldown_period},
    "cpu_target": {"type": "int", "default": DEFAULTS.cpu_target},
    "memory_target": {"type": "int", "default": DEFAULTS.memory_target},
    "windows": {"type": "str", "choices": list(WINDOWS), "default": DEFAULTS.windows},
    "image": {"type": "str", "default": DEFAULTS.image},
}

# RFC 1123, as Kubernetes takes names of most objects.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def faults(given: Mapping[str, Any], autoscaler: str) -> Iterator[str]:
    """Yield what is wrong with C(manifest_options)."""
    for key in ("name", "workload", "namespace", "secret"):
        if given[key] and not (len(given[key]) <= 63 and _NAME.fullmatch(given[key])):
            yield f"{key} must be lower-case letters, digits and inner hyphens, at most 63, not {given[key]!r}"
    for key, least in (("list_length", 1), ("polling_interval", 1), ("cooldown_period", 0)):
        if given[key] < least:
            yield f"{key} must be {least} or more, not {given[key]}"
    for key in ("cpu_target", "memory_target"):
        if not 1 <= given[key] <= 100:
            yield f"{key} must be 1 to 100, in per cent, not {given[key]}"
    if not given["queues"]:
        yield "queues must name at least one queue"
    yield from (f"transport_options{fault}" for fault in transport_options.faults(given["transport_options"]))
    if given["management_url"] and fault_of_http(given["management_url"]):
        yield f"management_url {fault_of_http(given['management_url'])}"
    if given["broker_url"]:
        fault = fault_of(given["broker_url"])
        if fault:
            yield f"broker_url {fault}"
    elif autoscaler == "keda":
        yield "broker_url is needed for keda, which asks the broker"


def manifest_options(given: Mapping[str, Any]) -> ManifestOptions:
    """Return the options as values."""
    plain = {key: value for key, value in given.items() if key not in ("ssl", "queues") and value is not None}
    ssl = given["ssl"]
    verified = not (isinstance(ssl, Mapping) and str(ssl.get("cert_reqs")).lower().removeprefix("cert_") == "none")
    return ManifestOptions(**plain, queues=tuple(given["queues"]), tls=bool(ssl), tls_verified=verified)


def explained(raw: object, at: float, days: int, autoscaler: str, options: ManifestOptions) -> dict[str, Any]:
    """What the module returns of a policy, for C(days) from C(at) seconds since the epoch on."""
    try:
        policy = parse_policy(raw)
    except PolicyError as error:
        return {"problems": [asdict(fault) for fault in error.faults]}
    translation = translate(policy, autoscaler, options, at)
    return {
        "problems": [],
        "advice": [asdict(each) for each in advise(policy, at)],
        "windows": timetable(policy, at, at + days * A_DAY),
        "policy": as_mapping(policy),
        "fidelity": translation.fidelity,
        "manifests": translation.manifests,
        "schedule_entries": entries(policy, at),
        "schedule_fidelity": entries_fidelity(policy, at),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "policy": {"type": "dict", "required": True},
            "autoscaler": {"type": "str", "choices": list(AUTOSCALERS), "default": AUTOSCALERS[0]},
            "manifest_options": {
                "type": "dict",
                "default": {},
                "options": MANIFEST_OPTIONS,
                "apply_defaults": True,
                "no_log": True,
            },
            "at": {"type": "str"},
            "days": {"type": "int", "default": 7},
            "fail_on_problems": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    # Only the name of a Secret is not secret.
    asked = {key: value for key, value in given["manifest_options"].items() if key != "secret"}
    module.no_log_values = set(secret_values(asked))
    if not 1 <= given["days"] <= 366:
        module.fail_json(msg=f"days must be 1 to 366, not {given['days']}.")
    wrong = list(faults(given["manifest_options"], given["autoscaler"]))
    if wrong:
        module.fail_json(msg=f"The manifest_options are wrong: {'; '.join(wrong)}.")
    options = manifest_options(given["manifest_options"])
    try:
        at = float(int(time.time())) if given["at"] is None else instant_of(given["at"])
        found = explained(given["policy"], at, given["days"], given["autoscaler"], options)
    except NotForKeda as error:
        module.fail_json(msg=f"KEDA cannot read this broker: {error}.")
    except (OverflowError, ValueError) as error:
        module.fail_json(msg=f"at is {given['at']!r}, not a date and time such as 2026-03-29T00:00:00+01:00: {error}.")
    problems = found["problems"]
    if problems and given["fail_on_problems"]:
        told = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        module.fail_json(msg=f"The policy cannot be used: {told}.", **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
