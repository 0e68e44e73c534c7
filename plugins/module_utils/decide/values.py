# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values of its metric satisfy a condition, to hold conditions against each other before anything happened."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Comparison, Condition


@dataclass(frozen=True)
class Values:
    """All numbers from C(low) to C(high), the ends among them unless they are open."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    @property
    def none(self) -> bool:
        """Whether there is no such number."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def meet(self, other: Values) -> Values:
        """Return the numbers that are in both."""
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, shut = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Values(low, high, low_open, not shut)

    def inside(self, other: Values) -> bool:
        """Whether C(other) has all of these numbers."""
        return self.none or self.meet(other) == self


def values_of(condition: Condition) -> Values:
    """Return the values that C(condition) holds for, among those that its metric can have at all."""
    threshold = condition.threshold
    metric = METRICS[condition.metric]
    if metric.counts:
        if condition.comparison is Comparison.ABOVE:
            return Values(math.floor(threshold) + 1, math.inf)
        if condition.comparison is Comparison.BELOW:
            return Values(0, math.ceil(threshold) - 1)
        return Values(math.ceil(threshold), math.floor(threshold))
    top = 100.0 if metric.in_percent else math.inf
    if condition.comparison is Comparison.ABOVE:
        return Values(threshold, top, low_open=True)
    if condition.comparison is Comparison.BELOW:
        return Values(0, threshold, high_open=True)
    return Values(threshold, threshold)


def same_quantity(one: Condition, other: Condition) -> bool:
    """Whether two conditions look at the same number. Tasks counted over different times are different numbers."""
    return one.metric == other.metric and (not METRICS[one.metric].growth_of or one.hold == other.hold)
