#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a fleet that is autoscaled at a number of workers, or lift that."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pause
short_description: Holds an autoscaled fleet of Celery workers at a number
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Has whoever sizes a fleet by its policy hold it at a number of workers, until a time or until that is lifted. The
    policy and its windows do not count meanwhile. The number may be outside of the limits.
  - The autoscaler, on a host or in a cluster, and M(muejam.celery.autoscale) both see the pause at
    their next cycle, and go to its number without losing a task. Their reasons name it.
  - On a host it is a file in C(/var/lib/celery-worker-pauses), which root alone may write. In a cluster it is the
    annotation C(muejam.celery/pause) of the fleet's Deployment. So it outlasts restarts, reboots and deployments.
  - Conditions of the policy are judged all the while, so the fleet goes where it has to as soon as the pause is over.
  - Of a fleet over several hosts each host is held by itself. The other ones have the rest of what the policy wants.
extends_documentation_fragment:
  - muejam.celery.fleet
options:
  state:
    description:
      - V(present) pauses the fleet, or changes its pause, and V(absent) lifts the pause.
    type: str
    choices: [present, absent]
    default: present
  workers:
    description:
      - Number of workers that the fleet is held at on this host or in this namespace, 0 or more.
      - Required with O(state=present).
    type: int
  until:
    description:
      - When the pause ends by itself, such as V(2026-12-05 03:00), V(2026-12-05T03:00:00+01:00) or
        V(2026-12-05T02:00Z). Without an offset it is what the wall clock of O(timezone) shows.
      - By default it lasts until it is lifted.
    type: str
  timezone:
    description:
      - Name of the time zone of O(until).
    type: str
    default: UTC
  by:
    description:
      - Who wants it, for whoever reads the reasons of decisions. Another name alone changes nothing.
    type: str
  scheduled:
    description:
      - Whether scheduled runs of M(muejam.celery.autoscale) size the fleet, though nothing on this host tells of
        them, as where another host decides, or they keep their state elsewhere.
      - Without it a fleet that nobody sizes, as far as is known here, is refused. M(muejam.celery.scale) is enough
        there.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux with systemd, Kubernetes 1.23 or newer
notes:
  - Needs root on a host. In a cluster it needs to get and patch C(deployments), to list C(pods) and
    C(horizontalpodautoscalers), and to get C(leases), by which it knows whether the autoscaler is there.
  - It does not wait until the fleet has the number. M(muejam.celery.scale) with the same number does.
  - It refuses a fleet that an HPA or KEDA sizes, and says what to do there.
  - A pause that is over stays where it is until it is lifted or changed, and means nothing.
seealso:
  - module: muejam.celery.scale
  - module: muejam.celery.autoscale
"""

EXAMPLES = r"""
- name: Hold a fleet at three workers over the night
  muejam.celery.pause:
    fleet: web
    workers: 3
    until: "2026-12-05 06:00"
    timezone: Europe/Berlin
    by: alice
  become: true

- name: Lift the pause
  muejam.celery.pause:
    fleet: web
    state: absent
  become: true

- name: Hold a fleet in a cluster at none, until that is lifted
  muejam.celery.pause:
    fleet: web
    workers: 0
    platform: kubernetes
    namespace: shop
  delegate_to: localhost
"""

RETURN = r"""
before:
  description: The pause that was found, over or not; V(null) where there was none, or one that made no sense.
  returned: success
  type: dict
  contains:
    workers:
      description: Number of workers that the fleet is held at.
      type: int
      returned: always
    until:
      description: When it ends, in RFC 3339. V(null) is until it is lifted.
      type: str
      returned: always
    by:
      description: Who wants it.
      type: str
      returned: when it is known
  sample: null
after:
  description: The pause that there is now, in check mode the one that there would be. As RV(before).
  returned: success
  type: dict
  sample: {workers: 3, until: '2026-12-05T06:00:00+01:00', by: alice}
sized_by:
  description:
    - Who sizes the fleet, V(autoscaler) for the one of the host or the cluster, V(scheduled runs) for
      those of M(muejam.celery.autoscale).
  returned: success with O(state=present)
  type: str
  sample: autoscaler
"""

import time
from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.pausing import who_sizes
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, as_mapping, parse_pause
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import written, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import PauseUnusable


def zone_faults(name: str) -> Iterator[str]:
    """Yield what is wrong with the name of a time zone."""
    try:
        zone_of(name)
    except (KeyError, OSError, ValueError):
        yield f"timezone: {name!r} is no time zone that this host knows, such as Europe/Berlin or UTC"


def wanted_pause(params: dict[str, Any], zone: tzinfo, now: float) -> Pause | None:
    """Return the pause that the options ask for, None for none.

    :param now: seconds since the epoch.
    :raises ValueError: with what is wrong with them.
    """
    if params["state"] == "absent":
        return None
    asked = {"workers": params["workers"], "until": params["until"] or None, "by": params["by"] or ""}
    if params["workers"] is None:
        del asked["workers"]
    pause = parse_pause(asked, zone)
    if not pause.holds(now):
        raise ValueError(
            f"pause.until is {params['until']!r}, which is over: it is {written(int(now), zone)} by now. Name a time "
            "to come, with its offset or with timezone"
        )
    return pause


def shown(pause: Pause | None, zone: tzinfo) -> str:
    """Return it as a difference shows it."""
    return "" if pause is None else f"{pause.in_words(zone)}\n"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **options.FLEET_ARGUMENTS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "workers": {"type": "int"},
            "until": {"type": "str"},
            "timezone": {"type": "str", "default": "UTC"},
            "by": {"type": "str"},
            "scheduled": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, fleet = module.params, module.params["fleet"]
    wrong = [*options.faults(params), *zone_faults(params["timezone"])]
    zone = zone_of("UTC" if wrong else params["timezone"])
    pause = None
    try:
        pause = wanted_pause(params, zone, time.time())
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        module.fail_json(msg=f"Nothing was changed, the options are wrong: {'; '.join(wrong)}.")
    unusable = False
    told: dict[str, Any] = {}
    try:
        platform = options.open_from(params)
        if options.runs_here(params):
            platform.require_access(f"{'lift the pause of' if pause is None else 'pause'} fleet {fleet}")
        if pause is not None:
            platform.require_sizable(fleet, f"pause fleet {fleet}")
            told["sized_by"] = who_sizes(fleet, params, module.warn)
        try:
            before = platform.paused(fleet)
        except PauseUnusable:
            before, unusable = None, True
        changed = unusable or before is not None if pause is None else not pause.same_as(before)
        if changed and not module.check_mode:
            platform.pause(fleet, pause)
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    after = pause if changed else before
    module.exit_json(
        changed=changed,
        before=None if before is None else as_mapping(before, zone),
        after=None if after is None else as_mapping(after, zone),
        diff={
            "before_header": "pause before",
            "after_header": "pause after",
            "before": "a pause that cannot be read\n" if unusable else shown(before, zone),
            "after": shown(after, zone),
        },
        **told,
    )


if __name__ == "__main__":
    main()
