# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules for whoever has no engine of ours: entries of timers and crontabs, and CronJobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import Edge, edges
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import cron, on_calendar
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS


@dataclass(frozen=True)
class Owner:
    """What holds the number of replicas, and how a CronJob sets its bounds.

    :ivar kind: as kubectl takes it.
    :ivar group: the API group, and C(resources) what its rights are asked for, with the verbs.
    :ivar floor: the field with the floor, and C(ceiling) that with the ceiling; an owner without them has no bounds.
    :ivar least: the fewest that it takes.
    """

    kind: str
    group: str
    resources: Mapping[str, tuple[str, ...]]
    floor: str = ""
    ceiling: str = ""
    least: int = 0

    def command(self, name: str, edge: Edge) -> list[str]:
        """Return the words that set the bounds of an edge. An owner without bounds gets the floor as its number."""
        if not self.floor:
            return ["kubectl", "scale", f"{self.kind}/{name}", f"--replicas={edge.min_workers}"]
        floor, ceiling = (max(number, self.least) for number in (edge.min_workers, edge.max_workers))
        bounds = {"spec": {self.floor: floor, self.ceiling: ceiling}}
        return ["kubectl", "patch", f"{self.kind}/{name}", "--type=merge", f"--patch={json.dumps(bounds)}"]


DEPLOYMENT = Owner("deployment", "apps", {"deployments": ("get",), "deployments/scale": ("get", "patch", "update")})
HPA = Owner("hpa", "autoscaling", {"horizontalpodautoscalers": ("get", "patch")}, "minReplicas", "maxReplicas", 1)


def entries(policy: Policy) -> dict[str, list[dict[str, Any]]]:
    """Return the edges of the schedule as systemd, a crontab and Kubernetes take them, each with its bounds.

    A crontab has no zone: its entries hold on a host whose clock shows that of the policy.
    """
    zone = policy.schedule.timezone
    found: dict[str, list[dict[str, Any]]] = {"systemd": [], "cron": [], "kubernetes": []}
    for edge in edges(policy):
        bounds = {"min_workers": edge.min_workers, "max_workers": edge.max_workers}
        line = cron(edge.minute, edge.days)
        found["systemd"].append({"on_calendar": on_calendar(edge.minute, edge.days, zone), **bounds})
        found["cron"].append({"schedule": line, **bounds})
        found["kubernetes"].append({"schedule": line, "time_zone": zone, **bounds})
    return found


def cron_jobs(
    policy: Policy, owner: Owner, name: str, workload: str, namespace: str, image: str
) -> list[dict[str, Any]]:
    """Return the CronJobs that set the bounds of C(owner) C(name) at each edge, with the rights that they need.

    :param workload: begins the names of what is made.
    :param image: has kubectl.
    """
    account = f"{workload}-schedule"
    metadata = {"name": account, "namespace": namespace}
    jobs = [_cron_job(edge, policy, owner, name, workload, namespace, account, image) for edge in edges(policy)]
    if not jobs:
        return []
    rules = [
        {"apiGroups": [owner.group], "resources": [resource], "resourceNames": [name], "verbs": list(verbs)}
        for resource, verbs in owner.resources.items()
    ]
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
        *jobs,
    ]


def _cron_job(
    edge: Edge, policy: Policy, owner: Owner, name: str, workload: str, namespace: str, account: str, image: str
) -> dict[str, Any]:
    pod = {
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "restartPolicy": "OnFailure",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "kubectl",
                "image": image,
                "command": owner.command(name, edge),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": _job_name(workload, edge), "namespace": namespace},
        "spec": {
            "schedule": cron(edge.minute, edge.days),
            "timeZone": policy.schedule.timezone,
            # An edge that comes late, as after an outage, must not undo a later one.
            "concurrencyPolicy": "Replace",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"spec": {"backoffLimit": 6, "template": {"spec": pod}}},
        },
    }


def _job_name(workload: str, edge: Edge) -> str:
    """Return a name that only another edge would have, of at most 52 characters, as CronJobs take it."""
    days = "daily" if len(edge.days) == 7 else "-".join(DAYS[day] for day in edge.days)
    if len(edge.days) > 2 and len(edge.days) < 7:
        days = "".join(str(day + 1) for day in edge.days)
    ending = f"-{edge.minute // 60:02}{edge.minute % 60:02}-{days}"
    return workload[: 52 - len(ending)].rstrip("-.") + ending
