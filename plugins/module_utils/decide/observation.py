# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of a fleet at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bounds:
    """What is sure of a metric that is not known exactly.

    :param at_least: it is no less than this.
    :param at_most: it is no more than this; None where nothing is known of that.
    :param why: how it came that no more is known.
    """

    at_least: float
    at_most: float | None
    why: str


@dataclass(frozen=True)
class Observation:
    """A look at the fleet and its queues.

    :param at: seconds since the epoch.
    :param workers: instances that take tasks or are about to, draining ones not among them; None is unknown.
    :param starting: how many of C(workers) do not consume yet.
    :param draining: instances on their way out.
    :param metrics: values by name, in messages, seconds, per cent or tasks; what is absent is unknown.
    :param unknown: why a metric is unknown, by name.
    :param blocked: why the broker takes no tasks at present: that none wait says nothing then. Empty where it does.
    :param room: workers that the hosts together have room for; None is no limit.
    :param bounds: what is sure of metrics whose value is only a bound: the upper one where there is one.
    :param sources: who counted what a metric is made of, by name, where it may be one or the other.
    :param down: why an instance does not run that is to, by name; such ones are not among C(workers).
    """

    at: float
    workers: int | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    starting: int = 0
    draining: int = 0
    unknown: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    down: Mapping[str, str] = field(default_factory=dict)
    room: int | None = None
    blocked: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """Return the metric's value, or None where it is unknown."""
        return self.metrics.get(metric)

    def at_least(self, metric: str) -> float | None:
        """Return what the metric surely is no less than, or None where it is unknown."""
        return self.bounds[metric].at_least if metric in self.bounds else self.value(metric)

    def at_most(self, metric: str) -> float | None:
        """Return what the metric surely is no more than, or None where that is unknown."""
        return self.bounds[metric].at_most if metric in self.bounds else self.value(metric)

    def why_unknown(self, metric: str) -> str:
        """Return the reason that C(metric) has no value, for a person to read."""
        return self.unknown.get(metric, "no value was observed")
