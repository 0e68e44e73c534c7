# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a cluster a user may do, and what it has: asked before anything is begun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names, scalers
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused, rule

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

_RBAC = "rbac.authorization.k8s.io"
_KEDA = "keda.sh"

KINDS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("", "configmaps"),
    "Deployment": ("apps", "deployments"),
    "Lease": ("coordination.k8s.io", "leases"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets"),
    **{each.kind: (each.group, each.resource) for each in scalers.KINDS},
}
"""The kinds of objects that are applied and removed, each with its group of the API and its plural there."""

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Right:
    """One right within a namespace, in the words of RBAC.

    :ivar name: of the one object that it is asked for; empty for all of them.
    """

    group: str
    resource: str
    verb: str
    name: str = ""


TO_READ = (Right("apps", "deployments", "list"), Right("", "pods", "list"))
TO_SCALE = (
    Right("apps", "deployments", "get"),
    Right("apps", "deployments/scale", "patch"),
    Right("", "pods", "list"),
    Right("", "pods", "patch"),
    Right("autoscaling", "horizontalpodautoscalers", "list"),
)
TO_RESTART = (Right("", "pods", "delete"), Right("apps", "replicasets", "list"))
TO_TELL_MORE = (
    Right("", "pods/proxy", "get"),
    Right("", "pods/log", "get"),
    Right("metrics.k8s.io", "pods", "list"),
    Right("keda.sh", "scaledobjects", "list"),
)
"""Without these it goes on, and what they would tell is unknown."""

# An apply of what is not there yet is a `create` too, which the API server asks for beside `patch`. Modules of
# kubernetes.core read each object before. What sets the number of pods is listed in place of that, and what KEDA
# says of a ScaledObject is read afterwards.
_APPLIED = ("get", "create", "patch")
_HANDED_OVER = ("list", "create", "patch")
_READ_AFTERWARDS = ("ScaledObject",)
_REMOVED = ("get", "delete")
_TO_GRANT_ANYTHING = (Right(_RBAC, "roles", "escalate"), Right(_RBAC, "roles", "bind"))


def to_apply(objects: Iterable[Object]) -> list[Right]:
    """Return what it takes to put objects there, server side, once or again.

    :param objects: of C(KINDS), with their kind, their labels, and for a Role its rules.
    """
    return list(dict.fromkeys(right for thing in objects for right in _to_apply(thing)))


def _to_apply(thing: Object) -> Iterator[Right]:
    group, resource = KINDS[thing["kind"]]
    labels = thing["metadata"].get("labels") or {}
    handed_over = labels.get(names.COMPONENT_LABEL) == names.SCALER_COMPONENT
    for verb in _HANDED_OVER if handed_over else _APPLIED:
        yield Right(group, resource, verb)
    if thing["kind"] in _READ_AFTERWARDS:
        yield Right(group, resource, "get")


def to_remove(objects: Iterable[Object]) -> list[Right]:
    """Return what it takes to remove objects of C(KINDS)."""
    kinds = dict.fromkeys(thing["kind"] for thing in objects)
    return [Right(*KINDS[kind], verb) for kind in kinds for verb in _REMOVED]


def of_rules(rules: Iterable[Mapping[str, Any]]) -> list[Right]:
    """Return the rights that rules of RBAC give."""
    return [
        Right(group, resource, verb, name)
        for each in rules
        for group in each["apiGroups"]
        for resource in each["resources"]
        for verb in each["verbs"]
        for name in each.get("resourceNames") or ("",)
    ]


def granted(objects: Iterable[Object]) -> list[Right]:
    """Return the rights in the Roles among objects: who makes a Role has to have them himself.

    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#restrictions-on-role-creation-or-update
    """
    return of_rules(each for thing in objects if thing["kind"] == "Role" for each in thing["rules"])


def require_access(
    api: Api,
    tried: str,
    objects: Iterable[Object] = (),
    removed: Iterable[Object] = (),
    rights: Iterable[Right] = (),
) -> list[Right]:
    """Return what it takes, when the namespace is there, the cluster knows these objects, and the user may do it.

    :param objects: to apply, as for C(to_apply).
    :param removed: to remove, by their kinds.
    :param rights: what is done besides.
    :raises OperationError: when not, with the first of these that is missing, and all rights that are.
    """
    objects = list(objects)
    namespace = require_namespace(api, api.namespace)
    if namespace is not None:
        _refuse_ending(api, namespace, tried)
    require_apis(api, objects, tried)
    wanted = [*rights, *to_apply(objects), *to_remove(removed)]
    passed_on = granted(objects)
    if passed_on and _missing(api, api.namespace, _TO_GRANT_ANYTHING):
        wanted += passed_on
    require_rights(api, api.namespace, wanted, tried, sure_of_namespace=namespace is not None)
    return wanted


def require_namespace(api: Api, namespace: str, next_step: str = "") -> Object | None:
    """Return the namespace, or nothing where it may not be asked for.

    :param next_step: where it is not there.
    :raises Refused: with C(status) 404 when it is not there, or another one when that cannot be asked.
    """
    try:
        return api.get(f"/api/v1/namespaces/{namespace}")
    except Refused as error:
        if error.status == 403:
            return None
        if error.status != 404:
            raise
    none = Refused(
        f"find the namespace {namespace} of {api.server}",
        "there is no such namespace",
        next_step
        or "Nothing was changed. Check its name (celery_worker_namespace) and the context of the kubeconfig, or make "
        f"it: `kubectl create namespace {namespace}`.",
    )
    none.status = 404
    raise none


def _refuse_ending(api: Api, namespace: Object, tried: str) -> None:
    if (namespace.get("status") or {}).get("phase") == "Terminating":
        raise OperationError(
            tried,
            f"namespace {api.namespace} of {api.server} is being deleted, with all that is in it",
            "Nothing was changed. Wait until it is gone, and make it anew: "
            f"`kubectl create namespace {api.namespace}`.",
        )


def require_apis(api: Api, objects: Iterable[Object], tried: str) -> None:
    """Return when the cluster serves the kinds of these objects.

    :raises OperationError: when it does not, as where KEDA is not installed; or when that cannot be asked.
    """
    kinds: dict[str, list[str]] = {}
    for thing in objects:
        if "/" in thing["apiVersion"]:
            kinds.setdefault(thing["apiVersion"], []).append(thing["kind"])
    for version, wanted in kinds.items():
        try:
            served = {each.get("kind") for each in api.get(f"/apis/{version}").get("resources") or ()}
        except Refused as error:
            if error.status == 403:
                # Who may not ask finds out by the objects themselves.
                continue
            if error.status != 404:
                raise
            served = set()
        if not served.issuperset(wanted):
            raise not_served(version, tried)


def not_served(version: str, tried: str) -> OperationError:
    """Return the error for a cluster that does not know objects of a version, such as C(keda.sh/v1alpha1)."""
    keda = version.startswith(_KEDA)
    who = "KEDA is not installed in this cluster" if keda else "this cluster has no such API"
    step = "Install KEDA (https://keda.sh/docs/latest/deploy)" if keda else "Update the cluster"
    return OperationError(
        tried,
        f"{who}: it does not serve {version}",
        f"Nothing was changed. {step}, or use celery_worker_autoscaling: policy, which needs nothing of the cluster.",
    )


def require_rights(
    api: Api, namespace: str, rights: Iterable[Right], tried: str, *, sure_of_namespace: bool = True
) -> None:
    """Return when the user has all these rights in a namespace.

    :param sure_of_namespace: whether it is known to be there: in one that is not, nobody has rights of a Role.
    :raises OperationError: when some are missing, with all of them; or when that cannot be asked.
    """
    missing = _missing(api, namespace, rights)
    if missing:
        what = ", ".join(f"{right.verb} {right.resource}" for right in missing)
        doubt = "" if sure_of_namespace else "Whether there is such a namespace this user may not see: check its name. "
        raise OperationError(
            tried,
            f"this user may not {what} in namespace {namespace} of {api.server}",
            f"Nothing was changed. {doubt}Add to a Role in namespace {namespace} that is bound to this user:\n"
            + "\n".join(f"- {rule(*each.values())}" for each in rules_of(missing)),
        )


def rules_of(rights: Iterable[Right]) -> list[dict[str, list[str]]]:
    """Return as few rules of RBAC as give these rights, for all names of objects."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource), {})[right.verb] = None
    resources: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), asked in verbs.items():
        resources.setdefault((group, tuple(asked)), []).append(resource)
    return [
        {"apiGroups": [group], "resources": alike, "verbs": list(asked)} for (group, asked), alike in resources.items()
    ]


def _missing(api: Api, namespace: str, rights: Iterable[Right]) -> list[Right]:
    """Return the rights that the user does not have, without the names of objects."""
    names_of: dict[Right, set[str]] = {}
    for right in rights:
        names_of.setdefault(replace(right, name=""), set()).add(right.name)
    return [right for right, only in names_of.items() if not _may_all(api, namespace, right, only)]


def _may_all(api: Api, namespace: str, right: Right, only: set[str]) -> bool:
    # Whoever may do it to all objects, as most do, is asked but once.
    if _may(api, namespace, right):
        return True
    return "" not in only and all(_may(api, namespace, replace(right, name=name)) for name in sorted(only))


def _may(api: Api, namespace: str, right: Right) -> bool:
    resource, _slash, part = right.resource.partition("/")
    attributes = {"namespace": namespace, "group": right.group, "resource": resource, "verb": right.verb}
    if part:
        attributes["subresource"] = part
    if right.name:
        attributes["name"] = right.name
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool((api.post(REVIEWS, body).get("status") or {}).get("allowed"))
