# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What timers and crontabs run, as root: bring one fleet of this host to what its schedule wants now."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import (
    Outcome,
    Patience,
    apply,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.places import (
    applied_path,
    schedule_path,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.remembered import (
    load_applied,
    load_schedule,
    save_applied,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import Autoscaler
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollingPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform
from ansible_collections.muejam.celery.plugins.module_utils.printable import printable

BETWEEN_TRIES = 30.0
"""Seconds."""

HERE = HostAutoscaler()

PATIENCE = Patience(lock=60.0)
"""A deployment may have the fleet's lock for long; then this run fails, and the next one comes soon."""


def once(fleet: str, platform: RollingPlatform, autoscaler: Autoscaler, clock: Clock = REAL_CLOCK) -> str:
    """Bring a fleet to what holds now, and return for the log what was done.

    :raises OperationError: when it could not be done, or not in full.
    """
    policy = load_schedule(schedule_path(fleet))
    if fleet in autoscaler.sized():
        return f"fleet {fleet}: left to the autoscaler, which sizes it by the windows of its policy"
    outcome = apply(fleet, policy, platform, load_applied(applied_path(fleet)), PATIENCE, clock)
    save_applied(applied_path(fleet), outcome.applied)
    return told(fleet, outcome)


def told(fleet: str, outcome: Outcome) -> str:
    """Return in a line what came of it."""
    holds, result = outcome.holds, outcome.result
    window = f"window {holds.window}" if holds.window else "no window"
    bounds = f"{holds.min_workers} to {holds.max_workers} workers"
    if result is None:
        return f"fleet {fleet}: {window} holds, {bounds}: left at {outcome.after}"
    done = [f"started {', '.join(result.started)}"] if result.started else []
    done += [f"told to drain {', '.join(result.stopped)}"] if result.stopped else []
    return f"fleet {fleet}: {window} holds, {bounds}: {outcome.before} -> {outcome.after}, {'; '.join(done)}"


def main(
    arguments: Sequence[str] | None = None,
    opened: Callable[[str], RollingPlatform] = open_platform,
    autoscaler: Autoscaler = HERE,
    clock: Clock = REAL_CLOCK,
) -> int:
    """Return 0 when the fleet has what its schedule wants, and 1 when not.

    :param opened: opens a platform by its name.
    """
    parser = argparse.ArgumentParser(prog="by_the_clock", description=str(__doc__))
    parser.add_argument("fleet")
    parser.add_argument("--platform", choices=ON_HOSTS, default=DEFAULT, help="what runs the workers of this host")
    parser.add_argument(
        "--retry-for", type=float, default=0.0, metavar="SECONDS", help="after a failure try again for so many seconds"
    )
    options = parser.parse_args(arguments)
    deadline = clock.monotonic() + options.retry_for
    while True:
        try:
            said = once(options.fleet, opened(options.platform), autoscaler, clock)
        except OperationError as error:
            sys.stderr.write(printable(str(error), keep="\n\t") + "\n")
            if clock.monotonic() + BETWEEN_TRIES > deadline:
                return 1
            clock.sleep(BETWEEN_TRIES)
        else:
            sys.stdout.write(printable(said) + "\n")
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
