# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads to play against a policy, made by chance but the same at every run with the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Tasks = tuple[tuple[float, float], ...]
"""C((arrival, run time)) of each task, in seconds and in the order of arrival."""


@dataclass(frozen=True)
class Workload:
    """Tasks over C(horizon) seconds.

    C(begin) is the instant at which it begins, in seconds since the epoch: windows of a schedule go by it.
    """

    name: str
    tasks: Tasks
    horizon: float
    begin: float = 0.0


@dataclass(frozen=True)
class Kind:
    """A workload that can be asked for by its name. C(about) says what it is, in one line."""

    name: str
    about: str
    made: Callable[[random.Random, float], Tasks]
    horizon: float

    def workload(self, seed: int = 1) -> Workload:
        """Return the workload that C(seed) makes; it does not depend on what else was made before."""
        return Workload(self.name, self.made(random.Random(f"{self.name} {seed}"), self.horizon), self.horizon)


def _burst(chance: random.Random, horizon: float) -> Tasks:
    return ((60.0, 1.0),) * 600


def _steady(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(chance, horizon, lambda at: 6, 6, lambda: chance.expovariate(1))


def _day(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(
        chance, horizon, lambda at: 1 + 9 * math.sin(math.pi * at / 3600) ** 2, 10, lambda: chance.expovariate(1)
    )


def _crowds(chance: random.Random, horizon: float) -> Tasks:
    def rate(at: float) -> float:
        return 15 if any(begin <= at < begin + 120 for begin in (600, 1500, 2700)) else 1.5

    return _poisson(chance, horizon, rate, 15, lambda: chance.expovariate(1))


def _heavy_tail(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(chance, horizon, lambda at: 5, 5, lambda: min(120.0, 0.3 * chance.paretovariate(1.3)))


def _long_tasks(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(chance, horizon, lambda at: 0.2 + 0.15 * math.sin(at / 600), 0.35, lambda: chance.uniform(20, 60))


def _on_off(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(chance, horizon, lambda at: 0.2 if at // 300 % 2 else 12, 12, lambda: chance.expovariate(1 / 0.8))


def _ramp(chance: random.Random, horizon: float) -> Tasks:
    return _poisson(chance, horizon, lambda at: 0.5 + 14 * at / 3600, 15, lambda: chance.expovariate(1))


def _poisson(
    chance: random.Random, horizon: float, rate: Callable[[float], float], peak: float, run_time: Callable[[], float]
) -> Tasks:
    """Return arrivals at a changing C(rate), by thinning those at the C(peak) rate (Lewis and Shedler, 1979)."""
    tasks: list[tuple[float, float]] = []
    at = chance.expovariate(peak)
    while at < horizon:
        if chance.random() * peak < rate(at):
            tasks.append((at, run_time()))
        at += chance.expovariate(peak)
    return tuple(tasks)


KINDS = (
    Kind("burst", "600 tasks of 1 s at once, after a minute of nothing", _burst, 600),
    Kind("steady", "6 tasks a second of about 1 s, for half an hour", _steady, 1800),
    Kind("day", "two days within two hours: 1 to 10 tasks a second of about 1 s", _day, 7200),
    Kind("crowds", "1.5 tasks a second, and three times 15 a second for two minutes", _crowds, 3600),
    Kind("heavy-tail", "5 tasks a second, most of 0.3 s, some of up to two minutes", _heavy_tail, 3600),
    Kind("long-tasks", "a task every 3 to 20 s that runs for 20 to 60 s", _long_tasks, 7200),
    Kind("on-off", "five minutes of 12 tasks a second, five of nearly none", _on_off, 3600),
    Kind("ramp", "from one task in 2 s to 14 a second within an hour", _ramp, 3600),
)
