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
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Limits, Policy
from ansible_collections.muejam.celery.plugins.module_utils.simulation.model import Controller


@dataclass(frozen=True)
class Contender:
    """A way to size a fleet, and how it is run.

    :param controller: makes a controller that remembers nothing yet.
    :param poll_seconds: time between two looks; None is that of the setting. C(start_seconds) likewise.
    :param workers: how many there are in the beginning; None is the floor.
    :param of_processes: it counts pool processes, of which a worker has several, not workers.
    """

    name: str
    controller: Callable[[], Controller]
    poll_seconds: float | None = None
    start_seconds: float | None = None
    workers: int | None = None
    of_processes: bool = False


@dataclass(frozen=True)
class Frame:
    """What rivals are told besides what they see: bounds, tasks that a worker runs at once, the promised wait in s."""

    floor: int
    ceiling: int
    slots: int
    promise: float


def by_policy(name: str, policy: Policy) -> Contender:
    """Decide by a policy of this collection."""

    def controller() -> Controller:
        state = State()

        def control(seen: Observation) -> int:
            nonlocal state
            decision, state = decide(policy, state, seen)
            return seen.workers or 0 if decision.after is None else decision.after

        return control

    return Contender(name, controller)


def fixed(workers: int) -> Contender:
    """Keep C(workers) workers from the beginning to the end."""
    return Contender(f"fixed {workers}", lambda: lambda seen: workers, workers=workers)


# celery/worker/autoscale.py: the time between two looks of its thread, and the keepalive.
_CELERY_POLL = 1.0
_CELERY_KEEPALIVE = 30.0


def celery_autoscale(most: int, fewest: int, any_task_restarts_keepalive: bool = True) -> Contender:
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
            unfinished = (seen.value("queue_depth") or 0.0) + (seen.value("running") or 0.0)
            so_far = unfinished + (seen.value("processed_total") or 0.0)
            if any_task_restarts_keepalive and so_far > received:
                busy_until = seen.at + _CELERY_KEEPALIVE
            received = so_far
            wanted = min(most, max(fewest, int(unfinished)))
            if wanted > processes:
                busy_until = seen.at + _CELERY_KEEPALIVE
            return wanted if wanted > processes or seen.at > busy_until else processes

        return control

    name = f"celery {most},{fewest}" if any_task_restarts_keepalive else f"celery 5.6 {most},{fewest}"
    return Contender(name, controller, _CELERY_POLL, 0.0, fewest, of_processes=True)


# Kubernetes' defaults: --horizontal-pod-autoscaler-sync-period, -tolerance, -downscale-stabilization, and the scale-up
# policies that hold where a HorizontalPodAutoscaler names none: 4 pods or 100 %, whichever is more, in 15 s.
_HPA_SYNC = 15.0
_HPA_TOLERANCE = 0.1
_HPA_DOWN_WINDOW = 300.0
_HPA_PODS = 4
_HPA_FACTOR = 2


def keda(length: int, frame: Frame) -> Contender:
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
            pods_needed = (seen.value("queue_depth") or 0.0) / length
            within = pods and abs(pods_needed / pods - 1) <= _HPA_TOLERANCE
            desired.append((seen.at, pods if within else math.ceil(pods_needed)))
            while desired[0][0] <= seen.at - _HPA_DOWN_WINDOW:
                desired.popleft()
            wanted = desired[-1][1]
            if wanted < pods:
                wanted = min(pods, max(number for _at, number in desired))
            wanted = min(wanted, max(pods + _HPA_PODS, pods * _HPA_FACTOR))
            return min(frame.ceiling, max(frame.floor, wanted))

        return control

    return Contender(f"keda {length}", controller, _HPA_SYNC)


_RATE_WINDOW = 60.0


def by_rate_and_backlog(frame: Frame) -> Contender:
    """Take workers for what arrives, and for the backlog within the promise: (rate + waiting / promise) x run time.

    The first half is Little's law. Rate and run time are those of the last minute; it is told how many tasks a worker
    runs at once.
    """

    def controller() -> Controller:
        past: deque[tuple[float, float, float, float]] = deque()
        run_time = 1.0

        def control(seen: Observation) -> int:
            nonlocal run_time
            waiting, processed = seen.value("queue_depth") or 0.0, seen.value("processed_total") or 0.0
            arrived = waiting + (seen.value("running") or 0.0) + processed
            past.append((seen.at, arrived, processed, seen.value("runtime_total") or 0.0))
            while len(past) > 2 and past[1][0] <= seen.at - _RATE_WINDOW:
                past.popleft()
            at, arrived_then, processed_then, runtime_then = past[0]
            rate = (arrived - arrived_then) / (seen.at - at) if seen.at > at else 0.0
            if processed > processed_then:
                run_time = (past[-1][3] - runtime_then) / (processed - processed_then)
            wanted = math.ceil((rate + waiting / frame.promise) * run_time / frame.slots)
            return min(frame.ceiling, max(frame.floor, wanted))

        return control

    return Contender("rate + backlog", controller)


_FORMS = "fixed:N, celery:MAX,MIN, celery-5.6:MAX,MIN, keda:LENGTH, rate, default"


def rivals(text: str, frame: Frame) -> list[Contender]:
    """Return the rivals that C(text) names, such as C(fixed:2,celery:20,2,keda:50,rate,default).

    :raises ValueError: where it names something else.
    """
    # A comma ends a rival where a name follows: the one within celery:20,2 does not.
    return [_rival(part.strip(), frame) for part in re.split(r",\s*(?=[a-z])", text) if part.strip()]


def _rival(text: str, frame: Frame) -> Contender:
    name, _colon, rest = text.partition(":")
    numbers = [int(number) for number in rest.split(",")] if re.fullmatch(r"\d+(,\s*\d+)*", rest) else []
    if name == "fixed" and len(numbers) == 1:
        return fixed(numbers[0])
    if name in ("celery", "celery-5.6") and len(numbers) == 2 and numbers[0] >= numbers[1] and numbers[0]:
        return celery_autoscale(numbers[0], numbers[1], any_task_restarts_keepalive=name == "celery")
    if name == "keda" and len(numbers) == 1 and numbers[0]:
        return keda(numbers[0], frame)
    if text == "rate":
        return by_rate_and_backlog(frame)
    if text == "default":
        return by_policy("default steps", Policy(Limits(frame.floor, frame.ceiling)))
    raise ValueError(f"{text!r} is no rival: name any of {_FORMS}")
