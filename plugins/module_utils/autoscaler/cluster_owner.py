# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to set the number of a fleet's pods, and what that takes: from the fleet to objects. No cluster is asked."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.addresses import addresses
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import (
    ManifestOptions,
    bounds_in_force,
    translate,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import NotForKeda
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import CPU, MEMORY
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.hpa import metrics_kept
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import HPA, KEDA, NOBODY, SCHEDULE
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names, pod_template

TRANSLATED = (KEDA, HPA, SCHEDULE)

_MINE = ("ca", "certificate", "key", "broker_url")
"""Keys of C(autoscaling_options) that are no field of L(ManifestOptions)."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Handover:
    """What becomes of the number of a fleet's pods.

    :ivar owner: one of C(POLICY), C(KEDA), C(HPA), C(SCHEDULE) and C(NOBODY), where C(workers) of the inventory holds.
    :ivar problems: why it cannot be had so, each with what to change. There are no objects then.
    :ivar objects: in the order in which to apply them. A Secret may be among them.
    :ivar fidelity: what becomes of each part of the policy.
    :ivar notices: what to look at.
    :ivar number: of pods, where nobody but CronJobs sets it: the floor that holds now.
    """

    fleet: str
    owner: str
    problems: tuple[str, ...] = ()
    objects: tuple[Object, ...] = ()
    fidelity: tuple[Mapping[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True)
class _Asked:
    fleet: Mapping[str, Any]
    own: Mapping[str, Any] = field(repr=False)

    @property
    def broker_url(self) -> str:
        return str(self.own.get("broker_url") or self.fleet["broker_url"] or "")


def hand_over(fleet: Mapping[str, Any], namespace: str, autoscaling: str, at: float, in_force: bool = True) -> Handover:
    """Return who sets the number of a resolved fleet's pods, and the objects that it takes.

    :param autoscaling: the variable C(celery_worker_autoscaling).
    :param at: seconds since the epoch.
    :param in_force: whether bounds are those of the window that holds at C(at). Files that live long have the limits'.
    """
    name = fleet["name"]
    owner = owner_of(fleet, autoscaling)
    if owner not in TRANSLATED:
        return Handover(name, owner)
    asked = _Asked(fleet, fleet.get("autoscaling_options") or {})
    faults = list(_faults(asked, owner))
    if faults:
        return Handover(name, owner, tuple(faults))
    policy = parse_policy(fleet["policy"])
    options = _options(asked, namespace, in_force)
    try:
        found = translate(policy, owner, options, at)
    except NotForKeda as error:
        return Handover(name, owner, (f"KEDA cannot read its broker: {error}",))
    secret = [_secret(options, found.secret)] if found.secret else []
    return Handover(
        fleet=name,
        owner=owner,
        objects=tuple(_labelled(name, each) for each in [*secret, *found.manifests]),
        fidelity=tuple(found.fidelity),
        notices=tuple(_notices(asked)) if owner == KEDA else (),
        number=bounds_in_force(policy, at)[0] if owner == SCHEDULE else None,
    )


def owner_of(fleet: Mapping[str, Any], autoscaling: str) -> str:
    """Return who sets the number of a fleet's pods; without a policy nobody does."""
    if fleet["policy"] is None:
        return NOBODY
    if autoscaling == SCHEDULE and not parse_policy(fleet["policy"]).schedule.windows:
        return NOBODY
    return autoscaling


def lines(handover: Handover) -> list[str]:
    """Return for people what becomes of a policy."""
    whom = {KEDA: "KEDA", HPA: "a HorizontalPodAutoscaler", SCHEDULE: "CronJobs"}[handover.owner]
    counts = [
        f"{sum(each['kept'] == kept for each in handover.fidelity)} {kept}"
        for kept in ("exact", "approximated", "dropped")
    ]
    found = [f"The policy of fleet {handover.fleet} is carried out by {whom}: {', '.join(counts)}."]
    found += [f"{each['kept']:<12}  {each['rule']}: {each['how']}" for each in handover.fidelity]
    return [*found, *(f"notice        {notice}" for notice in handover.notices)]


def _faults(asked: _Asked, owner: str) -> Iterator[str]:
    fleet = asked.fleet
    if owner == HPA:
        policy = parse_policy(fleet["policy"])
        if CPU in metrics_kept(policy, dict.fromkeys(_requested(fleet), 0)) and CPU not in _requested(fleet):
            yield (
                "an HPA measures cpu in per cent of what pods request, and a container of this fleet requests none: "
                "give requests.cpu or cpu_quota, or use celery_worker_autoscaling: policy"
            )
    if owner != KEDA:
        return
    ssl = fleet["broker_use_ssl"]
    files = [
        key
        for key, option in (("ca_certs", "ca"), ("certfile", "certificate"), ("keyfile", "key"))
        if isinstance(ssl, Mapping) and _of_ssl(ssl, key) and not asked.own.get(option)
    ]
    if files and (files != ["ca_certs"] or _verified(ssl)):
        yield (
            f"broker_use_ssl names files of the pods ({', '.join(files)}), which KEDA cannot read: give their text as "
            "autoscaling_options.ca, .certificate and .key"
        )
    if bool(asked.own.get("certificate")) != bool(asked.own.get("key")):
        yield "autoscaling_options.certificate and .key belong together: give both or none"


def _notices(asked: _Asked) -> Iterator[str]:
    hosts = [each.place.partition("/")[0].rpartition(":")[0] or each.place for each in addresses(asked.broker_url)]
    for host in dict.fromkeys(host.partition("/")[0].strip("[]") for host in hosts):
        if "." not in host and not _is_address(host):
            yield (
                f"KEDA looks for the broker {host} from a namespace of its own. Where it does not find it, name it in "
                f"full, as {host}.NAMESPACE.svc, in autoscaling_options.broker_url"
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _options(asked: _Asked, namespace: str, in_force: bool) -> ManifestOptions:
    fleet, own = asked.fleet, asked.own
    workload = names.object_name(fleet["name"])
    ssl = fleet["broker_use_ssl"]
    certificates = {"ca": own.get("ca"), "cert": own.get("certificate"), "key": own.get("key")}
    plain = {key: value for key, value in own.items() if key not in _MINE and value is not None}
    return ManifestOptions(
        **plain,
        workload=workload,
        namespace=namespace,
        broker_url=asked.broker_url,
        queues=tuple(fleet["queues"] or ()),
        transport_options=fleet["broker_transport_options"],
        tls=bool(ssl),
        tls_verified=_verified(ssl),
        certificates={name: text for name, text in certificates.items() if text},
        secret=f"{workload}-keda",
        requested=_requested(fleet),
        in_force=in_force,
    )


def _of_ssl(ssl: Mapping[str, Any], key: str) -> Any:
    return ssl.get(key, ssl.get(f"ssl_{key}"))


def _verified(ssl: Any) -> bool:
    asked = _of_ssl(ssl, "cert_reqs") if isinstance(ssl, Mapping) else None
    return str(asked).lower().removeprefix("cert_") not in ("none", "0") if asked is not None else True


def _requested(fleet: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which of cpu and memory every container of the pods requests: an HPA knows per cents of that alone."""
    containers = pod_template.template(fleet, {})["spec"]["containers"]
    return tuple(metric for metric in (CPU, MEMORY) if all(_requests(each, metric) for each in containers))


def _requests(container: Mapping[str, Any], metric: str) -> bool:
    # A limit without a request is both.
    resources = container.get("resources") or {}
    return any(metric in (resources.get(part) or {}) for part in ("requests", "limits"))


def _secret(options: ManifestOptions, content: Mapping[str, str]) -> Object:
    """Return the Secret that KEDA reads. It is not the workers', whose every key is a variable of theirs."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": options.secret, "namespace": options.namespace},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode("ascii") for key, value in sorted(content.items())},
    }


def _labelled(fleet: str, thing: Object) -> Object:
    return {**thing, "metadata": {**thing["metadata"], "labels": names.scaler_labels(fleet)}}
