# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which a worker on Redis takes tasks of different priorities."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Mapping

from .log import report

DEFAULT_STEPS = (0, 3, 6, 9)


class HighFirst(List[int]):
    """Redis priority steps, most urgent first.

    kombu's Redis transport reads its lists in the order in which it iterates over the steps, and finds the list of a
    message by bisection, which indexes. Iterating from high to low while indexing from low to high therefore reverses
    the order of reading and leaves every message in the list where any other producer or consumer puts it.
    """

    def __init__(self, steps: Iterable[int] = DEFAULT_STEPS) -> None:
        super().__init__(sorted(steps))

    def __iter__(self) -> Iterator[int]:
        return super().__reversed__()

    def __reversed__(self) -> Iterator[int]:
        return super().__iter__()

    def __reduce__(self) -> tuple[type[HighFirst], tuple[list[int]]]:
        return (HighFirst, (sorted(self),))


def reads_high_first(app: Any, own: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Return whether priorities are read from the highest down: an app that orders them by itself keeps its order."""
    order = environ.get("CELERY_LIFECYCLE_PRIORITY") or None
    if order not in (None, "high_first", "low_first"):
        report("CELERY_LIFECYCLE_PRIORITY must be high_first or low_first; it is ignored")
        order = None
    steps = own.get("priority_steps")
    # Ours are there already in the app of a pool process that was forked.
    ordered = own.get("queue_order_strategy") or (steps and not isinstance(steps, HighFirst))
    if order == "low_first" or (order is None and ordered):
        return False
    return bool(app.connection_for_read().transport.driver_type == "redis")
