#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a time schedule for a fleet, without a running autoscaler."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule
short_description: Keeps a time schedule for a fleet of Celery workers, without a running autoscaler
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Makes of the windows of a policy what runs at their edges. On a host this is a systemd timer, or a crontab; in a
    cluster CronJobs. What holds now is set at once.
  - At each edge a fleet gets the floor of the window that begins, workers that go drained. Until the next edge a number
    within floor and ceiling stays, such as one that somebody set with M(muejam.celery.scale).
  - What runs on a host reckons from the clock what holds. So a run that comes late, after a reboot or an outage, is as
    right as one in time. A run that fails is tried again until it is done, and shows as C(auto-restart) of
    C(celery-schedule-<fleet>.service).
  - Where the autoscaler sizes the fleet, it keeps the windows of its policy itself. The module says so,
    and leaves nothing of its own there.
  - In a cluster CronJobs set the number of the Deployment, or floor and ceiling of a ScaledObject or
    HorizontalPodAutoscaler of somebody else that sizes it.
  - Only what is another text than before is written. Timers, crontabs and CronJobs of others are never touched.
extends_documentation_fragment:
  - muejam.celery.fleet
  - muejam.celery.lock
options:
  schedule:
    description:
      - The schedule, with C(timezone) and C(windows), as the key C(schedule) of a policy has it.
      - Needed with O(state=present).
    type: dict
  limits:
    description:
      - With C(min_workers) and C(max_workers), what holds outside all windows, and what no window goes beyond, as the
        key C(limits) of a policy has it. What is left out takes the default of policies, 2 and 20.
    type: dict
    default: {}
  state:
    description:
      - V(absent) removes the schedule, and leaves the number of workers as it is.
    type: str
    choices: [present, absent]
    default: present
  timer:
    description:
      - On a host, what wakes up at the edges. V(auto) is V(systemd) on a host that systemd runs, and V(cron) elsewhere.
      - With V(cron) there is a file in C(/etc/cron.d), for the clock that the host has when it is written. Edges with
        seconds come at the next full minute.
    type: str
    choices: [auto, systemd, cron]
    default: auto
  image:
    description:
      - With O(platform=kubernetes), an image that has kubectl, for the CronJobs.
    type: str
    default: rancher/kubectl:v1.34.1
  wait_timeout:
    description:
      - Seconds that started workers have until they consume.
    type: int
    default: 300
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
    details:
      - A fleet that is not there is an error. In check mode it is taken for one of 0 workers.
  diff_mode:
    description: Shows each file or object before and after, and the list of the fleet's workers.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.27 or newer
notes:
  - Needs root on a host, and what the role P(muejam.celery.worker#role) puts into C(/opt/muejam-celery) there.
  - In a cluster it needs what M(muejam.celery.scale) needs, and to get, list, patch and delete C(cronjobs), C(roles),
    C(rolebindings) and C(serviceaccounts).
seealso:
  - module: muejam.celery.policy_info
  - module: muejam.celery.scale
"""

EXAMPLES = r"""
- name: Have five workers in office hours, and two else
  muejam.celery.schedule:
    fleet: web
    limits: {min_workers: 2, max_workers: 20}
    schedule:
      timezone: Europe/Berlin
      windows:
        - {name: office, days: [mon, tue, wed, thu, fri], time: "08:00-18:00", min_workers: 5}
  become: true

- name: The same in a cluster
  muejam.celery.schedule:
    fleet: web
    schedule: "{{ celery_policy.schedule }}"
    limits: "{{ celery_policy.limits }}"
    platform: kubernetes
    namespace: shop
  delegate_to: localhost

- name: Have no schedule any more
  muejam.celery.schedule:
    fleet: web
    state: absent
  become: true
"""

RETURN = r"""
entries:
  description:
    - The edges, each with the bounds that hold from it on, as M(muejam.celery.policy_info) returns them in
      RV(muejam.celery.policy_info#module:schedule_entries) for what keeps the schedule here.
    - Empty where there is none.
  returned: success
  type: list
  elements: dict
  sample:
    - {on_calendar: "Mon..Fri *-*-* 08:00:00 Europe/Berlin", min_workers: 5, max_workers: 20}
in_force:
  description: What holds now. V(null) with O(state=absent).
  returned: success
  type: dict
  contains:
    window:
      description: Name of the window, or V(null) outside all windows.
      type: str
      returned: always
    min_workers:
      description: The floor.
      type: int
      returned: always
    max_workers:
      description: The ceiling.
      type: int
      returned: always
    until:
      description: When other bounds begin to hold, RFC 3339 on the clock of the schedule, or V(null).
      type: str
      returned: always
  sample: {window: office, min_workers: 5, max_workers: 20, until: "2026-06-01T18:00:00+02:00"}
kept_by:
  description:
    - What keeps the schedule. V(systemd), V(cron), V(kubernetes), or V(celery-autoscaler) where the autoscaler does.
    - V(null) with O(state=absent).
  returned: success
  type: str
  sample: systemd
fidelity:
  description: What becomes of each window, as in RV(muejam.celery.policy_info#module:schedule_fidelity).
  returned: success
  type: list
  elements: dict
  sample: [{rule: "schedule.windows[0]", kept: exact, how: "its bounds, in Europe/Berlin"}]
advice:
  description: What is allowed in the schedule and still has no effect, such as a window that is over.
  returned: success
  type: list
  elements: dict
  sample: []
paths:
  description: Files or objects that were written or removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/celery-schedule-web.timer]
before:
  description: Number of workers found.
  returned: success, when the number was looked at
  type: int
  sample: 2
after:
  description: Number of workers that there are afterwards, in check mode the number there would be.
  returned: success, when the number was looked at
  type: int
  sample: 5
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import installing
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import Patience, apply
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.crontab_times import of_crontab
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.places import applied_path
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.remembered import (
    load_applied,
    save_applied,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.removing import Changes, remove
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.decide.advice import advise
from ansible_collections.muejam.celery.plugins.module_utils.decide.in_force import in_force
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import ODD_DAYS_FOR, odd_edges
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.fidelity import Fidelity, of_entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES, ON_HOSTS
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    ScaleResult,
    absent_fleet,
    unknown_fleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import SYSTEM_DIRECTORY

AUTOSCALER = "celery-autoscaler"


def faults(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the options."""
    yield from options.faults(params)
    if params["platform"] not in KEEPERS:
        yield f"platform: schedules are kept on {', '.join(KEEPERS)}, not on {params['platform']}"
    if params["state"] == "present" and params["schedule"] is None:
        yield "schedule: it is needed with state: present"
    extra = sorted(set(params["limits"]) - {"min_workers", "max_workers"})
    if extra:
        yield f"limits: {', '.join(extra)}: only min_workers and max_workers, for a schedule takes no steps"


def policy_of(params: Mapping[str, Any]) -> Policy:
    """Return what the options describe. Raises PolicyError with every fault at once."""
    return parse_policy({"limits": params["limits"], "schedule": params["schedule"]})


def told(policy: Policy, at: float, kept_by: str) -> dict[str, Any]:
    """Return what the module tells of a schedule at C(at), in seconds since the epoch."""
    holds = in_force(policy, at)
    zone = zone_of(policy.schedule.timezone)
    return {
        "entries": entries(policy, at).get(kept_by, []),
        "in_force": {
            "window": holds.window,
            "min_workers": holds.min_workers,
            "max_workers": holds.max_workers,
            "until": None if holds.until is None else written(holds.until, zone),
        },
        "kept_by": kept_by,
        "fidelity": [asdict(each) for each in fidelity(policy, at, kept_by)],
        "advice": [
            asdict(each) for each in advise(policy, at) if each.path.partition(".")[0] in ("limits", "schedule")
        ],
    }


def fidelity(policy: Policy, at: float, kept_by: str) -> Sequence[Fidelity]:
    """Return what becomes of each window, by what keeps them."""
    if kept_by == installing.CRON:
        # Entries for anybody's crontab cannot say all that one can whose command looks at the clock.
        return of_crontab(policy)
    return of_entries(policy, list(odd_edges(policy, at, at + ODD_DAYS_FOR)), at).get(kept_by, ())


NOTHING: dict[str, Any] = {"entries": [], "in_force": None, "kept_by": None, "fidelity": [], "advice": []}


def timer_of(asked: str) -> str:
    """Return what is to wake up on this host."""
    if asked != "auto":
        return asked
    return installing.SYSTEMD if SYSTEM_DIRECTORY.is_dir() else installing.CRON


def on_a_host(module: AnsibleModule, policy: Policy | None) -> dict[str, Any]:
    """Put the schedule on this host, or take it away, and return the result."""
    params, check, at = module.params, module.check_mode, float(int(time.time()))
    fleet, lock_wait = params["fleet"], float(params["lock_timeout"])
    platform = options.open_from(params)
    platform.require_access(f"{'remove' if policy is None else 'keep'} the schedule of fleet {fleet}")
    if policy is not None and fleet in HostAutoscaler().sized():
        changes = remove(fleet, lock_wait, check)
        module.warn(
            f"The autoscaler sizes fleet {fleet} on this host, and keeps the windows of the fleet's policy; no "
            "timer is installed beside it. For a schedule without it deploy with celery_worker_autoscaling: schedule."
        )
        return {**told(policy, at, AUTOSCALER), "changed": bool(changes.paths), **shown(changes)}
    if policy is None:
        changes = remove(fleet, lock_wait, check)
        return {**NOTHING, "changed": bool(changes.paths), **shown(changes)}
    fleets = platform.fleets()
    if fleet not in fleets and not check:
        raise unknown_fleet(f"keep the schedule of fleet {fleet}", fleet, fleets)
    if fleet not in fleets:
        module.warn(absent_fleet(fleet))
    timer = timer_of(params["timer"])
    if not check:
        # A rehearsal does not install what a role would have installed before.
        installing.require_zone(policy.schedule.timezone, timer)
    result = told(policy, at, timer)
    calendar = [each["on_calendar"] for each in result["entries"]] if timer == installing.SYSTEMD else []
    given = {"limits": params["limits"], "schedule": params["schedule"]}
    wanted = installing.texts_of(fleet, given, policy, timer, calendar, at, params["platform"])
    changes = installing.put(fleet, wanted, lock_wait, check)
    applied = load_applied(applied_path(fleet))
    patience = Patience(float(params["wait_timeout"]), lock_wait)
    try:
        outcome = apply(fleet, policy, platform, applied, patience, check=check)
        if not check:
            save_applied(applied_path(fleet), outcome.applied)
    finally:
        # What failed here is then tried again by the timer.
        started = timer == installing.SYSTEMD and installing.run_timer(fleet, changes, check)
    changed = bool(changes.paths) or started or bool(outcome.result and outcome.result.changed)
    numbers = {"before": outcome.before, "after": outcome.after}
    return {**result, "changed": changed, **numbers, **shown(changes, outcome.result)}


def in_a_cluster(module: AnsibleModule, policy: Policy | None) -> dict[str, Any]:
    """Put the schedule into a cluster, or take it away, and return the result."""
    # Hosts have no use for it.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import in_cluster
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect

    params, check, at = module.params, module.check_mode, float(int(time.time()))
    fleet = params["fleet"]
    api = HttpApi(connect(options.place_of(params)))
    if policy is None:
        kept = in_cluster.remove(api, fleet, check)
        if kept.owner:
            module.warn(f"The {kept.owner} has the windows of the policy of fleet {fleet}; nothing was removed.")
        return {**NOTHING, "changed": kept.changed, **objects_shown(kept)}
    if in_cluster.daemon_sizes(api, fleet):
        kept = in_cluster.remove(api, fleet, check)
        module.warn(
            f"The autoscaler sizes fleet {fleet} in this namespace, and keeps the windows of the fleet's "
            "policy; no CronJob is made beside it. For a schedule without it deploy with "
            "celery_worker_autoscaling: schedule."
        )
        return {**told(policy, at, AUTOSCALER), "changed": kept.changed, **objects_shown(kept)}
    patience = Patience(float(params["wait_timeout"]))
    kept = in_cluster.keep(api, options.open_from(params), fleet, policy, params["image"], at, patience, check)
    for warning in kept.warnings:
        module.warn(warning)
    return {**told(policy, at, KUBERNETES), "changed": kept.changed, **objects_shown(kept)}


KEEPERS: dict[str, Callable[[AnsibleModule, Policy | None], dict[str, Any]]] = {
    **dict.fromkeys(ON_HOSTS, on_a_host),
    KUBERNETES: in_a_cluster,
}
"""What keeps a schedule, by platform."""


def shown(changes: Changes, scaled: ScaleResult | None = None) -> dict[str, Any]:
    """Return what was written, as results have it."""
    workers = [scaled.diff()] if scaled and scaled.changed else []
    return {"paths": changes.paths, "diff": [*changes.diff, *workers]}


def objects_shown(kept: Any) -> dict[str, Any]:
    """Return what became of objects, as results have it."""
    diff = [
        {"before_header": title, "after_header": title, "before": before or "", "after": after or ""}
        for title, before, after in kept.objects.differences
    ]
    if kept.bounds:
        before, after = kept.bounds
        diff.append({"before_header": kept.owner, "after_header": kept.owner, "before": before, "after": after})
    if kept.scaled and kept.scaled.changed:
        diff.append(kept.scaled.diff())
    numbers = {"before": kept.scaled.before, "after": kept.scaled.after} if kept.scaled else {}
    return {"paths": [*kept.objects.removed, *kept.objects.applied], "diff": diff, **numbers}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **options.FLEET_ARGUMENTS,
            "schedule": {"type": "dict"},
            "limits": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "timer": {"type": "str", "choices": ["auto", *installing.TIMERS], "default": "auto"},
            "image": {"type": "str", "default": "rancher/kubectl:v1.34.1"},
            "wait_timeout": {"type": "int", "default": 300},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = "; ".join(faults(params))
    if wrong:
        module.fail_json(msg=f"Nothing was changed, the options are wrong: {wrong}.")
    try:
        policy = policy_of(params) if params["state"] == "present" else None
        result = KEEPERS[params["platform"]](module, policy)
    except PolicyError as error:
        said = "; ".join(f"{fault.path}: {fault.message}" for fault in error.faults)
        module.fail_json(msg=f"Nothing was changed, the schedule cannot be used: {said}.")
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        said = f"Files of the schedule could not be written: {error}. Check that path, and that its disk has space."
        module.fail_json(msg=said)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
