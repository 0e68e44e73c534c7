# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA makes of a policy: a ScaledObject over what the broker tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import QUEUE_DEPTH
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import Span, floors
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import cron, cron_of_a_date
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.hpa import behavior, resource_metrics
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.yearly import (
    is_kept,
    too_far,
    without_dropped,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import OneOffWindow

_A_DAY = 24 * 60
_A_WEEK = 7 * _A_DAY


@dataclass(frozen=True)
class Asked:
    """What a ScaledObject has that no policy says.

    :ivar list_length: messages for which there is to be a worker.
    :ivar polling_interval: seconds, and C(cooldown_period) too.
    :ivar whole: whether all that the policy says is translated; otherwise the bounds and the triggers are all of it.
    :ivar targets: per cent of the requests at which cpu and memory are to be kept; one without it has no trigger.
    :ivar jobs: whether CronJobs set the bounds of windows too. Cron triggers hold floors where one of them fails.
    """

    name: str
    workload: str
    namespace: str
    list_length: int
    polling_interval: int
    cooldown_period: int
    whole: bool
    targets: Mapping[str, int]
    jobs: bool = False


@dataclass(frozen=True)
class _Raised:
    """A cron trigger, and the floor that it stands for."""

    trigger: dict[str, Any]
    floor: int


def scaled_by(asked: Asked) -> tuple[str, ...]:
    """Return the metrics by which a ScaledObject with all of a policy scales, as far as the policy asks for them."""
    return (QUEUE_DEPTH, *asked.targets)


def raises_floor(policy: Policy, window: OneOffWindow, at: float) -> bool:
    """Whether a cron trigger can stand for the floor of a window that comes once, and there is one to stand for."""
    floor, _ceiling = policy.limits.narrowed(window)
    return floor > policy.limits.min_workers and window.until > at and not out_of_reach(policy, window, at)


def out_of_reach(policy: Policy, window: OneOffWindow, at: float) -> str:
    """Return why the dates of a window cannot do without a year, or nothing."""
    zone = policy.schedule.timezone
    # A trigger is on while its end comes before its next beginning.
    return too_far([window.until], min(at, window.since), zone)


def scaled_object(
    policy: Policy, at: float, asked: Asked, triggers: Sequence[Mapping[str, Any]], bounds: Mapping[str, int]
) -> dict[str, Any]:
    """Return the ScaledObject.

    :param at: seconds since the epoch; what is over by then is left out.
    :param triggers: what the broker is asked for, as KEDA takes it. Each that counts messages has C(name) where all of
        them are to be added up.
    :param bounds: floor and ceiling, as its fields.
    """
    spec: dict[str, Any] = {
        "scaleTargetRef": {"name": asked.workload},
        **bounds,
        "pollingInterval": asked.polling_interval,
        "cooldownPeriod": asked.cooldown_period,
    }
    if asked.whole:
        zone = policy.schedule.timezone
        # A trigger that raises a floor each week cannot be told to leave out a week.
        weekly = floors(policy) if not asked.jobs or without_dropped(policy, at).schedule.one_offs == () else ()
        windows = [_window(f"window_{place}", span, zone) for place, span in enumerate(_ending(weekly))]
        windows += [
            _cron(
                f"once_{place}",
                zone,
                cron_of_a_date(window.since, zone),
                cron_of_a_date(window.until, zone),
                policy.limits.narrowed(window)[0],
            )
            for place, window in enumerate(policy.schedule.one_offs)
            if raises_floor(policy, window, at) and not (asked.jobs and is_kept(policy, window, at))
        ]
        resources = [
            {"type": metric, "metricType": "Utilization", "metadata": {"value": str(asked.targets[metric])}}
            for metric in resource_metrics(policy)
            if metric in asked.targets
        ]
        advanced: dict[str, Any] = {"horizontalPodAutoscalerConfig": {"behavior": behavior(policy, scaled_by(asked))}}
        if len(triggers) + len(windows) > 1:
            # The largest of several triggers would win, and each counts a part.
            advanced["scalingModifiers"] = {
                "formula": _formula([trigger["name"] for trigger in triggers], windows, asked.list_length),
                "target": str(asked.list_length),
                "metricType": "AverageValue",
            }
        spec["advanced"] = advanced
        # A broker that cannot be read is not an empty one.
        spec["fallback"] = {
            "failureThreshold": 3,
            "replicas": max(policy.limits.min_workers, 1),
            "behavior": "currentReplicas",
        }
        spec["triggers"] = [*triggers, *(each.trigger for each in windows), *resources]
    else:
        spec["triggers"] = list(triggers)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": asked.name, "namespace": asked.namespace},
        "spec": spec,
    }


def _ending(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the spans, one of all the week as two: KEDA refuses a trigger that begins when it ends."""
    for span in spans:
        if span.length < _A_WEEK:
            yield span
            continue
        [first] = span.days
        half = 3 * _A_DAY
        yield replace(span, length=half)
        yield replace(span, length=_A_WEEK - half, days=((first + 3) % 7,))


def _window(name: str, span: Span, zone: str) -> _Raised:
    end = span.start + span.length
    days = [(day + end // _A_DAY) % 7 for day in span.days]
    return _cron(name, zone, cron(span.start, span.days), cron(end % _A_DAY, days), span.min_workers)


def _cron(name: str, zone: str, start: str, end: str, floor: int) -> _Raised:
    # Outside its hours a cron trigger tells 0, and that of KEDA before 2.18 tells 1: what holds has to tell more.
    metadata = {"timezone": zone, "start": start, "end": end, "desiredReplicas": str(max(floor, 2))}
    return _Raised({"type": "cron", "name": name, "metadata": metadata}, floor)


def _formula(counts: Sequence[str], windows: Sequence[_Raised], list_length: int) -> str:
    """Return what the target is held against: all messages, or as many as the floors in force stand for."""
    messages = " + ".join(counts)
    if not windows:
        return messages
    # KEDA refuses a formula that comes to a whole number: 250 is one, 250.0 is not.
    of_floors = [f"({each.trigger['name']} > 1 ? {each.floor * list_length}.0 : 0.0)" for each in windows]
    return f"max({', '.join([messages, *of_floors])})"
