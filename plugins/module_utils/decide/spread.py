# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers of a fleet go where, when it has several hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Workers by host.

    :ivar workers: for every host whose number is known, those out of reach among them.
    :ivar left_over: workers that no reachable host has room for; below 0, workers that are too many on hosts out of
        reach.
    """

    workers: Mapping[str, int]
    left_over: int = 0


def spread(
    total: int,
    current: Mapping[str, int | None],
    capacities: Mapping[str, int] | None = None,
    out_of_reach: Collection[str] = (),
) -> Spread:
    """Return how many workers each host shall have, so that there are C(total) of them.

    As few workers as possible come and go: growing shrinks no host, shrinking grows none. Among the ways that are left
    the most even one is taken, and among those the one that the hosts' names decide, so that the same question has
    always the same answer. A host out of reach keeps what it has, and that counts. While the number of any host is
    unknown every host keeps what it has: its workers would be started a second time elsewhere.

    :param total: 0 or more.
    :param current: workers that each host has now; None is unknown.
    :param capacities: the most workers of a host, 0 or more; a host that is not there has no such limit. A host that
        has more comes down to it at once.
    :param out_of_reach: hosts that cannot be scaled now.
    :raises ValueError: when a number is below 0.
    """
    capacities = capacities or {}
    known = {host: workers for host, workers in current.items() if workers is not None}
    if total < 0 or any(number < 0 for number in (*known.values(), *capacities.values())):
        raise ValueError("no number of workers is below 0")
    if len(known) < len(current):
        return Spread(known)
    reached = sorted(host for host in known if host not in out_of_reach)
    workers = dict(known)
    for host in reached:
        workers[host] = min(workers[host], capacities.get(host, workers[host]))
    missing = total - sum(workers.values())
    while missing > 0:
        free = [host for host in reached if host not in capacities or workers[host] < capacities[host]]
        if not free:
            break
        # min takes the first of equal ones.
        workers[min(free, key=lambda host: workers[host])] += 1
        missing -= 1
    while missing < 0:
        busy = [host for host in reversed(reached) if workers[host] > 0]
        if not busy:
            break
        workers[max(busy, key=lambda host: workers[host])] -= 1
        missing += 1
    return Spread(workers, missing)
