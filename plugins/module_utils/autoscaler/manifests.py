# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as objects of Kubernetes, for those who have KEDA, an HPA or CronJobs carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers import keda
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import Backlog
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import CPU, MEMORY
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation import fidelity, schedules
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import OddEdge, odd_edges
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.hpa import horizontal_pod_autoscaler
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.keda import Asked, scaled_object

ODD_DAYS_FOR = 2 * 366 * 86400.0
"""Seconds for which days are looked for on which the clock is changed at an edge."""

AUTOSCALERS = fidelity.AUTOSCALERS
LISTS = ("all", "bare")


@dataclass(frozen=True)
class ManifestOptions:
    """What objects have that no policy says; the names are those of the module C(policy_info).

    :ivar name: of the object that scales; empty is the workload's with C(-scaler).
    :ivar workload: the Deployment.
    :ivar secret: the Secret of the fleet; empty is the workload's name.
    :ivar cpu_target: per cent of the requests, and C(memory_target) too.
    :ivar image: has kubectl.
    """

    name: str = ""
    workload: str = "celery-worker"
    namespace: str = "default"
    broker_url: str = ""
    queues: tuple[str, ...] = ("celery",)
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = False
    tls_verified: bool = True
    management_url: str | None = None
    secret: str = ""
    lists: str = "all"
    list_length: int = 50
    polling_interval: int = 30
    cooldown_period: int = 300
    cpu_target: int = 70
    memory_target: int = 80
    image: str = "rancher/kubectl:v1.34.1"

    @property
    def scaler(self) -> str:
        """Name of the object that scales."""
        return self.name or f"{self.workload}-scaler"

    @property
    def targets(self) -> dict[str, int]:
        """Per cent of the requests at which each is kept."""
        return {CPU: self.cpu_target, MEMORY: self.memory_target}


@dataclass(frozen=True)
class Translation:
    """The objects as they would be applied, and how much of the policy they keep."""

    manifests: list[dict[str, Any]]
    fidelity: list[dict[str, str]]


def translate(policy: Policy, autoscaler: str, options: ManifestOptions, at: float) -> Translation:
    """Return a policy as objects for one of C(AUTOSCALERS).

    :param at: seconds since the epoch from which on changes of the clock matter.
    :raises NotForKeda: when KEDA cannot read the broker.
    """
    odd = _odd(policy, at)
    places = (options.workload, options.namespace, options.image)
    if autoscaler == "keda":
        manifests, kept = _keda(policy, options, odd, at)
    elif autoscaler == "hpa":
        hpa = horizontal_pod_autoscaler(policy, options.scaler, options.workload, options.namespace, options.targets)
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


def _keda(
    policy: Policy, options: ManifestOptions, odd: list[OddEdge], at: float
) -> tuple[list[dict[str, Any]], list[fidelity.Fidelity]]:
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
    manifests = [*([login] if triggers.parameters else []), scaled_object(policy, at, asked, triggers.triggers)]
    return manifests, fidelity.of_keda(policy, asked, triggers.unseen, odd, at)
