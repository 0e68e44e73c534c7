# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as objects of Kubernetes, for those who have KEDA, an HPA or CronJobs carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers import keda
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import Backlog
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import CPU, MEMORY
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation import fidelity, schedules
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import (
    ODD_DAYS_FOR,
    OddEdge,
    odd_edges,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.hpa import horizontal_pod_autoscaler
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.keda import Asked, scaled_object
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.yearly import without_dropped

AUTOSCALERS = fidelity.AUTOSCALERS
LISTS = ("all", "bare")
WINDOWS = ("cron_jobs", "triggers")
"""Who keeps windows for KEDA: CronJobs floors and ceilings, with an image of their own; cron triggers floors alone."""


@dataclass(frozen=True)
class ManifestOptions:
    """What objects have that no policy says; the names are those of the module C(policy_info).

    :ivar name: of the object that scales; empty is the workload's with C(-scaler).
    :ivar workload: the Deployment.
    :ivar secret: the Secret that KEDA reads; empty is the workload's name.
    :ivar certificates: as L(Backlog) has them.
    :ivar cpu_target: per cent of the requests, and C(memory_target) too.
    :ivar requested: which of cpu and memory the pods request; an HPA knows per cents of nothing else.
    :ivar windows: who keeps the windows for KEDA, one of C(WINDOWS).
    :ivar image: has kubectl.
    :ivar in_force: whether floor and ceiling are those that hold at the time of the translation, and not the limits'.
    """

    name: str = ""
    workload: str = "celery-worker"
    namespace: str = "default"
    broker_url: str = ""
    queues: tuple[str, ...] = ("celery",)
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = False
    tls_verified: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)
    management_url: str | None = None
    secret: str = ""
    lists: str = "all"
    list_length: int = 50
    polling_interval: int = 30
    cooldown_period: int = 300
    cpu_target: int = 70
    memory_target: int = 80
    requested: tuple[str, ...] = (CPU, MEMORY)
    windows: str = "cron_jobs"
    image: str = "rancher/kubectl:v1.34.1"
    in_force: bool = False

    @property
    def scaler(self) -> str:
        """Name of the object that scales."""
        return self.name or f"{self.workload}-scaler"

    @property
    def targets(self) -> dict[str, int]:
        """Per cent of the requests at which each is kept."""
        targets = {CPU: self.cpu_target, MEMORY: self.memory_target}
        return {metric: target for metric, target in targets.items() if metric in self.requested}


@dataclass(frozen=True)
class Translation:
    """The objects as they would be applied, and how much of the policy they keep.

    :ivar secret: what the Secret has to have that KEDA reads, by its keys. It is none of the objects.
    """

    manifests: list[dict[str, Any]]
    fidelity: list[dict[str, str]]
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)


def translate(policy: Policy, autoscaler: str, options: ManifestOptions, at: float) -> Translation:
    """Return a policy as objects for one of C(AUTOSCALERS).

    :param at: seconds since the epoch from which on changes of the clock matter.
    :raises NotForKeda: when KEDA cannot read the broker.
    """
    odd = _odd(policy, at)
    places = (options.workload, options.namespace, options.image)
    if autoscaler == "keda":
        return _keda(policy, options, odd, at)
    if autoscaler == "hpa":
        bounds = _bounds(policy, options, schedules.HPA, at)
        hpa = horizontal_pod_autoscaler(
            policy, options.scaler, options.workload, options.namespace, options.targets, bounds
        )
        manifests = [hpa, *schedules.cron_jobs(policy, at, schedules.HPA, options.scaler, *places)]
        kept = fidelity.of_hpa(policy, options.targets, odd, at)
    elif autoscaler == "schedule":
        manifests = schedules.cron_jobs(policy, at, schedules.DEPLOYMENT, options.workload, *places)
        kept = fidelity.of_schedule(policy, odd, at)
    else:
        manifests, kept = [], fidelity.of_engine(policy)
    return Translation(manifests, [asdict(entry) for entry in kept])


def entries_fidelity(policy: Policy, at: float) -> dict[str, list[dict[str, str]]]:
    """Return what the entries of a schedule, from C(at) on, keep of each window, by who takes them."""
    found = fidelity.of_entries(policy, _odd(policy, at), at)
    return {language: [asdict(entry) for entry in kept] for language, kept in found.items()}


def _odd(policy: Policy, at: float) -> list[OddEdge]:
    return list(odd_edges(policy, at, at + ODD_DAYS_FOR))


def bounds_in_force(policy: Policy, at: float) -> tuple[int, int]:
    """Return floor and ceiling at C(at), of the windows that CronJobs keep."""
    kept = without_dropped(policy, at)
    return kept.limits.narrowed(kept.schedule.in_force(at))


def _bounds(policy: Policy, options: ManifestOptions, owner: schedules.Owner, at: float) -> dict[str, int]:
    limits = policy.limits
    return owner.bounds(
        *(bounds_in_force(policy, at) if options.in_force else (limits.min_workers, limits.max_workers))
    )


def _keda(policy: Policy, options: ManifestOptions, odd: list[OddEdge], at: float) -> Translation:
    whole = options.lists == "all"
    authentication = f"{options.scaler}-login"
    triggers = keda.triggers_of(
        Backlog(
            broker_url=options.broker_url,
            queues=options.queues,
            list_length=options.list_length,
            whole=whole,
            transport_options=options.transport_options,
            tls=options.tls,
            verified=options.tls_verified,
            certificates=options.certificates,
            management_url=options.management_url,
            authentication=authentication,
        )
    )
    asked = Asked(
        name=options.scaler,
        workload=options.workload,
        namespace=options.namespace,
        list_length=options.list_length,
        polling_interval=options.polling_interval,
        cooldown_period=options.cooldown_period,
        whole=whole,
        targets=options.targets,
        jobs=whole and options.windows == "cron_jobs",
    )
    login = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": authentication, "namespace": options.namespace},
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": options.secret or options.workload, "key": key}
                for parameter, key in triggers.parameters.items()
            ]
        },
    }
    owner = schedules.SCALED_OBJECT
    # Nobody would take the bounds of a window back without CronJobs.
    bounds = _bounds(policy, options if asked.jobs else replace(options, in_force=False), owner, at)
    manifests = [*([login] if triggers.parameters else []), scaled_object(policy, at, asked, triggers.triggers, bounds)]
    if asked.jobs:
        places = (options.workload, options.namespace, options.image)
        manifests += schedules.cron_jobs(policy, at, owner, options.scaler, *places)
    kept = fidelity.of_keda(policy, asked, triggers.unseen, triggers.foreign, odd, at)
    return Translation(manifests, [asdict(entry) for entry in kept], triggers.secret)
