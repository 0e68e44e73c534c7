# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules for whoever has no engine of ours: entries of timers and crontabs, and CronJobs."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import (
    ODD_DAYS_FOR,
    Edge,
    edges,
    edges_after_gaps,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.eras import (
    DatedEdge,
    Dates,
    all_weeks,
    edges_within,
    eras,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.expressions import (
    LAST_YEAR,
    calendar_dates,
    cron,
    cron_of_a_date,
    on_calendar,
    on_calendar_of_a_date,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.yearly import yearly
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import instant, zone_of
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS

MOST_LETTERS = 52
"""Of the name of a CronJob: the names of its Jobs and pods are longer."""

TRIED_FOR = 3600
"""Seconds for which an edge that fails is tried again, where the next one is not too near for that."""

TO_END = 4
"""Seconds before the next edge at which a job is over at the latest: it takes a moment to begin, and to be stopped."""

TRIES = 20
"""More than there is time for: the kubelet waits longer each time, up to five minutes."""

_A_WEEK = 7 * 24 * 60
_SECONDS_OF_A_DAY = 86400

# kubectl took 45 MB at most. A namespace with a quota lets no pod in that asks for nothing.
_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}


@dataclass(frozen=True)
class Owner:
    """What holds the number of replicas, and how a CronJob sets its bounds.

    :ivar kind: as kubectl takes it.
    :ivar group: the API group, and C(resources) what its rights are asked for, with the verbs.
    :ivar floor: the field with the floor, and C(ceiling) that with the ceiling; an owner without them has no bounds.
    :ivar least: the lowest floor that it takes. A ceiling of 0 none does.
    """

    kind: str
    group: str
    resources: Mapping[str, tuple[str, ...]]
    floor: str = ""
    ceiling: str = ""
    least: int = 0

    def bounds(self, min_workers: int, max_workers: int) -> dict[str, int]:
        """Return a floor and a ceiling as the fields that hold them."""
        return {self.floor: max(min_workers, self.least), self.ceiling: max(max_workers, 1)}

    def command(self, name: str, edge: Edge | DatedEdge) -> list[str]:
        """Return the words that set the bounds of an edge. An owner without bounds gets the floor as its number."""
        if not self.floor:
            return ["kubectl", "scale", f"{self.kind}/{name}", f"--replicas={edge.min_workers}"]
        bounds = {"spec": self.bounds(edge.min_workers, edge.max_workers)}
        return ["kubectl", "patch", f"{self.kind}/{name}", "--type=merge", f"--patch={json.dumps(bounds)}"]


DEPLOYMENT = Owner("deployment", "apps", {"deployments": ("get",), "deployments/scale": ("get", "patch", "update")})
HPA = Owner("hpa", "autoscaling", {"horizontalpodautoscalers": ("get", "patch")}, "minReplicas", "maxReplicas", 1)
SCALED_OBJECT = Owner(
    "scaledobject.keda.sh", "keda.sh", {"scaledobjects": ("get", "patch")}, "minReplicaCount", "maxReplicaCount"
)


def entries(policy: Policy, at: float) -> dict[str, list[dict[str, Any]]]:
    """Return the edges of the schedule as systemd, a crontab and Kubernetes take them, each with its bounds.

    A crontab has no zone: its entries hold on a host whose clock shows that of the policy. What comes once has a year,
    which neither a crontab nor a CronJob can say: such entries tell it as C(year), or are not there (fidelity.py).

    :param at: seconds since the epoch; what is over by then is left out.
    """
    zone = policy.schedule.timezone
    found: dict[str, list[dict[str, Any]]] = {"systemd": list(_of_systemd(policy, at)), "cron": [], "kubernetes": []}
    for edge in _of_cron(policy, at):
        line, year = _line(edge, zone)
        bounds = {"min_workers": edge.min_workers, "max_workers": edge.max_workers, **year}
        found["cron"].append({"schedule": line, **bounds})
        found["kubernetes"].append({"schedule": line, "time_zone": zone, **bounds})
    return found


def _of_systemd(policy: Policy, at: float) -> Iterator[dict[str, Any]]:
    zone = policy.schedule.timezone
    today = datetime.fromtimestamp(at, zone_of(zone)).date()
    for era in eras(policy, at):
        if era.begins and datetime.fromtimestamp(era.begins.at, zone_of(zone)).year <= LAST_YEAR:
            bounds = {"min_workers": era.begins.min_workers, "max_workers": era.begins.max_workers}
            yield {"on_calendar": on_calendar_of_a_date(era.begins.at, zone), **bounds}
        for edge, dates in edges_within(era, zone):
            bounds = {"min_workers": edge.min_workers, "max_workers": edge.max_workers}
            for text, first, last in calendar_dates(dates.first, dates.last, today):
                if Dates(first, last).has_one_of(edge.days):
                    yield {"on_calendar": on_calendar(edge.minute, edge.days, zone, text), **bounds}
    # systemd leaves out what the clock skips, and 252 in Pacific/Chatham also the first minute after it.
    dated = {era.begins.at for era in eras(policy, at) if era.begins}
    for each in edges_after_gaps(policy, all_weeks(policy, at), at, at + ODD_DAYS_FOR):
        if each not in dated:
            floor, ceiling = policy.limits.narrowed(policy.schedule.in_force(each))
            yield {"on_calendar": on_calendar_of_a_date(each, zone), "min_workers": floor, "max_workers": ceiling}


def _of_cron(policy: Policy, at: float) -> list[Edge | DatedEdge]:
    return [*edges(policy), *(edge for time in yearly(policy, at) for edge in time.edges)]


def _line(edge: Edge | DatedEdge, zone: str) -> tuple[str, dict[str, int]]:
    """Return a crontab's five fields, and as C(year) the only one for which they are meant."""
    if isinstance(edge, Edge):
        return cron(edge.minute, edge.days), {}
    return cron_of_a_date(edge.at, zone), {"year": datetime.fromtimestamp(edge.at, zone_of(zone)).year}


def cron_jobs(
    policy: Policy, at: float, owner: Owner, name: str, workload: str, namespace: str, image: str
) -> list[dict[str, Any]]:
    """Return the CronJobs that set the bounds of C(owner) C(name) at each edge, with the rights that they need.

    :param at: seconds since the epoch; what is over by then is left out.
    :param workload: begins the names of what is made.
    :param image: has kubectl.
    """
    account = f"{workload}-schedule"
    metadata = {"name": account, "namespace": namespace}
    jobs = [
        _cron_job(edge, lasts, policy.schedule.timezone, owner, name, workload, namespace, account, image)
        for edge, lasts in _lasting(policy, at)
    ]
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
    edge: Edge | DatedEdge,
    lasts: int,
    zone: str,
    owner: Owner,
    name: str,
    workload: str,
    namespace: str,
    account: str,
    image: str,
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
                "resources": _RESOURCES,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    line, year = _line(edge, zone)
    # An edge that comes late, as after an outage, holds until the next one, and must not undo that: a job that begins
    # as late as it may has given up by then. There is as much time to begin late as there is to try again.
    tried_for = min((lasts - TO_END) // 2, TRIED_FOR)
    # For people: Kubernetes goes by nothing but the schedule, which has no year.
    meant = {"annotations": {"muejam.celery/only-in": str(year["year"])}} if year else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": _job_name(workload, edge, zone), "namespace": namespace, **meant},
        "spec": {
            "schedule": line,
            "timeZone": zone,
            "concurrencyPolicy": "Replace",
            "startingDeadlineSeconds": lasts - TO_END - tried_for,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "spec": {
                    "activeDeadlineSeconds": tried_for,
                    "backoffLimit": TRIES,
                    "template": {"spec": pod},
                }
            },
        },
    }


def _lasting(policy: Policy, at: float) -> Iterator[tuple[Edge | DatedEdge, int]]:
    """Yield the edges, each with the seconds to the next one, the fewest that there are of one that comes more often.

    Days on which the clock is changed and windows that come once are among it: they make a time short.
    """
    zone = zone_of(policy.schedule.timezone)
    found = _of_cron(policy, at)
    first = datetime.fromtimestamp(at, zone).date()
    days = [first + timedelta(days=number) for number in range(-7, int(ODD_DAYS_FOR // _SECONDS_OF_A_DAY))]
    comes = {edge: sorted(_instants(edge, days, zone)) for edge in found}
    instants = sorted({each for of_one in comes.values() for each in of_one})
    for edge, own in comes.items():
        # Of the last one in the row nobody knows the next.
        until = [(each, bisect_right(instants, each)) for each in own]
        lengths = [instants[after] - each for each, after in until if after < len(instants)]
        yield edge, max(60, int(min([*lengths, 60 * _A_WEEK])))


def _instants(edge: Edge | DatedEdge, days: Iterable[date], zone: tzinfo) -> set[float]:
    """Return when a CronJob comes for an edge: on whole minutes, and twice where the clock shows its time twice."""
    if isinstance(edge, DatedEdge):
        return {edge.at - edge.at % 60}
    found: set[float] = set()
    for day in days:
        if day.weekday() in edge.days:
            wall = datetime.combine(day, time()) + timedelta(minutes=edge.minute)
            found.add(instant(day, edge.minute, zone))
            again = wall.replace(tzinfo=zone, fold=1).timestamp()
            if datetime.fromtimestamp(again, zone).replace(tzinfo=None, fold=0) == wall:
                found.add(again)
    return found


def _job_name(workload: str, edge: Edge | DatedEdge, zone: str) -> str:
    """Return a name that only another edge would have, of at most C(MOST_LETTERS)."""
    if isinstance(edge, DatedEdge):
        ending = f"-{datetime.fromtimestamp(edge.at, zone_of(zone)):%Y%m%d-%H%M%S}"
    else:
        days = "daily" if len(edge.days) == 7 else "-".join(DAYS[day] for day in edge.days)
        if len(edge.days) > 2 and len(edge.days) < 7:
            days = "".join(str(day + 1) for day in edge.days)
        ending = f"-{edge.minute // 60:02}{edge.minute % 60:02}-{days}"
    if len(workload) + len(ending) > MOST_LETTERS:
        # Two long names may begin alike.
        ending = f"-{hashlib.sha256(workload.encode()).hexdigest()[:6]}{ending}"
    return workload[: MOST_LETTERS - len(ending)].rstrip("-.") + ending
