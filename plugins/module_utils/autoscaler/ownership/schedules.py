# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedules of this host's fleets, which end before somebody else sets the number of workers."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import places

LOCK_WAIT = 600.0
"""Seconds to wait for a run of a schedule that has the fleet's lock."""


def end_schedules(
    names: Sequence[str] | None,
    keep: Sequence[str],
    check: bool,
    lock_wait: float = LOCK_WAIT,
) -> list[str]:
    """Remove the schedules of the fleets named, and return those that had one.

    :param names: None is all but those to keep.
    :raises OperationError: when one cannot be removed.
    """
    found = places.scheduled_fleets()
    gone = [name for name in found if (name not in keep if names is None else name in names)]
    for name in gone:
        # Most hosts have none.
        from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.removing import remove

        remove(name, lock_wait, check)
    return gone
