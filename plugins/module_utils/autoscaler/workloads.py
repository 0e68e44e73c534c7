# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads to play against a policy, made by chance but the same at every run with the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """Tasks as C((arrival, run time)), in seconds and in the order of arrival, over C(horizon) seconds."""

    name: str
    tasks: tuple[tuple[float, float], ...]
    horizon: float


def workloads(seed: int = 1) -> list[Workload]:
    """Return one workload of each kind: bursts, days, crowds, long tasks, tasks of very unequal length."""
    chance = random.Random(seed)
    return [
        Workload("burst", ((60.0, 1.0),) * 600, 600),
        _poisson("steady", chance, 1800, lambda at: 6, 6, lambda: chance.expovariate(1)),
        _poisson(
            "day", chance, 7200, lambda at: 1 + 9 * math.sin(math.pi * at / 3600) ** 2, 10, lambda: _about(chance, 1)
        ),
        _poisson("crowds", chance, 3600, _crowds, 15, lambda: _about(chance, 1)),
        _poisson("heavy tail", chance, 3600, lambda at: 5, 5, lambda: min(120.0, 0.3 * chance.paretovariate(1.3))),
        _poisson(
            "long tasks", chance, 7200, lambda at: 0.2 + 0.15 * math.sin(at / 600), 0.35, lambda: chance.uniform(20, 60)
        ),
        _poisson("on and off", chance, 3600, lambda at: 0.2 if at // 300 % 2 else 12, 12, lambda: _about(chance, 0.8)),
        _poisson("ramp", chance, 3600, lambda at: 0.5 + 14 * at / 3600, 15, lambda: _about(chance, 1)),
    ]


def _about(chance: random.Random, mean: float) -> float:
    return chance.expovariate(1 / mean)


def _crowds(at: float) -> float:
    return 15 if any(begin <= at < begin + 120 for begin in (600, 1500, 2700)) else 1.5


def _poisson(
    name: str,
    chance: random.Random,
    horizon: float,
    rate: Callable[[float], float],
    peak: float,
    run_time: Callable[[], float],
) -> Workload:
    """Return arrivals at a changing rate, by thinning those at the peak rate (Lewis and Shedler, 1979)."""
    tasks: list[tuple[float, float]] = []
    at = chance.expovariate(peak)
    while at < horizon:
        if chance.random() * peak < rate(at):
            tasks.append((at, run_time()))
        at += chance.expovariate(peak)
    return Workload(name, tuple(tasks), horizon)
