# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to size a fleet, as arithmetic, to compare a policy with.

Each is given what favours it: a true reading of the queue, workers that are ready as soon as ours are, and for
Celery's own C(--autoscale) processes that take no time to fork.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Limits, Policy
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import (
    Controller,
    Outcome,
    Setting,
    simulate,
)
from ansible_collections.muejam.celery.plugins.module_utils.simulation.workloads import Workload


@dataclass(frozen=True)
class Contender:
    """A way to size a fleet.

    :param controller: makes a controller that remembers nothing yet.
    :param setting: how its fleet is run.
    """

    name: str
    controller: Callable[[], Controller]
    setting: Setting

    def play(self, workload: Workload, sample_seconds: float = math.inf) -> Outcome:
        """Return what comes of C(workload); it has a timeline when the time between two samples is finite."""
        return simulate(workload, self.controller(), self.setting, sample_seconds)


def by_policy(name: str, policy: Policy, setting: Setting) -> Contender:
    """Decide by a policy of this collection."""

    def controller() -> Controller:
        state = State()

        def control(seen: Observation) -> int:
            nonlocal state
            decision, state = decide(policy, state, seen)
            return seen.workers or 0 if decision.after is None else decision.after

        return control

    return Contender(name, controller, setting)


def fixed(workers: int, setting: Setting) -> Contender:
    """Keep C(workers) workers from the beginning to the end."""
    return Contender(f"fixed {workers}", lambda: lambda seen: workers, replace(setting, floor=workers))


# celery/worker/autoscale.py: the time between two looks of its thread, and the keepalive.
_CELERY_POLL = 1.0
_CELERY_KEEPALIVE = 30.0


def celery_autoscale(most: int, fewest: int, setting: Setting, any_task_restarts_keepalive: bool = True) -> Contender:
    """Size the pool of one worker as C(--autoscale=MAX,MIN) does (celery/worker/autoscale.py, 5.3 to 5.7).

    Grows at once to the tasks it has received, which are at most MAX; shrinks to them when 30 s have passed since it
    last grew. From 5.7 on every received task begins these 30 s anew.
    """

    def controller() -> Controller:
        busy_until = math.inf
        received = 0.0

        def control(seen: Observation) -> int:
            nonlocal busy_until, received
            processes = seen.workers or 0
            unfinished = seen.metrics["queue_depth"] + seen.metrics["running"]
            so_far = unfinished + seen.metrics["processed_total"]
            wanted = min(most, max(fewest, int(unfinished)))
            if wanted > processes or (any_task_restarts_keepalive and so_far > received):
                busy_until = seen.at + _CELERY_KEEPALIVE
            received = so_far
            return wanted if wanted > processes or seen.at > busy_until else processes

        return control

    return Contender(
        f"celery {most},{fewest}" if any_task_restarts_keepalive else f"celery 5.6 {most},{fewest}",
        controller,
        replace(
            setting, floor=fewest, slots=1, start_seconds=0.0, poll_seconds=_CELERY_POLL, of_processes=setting.slots
        ),
    )


# Kubernetes' defaults: --horizontal-pod-autoscaler-sync-period, -tolerance, -downscale-stabilization, and the scale-up
# policies that hold where a HorizontalPodAutoscaler names none: 4 pods or 100 %, whichever is more, in 15 s.
_HPA_SYNC = 15.0
_HPA_TOLERANCE = 0.1
_HPA_DOWN_WINDOW = 300.0
_HPA_PODS = 4
_HPA_FACTOR = 2


def keda(length: int, setting: Setting) -> Contender:
    """Keep C(length) waiting tasks for each pod, as KEDA's redis and rabbitmq triggers have the HPA do.

    desired = ceil(queue / length) unless queue / length is within 10 % of the pods there are; shrinks to the most that
    was desired in 300 s. Source: autoscaling/v2 and pkg/controller/podautoscaler (GetExternalPerPodMetricReplicas).
    """

    def controller() -> Controller:
        desired: deque[tuple[float, int]] = deque()

        def control(seen: Observation) -> int:
            pods = seen.workers or 0
            if not desired:
                desired.append((seen.at, pods))
            pods_needed = seen.metrics["queue_depth"] / length
            within = pods and abs(pods_needed / pods - 1) <= _HPA_TOLERANCE
            desired.append((seen.at, pods if within else math.ceil(pods_needed)))
            while desired[0][0] <= seen.at - _HPA_DOWN_WINDOW:
                desired.popleft()
            wanted = desired[-1][1]
            if wanted < pods:
                wanted = min(pods, max(number for _at, number in desired))
            wanted = min(wanted, max(pods + _HPA_PODS, pods * _HPA_FACTOR))
            return min(setting.ceiling, max(setting.floor, wanted))

        return control

    return Contender(f"keda {length}", controller, replace(setting, poll_seconds=_HPA_SYNC))


_RATE_WINDOW = 60.0


def by_rate_and_backlog(setting: Setting) -> Contender:
    """Take workers for what arrives, and for the backlog within the promise: (rate + waiting / promise) x run time.

    The first half is Little's law. Rate and run time are those of the last minute; it is told how many tasks a worker
    runs at once. With a promise of 0 the backlog is to be done until the next look.
    """
    within = setting.promise or setting.poll_seconds

    def controller() -> Controller:
        past: deque[tuple[float, float, float, float]] = deque()
        run_time = 1.0

        def control(seen: Observation) -> int:
            nonlocal run_time
            waiting, processed = seen.metrics["queue_depth"], seen.metrics["processed_total"]
            arrived = waiting + seen.metrics["running"] + processed
            past.append((seen.at, arrived, processed, seen.metrics["runtime_total"]))
            while len(past) > 2 and past[1][0] <= seen.at - _RATE_WINDOW:
                past.popleft()
            at, arrived_then, processed_then, runtime_then = past[0]
            rate = (arrived - arrived_then) / (seen.at - at) if seen.at > at else 0.0
            if processed > processed_then:
                run_time = (past[-1][3] - runtime_then) / (processed - processed_then)
            wanted = math.ceil((rate + waiting / within) * run_time / setting.slots)
            return min(setting.ceiling, max(setting.floor, wanted))

        return control

    return Contender("rate + backlog", controller, setting)


_FORMS = "fixed:N, celery:MAX,MIN, celery-5.6:MAX,MIN, keda:LENGTH, rate, default"


def rivals(text: str, setting: Setting) -> list[Contender]:
    """Return the rivals that C(text) names, such as C(fixed:2,celery:20,2,keda:50,rate,default).

    :raises ValueError: where it names something else.
    """
    # A comma ends a rival where a name follows: the one within celery:20,2 does not.
    return [_rival(part.strip(), setting) for part in re.split(r",\s*(?=[a-z])", text) if part.strip()]


def _rival(text: str, setting: Setting) -> Contender:
    name, _colon, rest = text.partition(":")
    numbers = [int(number) for number in rest.split(",")] if re.fullmatch(r"\d+(,\s*\d+)*", rest) else []
    if name == "fixed" and len(numbers) == 1:
        return fixed(numbers[0], setting)
    if name in ("celery", "celery-5.6") and len(numbers) == 2 and numbers[0] >= numbers[1] and numbers[0]:
        return celery_autoscale(numbers[0], numbers[1], setting, any_task_restarts_keepalive=name == "celery")
    if name == "keda" and len(numbers) == 1 and numbers[0]:
        return keda(numbers[0], setting)
    if text == "rate":
        return by_rate_and_backlog(setting)
    if text == "default":
        return by_policy("default steps", Policy(Limits(setting.floor, setting.ceiling)), setting)
    raise ValueError(f"{text!r} is no rival: name any of {_FORMS}")
